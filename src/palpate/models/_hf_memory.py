"""How many images go together on a GPU: as many as its memory has room for, reckoned before anything is loaded.

From the checkpoint's config and the GPU's memory in all, never from what is free: that changes from minute to minute, and in half
precision how many go together is part of what the model is. What does not fit after all is halved when it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from palpate.models import _hf_identity as identity
from palpate.models._hf_ahead import images_of
from palpate.models._hf_room import ROOM
from palpate.models._hf_settings import Settings

USUAL, MOST = 8, 256
"""Images that go together where nothing is known of a GPU or a model, and at most."""
SHARE = 0.6
"""Of what the weights leave: the rest is for fragments, for libraries, and for what is reckoned wrong."""
ROWS, QUESTION, ANSWER = 24, 48, 256
"""Questions an image, tokens of one, and tokens of its answer at most: a longer one is rare. No study is known here yet.

Twelve closed wordings take half of that, which leaves two long descriptions room.
"""
TEMPLATE = 64
"""Tokens of the template around an image."""
PIXELS = 2048 * 2048
"""Of the largest image reckoned with, where a family lets an image have as many tokens as it has pixels."""
WHOLE = {"int8": 1.1, "nf4": 0.7}
"""Bytes a parameter takes when it is quantised, those that never are shared out among them."""
FAULTS = (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, ArithmeticError)
"""What a config of a known name and an unknown making raises."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """How many ``images`` go together and why. ``by_gpu``: the GPU decides it, so that it is another number on another one."""

    images: int
    because: str
    by_gpu: bool = False

    def facts(self) -> dict[str, Any]:
        """What is recorded of a number that a GPU decided."""
        return {"images_at_once": self.images, "images_at_once_because": self.because} if self.by_gpu else {}


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that asking takes: of the weights, of one image's keys and values, of one question, and of an image while it is read.

    ``part``: how many images are read together; the others wait, or are keys and values already.
    """

    weights: int
    image: int
    row: int
    reading: int
    part: int

    def of(self, images: int, rows: int = ROWS) -> int:
        """Beside the weights, where so many images go together, each with so many questions."""
        return images * self.image + max(min(images, self.part) * self.reading, images * rows * self.row)


def images_at_once(settings: Settings, checkpoint: identity.Checkpoint, device: str, unrepeated: bool, *, together: bool) -> AtOnce:
    """``together``: whether images go together at all when this model is asked this way."""
    if settings.images_at_once is not None:
        return AtOnce(settings.images_at_once, "the study says so")
    if not device.startswith("cuda") or not together:
        return AtOnce(1 if device == "cpu" else USUAL, "no GPU decides it")
    memory = identity.memory_of(device)
    if memory is None:
        return AtOnce(USUAL, "how much memory the GPU has is not known here", by_gpu=True)
    needed = need(settings, checkpoint, unrepeated=unrepeated)
    if needed is None:
        return AtOnce(USUAL, "how much memory an image takes is not known", by_gpu=True)
    room = SHARE * (memory - needed.weights)
    images = fitting(needed, room)
    each = needed.of(images) / images
    return AtOnce(
        images,
        f"of {_gib(memory)} of a GPU, {_gib(needed.weights)} of weights leave {_gib(max(room, 0))} to use ({SHARE:.0%}),"
        f" and an image with {ROWS} questions takes {_gib(each)}; reckoned for one worker to a GPU",
        by_gpu=True,
    )


def fitting(needed: Need, room: float) -> int:
    """The largest power of two of images, from 1 to MOST, that fits into so many bytes; 1 where none does."""
    images = MOST
    while images > 1 and needed.of(images) > room:
        images //= 2
    return images


def need(settings: Settings, checkpoint: identity.Checkpoint, *, unrepeated: bool) -> Need | None:
    """From the checkpoint's config, with its family's defaults, and from how it prepares images; None where that does not say."""
    try:
        config, parameters = _made(checkpoint)
        tokens, patches = IMAGE[config.model_type](config, checkpoint.image_settings)
        text, vision = config.get_text_config(), config.vision_config
        size = 4 if identity.dtype_of(settings) == "float32" else 2
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        token = text.num_hidden_layers * text.num_key_value_heads * head * 2 * size
        image = (tokens + TEMPLATE) * token
        answer = min(settings.max_new_tokens[0], ANSWER)
        row = (QUESTION + ceil(answer / ROOM) * ROOM) * token + text.vocab_size * (size + 8)
        reading = tokens * _passing(text.hidden_size, text.intermediate_size, 3, size) + patches * _tower(config, vision, size)
        if settings.attn_implementation == "eager":  # every token's weight on every other, rounded and not
            reading += text.num_attention_heads * tokens**2 * (size + 4)
    except FAULTS:
        return None
    weights = round(parameters * WHOLE.get(settings.quantized or "", size))
    if not unrepeated:  # every question has a copy of the image's keys and values, and all images are read together
        return Need(weights, image, row + image, reading, MOST)
    return Need(weights, image, row, reading, images_of(tokens + TEMPLATE))


def _made(checkpoint: identity.Checkpoint) -> tuple[Any, int]:
    """The config, and how many parameters a model of it has. None of them is made: tensors without memory are.

    Not counted in the weights' files: of a hub's checkpoint they may not be here yet, and the number must not change once they are.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    return config, sum(one.numel() for one in model.parameters())


def _passing(width: int, inner: int, matrices: int, size: int) -> int:
    """Bytes of a token while it goes through a layer: what comes in, what attention makes, what the feed-forward part makes."""
    return size * (6 * width + matrices * inner)


def _tower(config: Any, vision: Any, size: int) -> int:
    """Bytes of a patch in the vision tower. Where a layer is chosen by number, all layers' states are kept until it is."""
    width = getattr(vision, "embed_dim", None) or vision.hidden_size  # Qwen2-VL's hidden_size is what the tower gives
    inner = getattr(vision, "intermediate_size", None) or round(width * vision.mlp_ratio)
    kept = vision.num_hidden_layers * width * size if hasattr(config, "vision_feature_layer") else 0
    return _passing(width, inner, 2, size) + kept


# ---------------------------------------------------------------- tokens of an image
# (tokens in the language model, patches in the vision tower) of the largest image reckoned with

Counted = tuple[int, int]


def _side(config: Any) -> int:
    """Patches along one side of a square that the tower takes."""
    vision = config.vision_config
    return _first(vision.image_size) // _first(vision.patch_size)


def _first(size: Any) -> int:
    return int(size[0] if isinstance(size, list | tuple) else size)


def _square(config: Any, images: Mapping[str, Any]) -> Counted:
    """LLaVA: a token a patch, and one for the class or for each row's end."""
    side = _side(config)
    return side * (side + 1), side**2 + 1


def _grid(config: Any, images: Mapping[str, Any]) -> Counted:
    """LLaVA-NeXT, LLaVA-OneVision: the whole image, then tiles of the largest grid, each row of patches with an end of its own."""
    side, patch = _side(config), _first(config.vision_config.patch_size)
    grids = [(high // patch, wide // patch) for high, wide in config.image_grid_pinpoints]
    tiles = max(high * (wide + 1) for high, wide in grids)
    most = re.search(r"anyres_max_(\d+)", getattr(config, "vision_aspect_ratio", "") or "")
    if most:  # more are shrunk to so many tiles, but only where a side is more than a tenth too long
        tiles = min(tiles, ceil(1.3 * int(most[1]) * side**2))
    return side**2 + tiles, (1 + max(map(prod, grids)) // side**2) * (side**2 + 1)


def _pooled(config: Any, images: Mapping[str, Any]) -> Counted:
    """Gemma 3: as many tokens for any image, and as many again for each crop, where it is told to crop."""
    seen = 1 + (images.get("pan_and_scan_max_num_crops") or 4 if images.get("do_pan_and_scan") else 0)
    return seen * config.mm_tokens_per_image, seen * _side(config) ** 2


def _by_pixels(config: Any, images: Mapping[str, Any]) -> Counted:
    """The Qwen family: a token for so many pixels, up to the processor's limit."""
    vision = config.vision_config
    most = images.get("max_pixels") or (images.get("size") or {}).get("longest_edge") or PIXELS
    patches = min(most, PIXELS) // _first(vision.patch_size) ** 2
    return patches // vision.spatial_merge_size**2, patches


def _split(config: Any, images: Mapping[str, Any]) -> Counted:
    """Idefics 3, SmolVLM: an image is made so long, cut into squares, and shown once more as a whole; marks around each."""
    square = (images.get("max_image_size") or {}).get("longest_edge") or _first(config.vision_config.image_size)
    longest = (images.get("size") or {}).get("longest_edge") or 4 * square
    seen = 1 + (ceil(longest / square) ** 2 if images.get("do_image_splitting", True) else 0)
    patches = _side(config) ** 2
    return seen * (patches // config.scale_factor**2 + 4), seen * patches


def _cropped(config: Any, images: Mapping[str, Any]) -> Counted:
    """InternVL: as many squares as the processor allows, and the whole once more."""
    seen = 1 + (images.get("max_patches") or 12 if images.get("crop_to_patches", True) else 0)
    patches = _side(config) ** 2
    return seen * ceil(patches * config.downsample_ratio**2), seen * (patches + 1)


IMAGE: Mapping[str, Callable[[Any, Mapping[str, Any]], Counted]] = {
    "llava": _square,
    "llava_next": _grid,
    "llava_onevision": _grid,
    "gemma3": _pooled,
    "qwen2_vl": _by_pixels,
    "qwen2_5_vl": _by_pixels,
    "qwen3_vl": _by_pixels,
    "idefics3": _split,
    "smolvlm": _split,
    "internvl": _cropped,
}


def _gib(size: float) -> str:
    return f"{size / 2**30:.3g} GiB"
