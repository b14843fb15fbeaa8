"""A text made plain for the rules: lower case, markup blanked, of a long one the two ends; character for character."""

from __future__ import annotations

import re
from collections.abc import Callable

from palpate.parts import ReadText
from palpate.readings import _vocabulary as words

HEAD, TAIL = 20_000, 2_000
"""Characters read of a long text: its beginning, and its end, where a final answer stands."""


def plain(text: str) -> tuple[str, int]:
    """(the text to read, character for character, and how many characters were skipped in its middle)."""
    gap = max(0, len(text) - HEAD - TAIL - 1)
    if gap:
        text = text[:HEAD] + "\n" + text[-TAIL:]
    low = text.lower()
    if len(low) != len(text):  # a few letters, such as İ, become two
        low = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    if not low.isascii() or any(c in low for c in words.MARKUP_ASCII):
        if "<" in low:
            thought = max(0, low.rfind("</think"))  # what a model thinks aloud is not its answer
            low = words.TAG.sub(_blank, " " * thought + low[thought:])
        low = low.translate(words.MARKUP)
    return low, gap


def seen(text: str, read: Callable[[str], ReadText]) -> ReadText:
    """The reading of the text without what nobody sees (zero width, direction marks); its span in the text as given."""
    kept = [at for at, c in enumerate(text) if not words.INVISIBLE.match(c)]
    found = read("".join(text[at] for at in kept))
    if found.span is None or not kept:
        return found
    begin, end = found.span
    span = (kept[begin], kept[end - 1] + 1) if end > begin else (kept[min(begin, len(kept) - 1)],) * 2
    return ReadText(found.outcome, span, found.rule)


def _blank(found: re.Match[str]) -> str:
    return " " * len(found.group())


def moved(read: ReadText, start: int, gap: int) -> ReadText:
    """The reading with its span in the text as it was given."""
    if read.span is None:
        return read
    begin, end = (at + start + (gap if at + start > HEAD else 0) for at in read.span)
    return ReadText(read.outcome, (begin, end), read.rule)
