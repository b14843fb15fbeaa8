"""Which way of asking is known to be exact for which architecture."""

from __future__ import annotations

from palpate.errors import ModelError

VERIFIED = frozenset(
    ("gemma3", "idefics3", "internvl", "llava", "llava_next", "llava_onevision", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "smolvlm")
)
"""Architectures whose shared-prefix answers are tested to equal plain ones. Not PaliGemma: its image attends to the question."""
VERIFIED_TEXT = frozenset(("gemma2", "gemma3_text", "llama", "mistral", "phi3", "qwen2", "qwen3"))
"""The same for language models without a vision tower."""
ENCODER_ONLY = frozenset(("paligemma",))
"""Architectures whose image attends to the question: what the tower gives can be shared, keys and values cannot."""


def way(wanted: str, architecture: str, name: str) -> str:
    """How a model is asked, decided by architecture, never by what is in a batch: ``prefix`` where that is tested to be exact,
    ``encoder`` where only the tower's output can be shared, ``single`` where nothing is known.

    Raises ModelError where the way that is ``wanted`` (not ``auto``) is not verified; ``name``: of the model, for the message.
    """
    known = {"prefix": VERIFIED | VERIFIED_TEXT, "encoder": VERIFIED | ENCODER_ONLY}
    if wanted == "auto":
        return next((one for one, families in known.items() if architecture in families), "single")
    if wanted in known and architecture not in known[wanted]:
        raise ModelError(
            f"model {name!r}: inference = {wanted!r} is not known to be exact for {architecture}",
            expected=f"inference = 'auto', 'plain' or 'single'; {wanted} for " + ", ".join(sorted(known[wanted])),
        )
    return wanted
