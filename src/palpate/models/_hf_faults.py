"""What a model raises where it cannot answer: in words, and what it leaves in memory."""

from __future__ import annotations

import gc
from importlib import import_module

FAULTS = (ValueError, RuntimeError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError, OSError)
"""What a processor or a forward pass raises for one question it cannot take."""
MEMORY = "out of memory"
"""The error of a question that does not fit into memory by itself."""


def cause_of(fault: BaseException) -> str:
    """The error of the questions that met with it."""
    words = str(fault).strip()
    known = ("not enough memory", "can't allocate memory")
    if type(fault).__name__ == "OutOfMemoryError" or any(one in words.lower() for one in known):
        return MEMORY
    return f"{type(fault).__name__}: {words[:300]}"


def let_go(device: str) -> None:
    """What a failed pass held is free again, once nobody has its fault: a traceback holds every tensor of the pass."""
    if device.startswith("cuda"):
        gc.collect()  # a captured step and its state hold each other; a second's work, so only where it frees a GPU
        import_module("torch").cuda.empty_cache()
