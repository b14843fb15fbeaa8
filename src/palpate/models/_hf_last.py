"""A beginning is run for its keys and values: what only a next layer would need of the last one is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


@contextmanager
def keys_and_values_alone(model: Any) -> Iterator[None]:
    """While this lasts the last decoder layer makes keys and values, and hidden states and logits mean nothing.

    Its feed-forward part and attention's last product are passed over: nine tenths of the layer's arithmetic. Families whose
    last layer has other parts run it whole.
    """
    layers = getattr(model.get_decoder(), "layers", None)
    last = layers[-1] if layers is not None and len(layers) else None
    with ExitStack() as changed:
        feed, attention = getattr(last, "mlp", None), getattr(last, "self_attn", None)
        product = getattr(attention, "o_proj", None)
        if feed is not None and product is not None and type(feed).__name__.endswith("MLP"):
            changed.enter_context(_instead(feed, lambda states: states))
            changed.enter_context(_instead(product, lambda found: _nothing(found, product.out_features)))
        yield


@contextmanager
def _instead(module: Any, forward: Callable[[Any], Any]) -> Iterator[None]:
    """The module runs ``forward``, on the one thing it is given, while this lasts."""
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def _nothing(found: Any, size: int) -> Any:
    """(…, size) zeros that take no memory."""
    return found.new_zeros(1).expand(*found.shape[:-1], size)
