"""Where an image's tokens are, without asking the device: what is asked waits until all that was launched before is done.

Families look for the image's placeholders among the tokens and check that there are as many as the tower gave. The host knows
both numbers. With nothing asked, it launches the language model's kernels while the device is still at the tower.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_wide: dict[type, bool | None] = {}
"""Family's class → whether its own function gave a mask as wide as the embeddings, or one number a token; None: something else."""


@contextmanager
def places_known(base: Any, placeholder: int | None, count: int) -> Iterator[None]:
    """While this lasts ``base``, a family's model without its head, takes the ``count`` placeholders among its tokens as given."""
    own = getattr(base, "get_placeholder_mask", None)
    if own is None or placeholder is None or _wide.get(type(base), True) is None:
        yield
        return

    def mask(input_ids: Any = None, inputs_embeds: Any = None, image_features: Any = None, **more: Any) -> Any:
        if input_ids is None or image_features is None or more or not hasattr(image_features, "numel"):
            return own(input_ids, inputs_embeds=inputs_embeds, image_features=image_features, **more)
        if image_features.numel() != count * inputs_embeds.shape[-1]:
            raise ValueError(f"{count} image tokens, and the tower gave {image_features.shape[:-1]}")
        found = (input_ids == placeholder)[..., None]
        if type(base) not in _wide:
            wanted = own(input_ids, inputs_embeds=inputs_embeds, image_features=image_features)
            _wide[type(base)] = _width(found, inputs_embeds, wanted)
            return wanted
        return found.expand_as(inputs_embeds) if _wide[type(base)] else found

    base.get_placeholder_mask = mask
    try:
        yield
    finally:
        del base.get_placeholder_mask


def _width(found: Any, embeds: Any, wanted: Any) -> bool | None:
    import torch

    alike = [one for one in (found, found.expand_as(embeds)) if torch.is_tensor(wanted) and one.shape == wanted.shape]
    return alike[0].shape == embeds.shape if alike and torch.equal(alike[0], wanted) else None
