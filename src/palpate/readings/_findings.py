"""What sentences say about a condition: each mention asserted, denied, hedged or neither, after NegEx (Chapman et al. 2001).

A mention is looked at within its clause. A negation or a hedge before it reaches up to the next break (", with", ", suggesting",
"and there is"); a few patterns look behind it ("pneumonia is not seen", "cannot be ruled out"). Questions, conditions ("if there
is pneumonia"), definitions and purposes ("to look for pneumonia") say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from palpate.readings import _vocabulary as words

REACH = 160
"""Characters before and behind a mention that are looked at: more than any clause of a report."""
MAX_MENTIONS = 200


class Says(Enum):
    """What one mention, or all together, say about the condition."""

    PRESENT = "present"
    ABSENT = "absent"
    MAYBE = "maybe"


@dataclass(frozen=True, slots=True)
class Mention:
    """One mention that says something, where it stands, and whether it is the condition itself or only a sign of it."""

    says: Says
    span: tuple[int, int]
    primary: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """Compiled words: ``pattern`` has the groups ``present`` (asserts the condition) and ``absent`` (denies it)."""

    pattern: re.Pattern[str]
    primary: re.Pattern[str] | None


@lru_cache(maxsize=512)
def terms(present: tuple[str, ...], absent: tuple[str, ...], condition: str) -> Terms | None:
    """The words of a rubric as one pattern; None where there are none."""
    alternatives = [
        f"(?P<{group}>{_any_of(given)})" for group, given in (("absent", absent), ("present", present)) if _any_of(given)
    ]
    if not alternatives:
        return None
    words_of_condition = {_stem(word) for word in re.findall(r"\w{4,}", condition.lower())}
    main = [term for term in present if {_stem(word) for word in re.findall(r"\w+", term.lower())} & words_of_condition]
    primary = re.compile(rf"(?:{_any_of(main)})$") if main else None
    return Terms(re.compile(rf"(?<![\w])(?:{'|'.join(alternatives)})(?!\w)"), primary)


def _any_of(given: Iterable[str]) -> str:
    """Longest first, plural and British or American spelling alike."""
    cleaned = sorted({" ".join(term.lower().split()) for term in given if term.strip()}, key=lambda term: (-len(term), term))
    return "|".join(
        re.escape(term).replace(r"\ ", r"\s+").replace("our", "ou?r").replace("mor", "mou?r") + r"(?:e?s|ous)?" for term in cleaned
    )


def _stem(word: str) -> str:
    return word.replace("our", "or").removesuffix("s")


def mentions(text: str, known: Terms, start: int = 0, stop: int | None = None) -> Iterator[Mention]:
    """Every mention in ``text[start:stop]`` that says something, in order."""
    for number, found in enumerate(known.pattern.finditer(text, start, len(text) if stop is None else stop)):
        if number >= MAX_MENTIONS:
            return
        says = _reading(text, found, known, start)
        if says is not None:
            primary = known.primary is not None and known.primary.match(found.group()) is not None
            yield Mention(says, found.span(), primary)


def _reading(text: str, found: re.Match[str], known: Terms, start: int) -> Says | None:
    asserted, denied = (Says.PRESENT, Says.ABSENT) if found.lastgroup != "absent" else (Says.ABSENT, Says.PRESENT)
    before, after, closed_by = _clause(text, found.start(), found.end(), start)
    if closed_by.startswith("?"):
        return None
    near = _since(words.BREAK, before)
    if (words.OR_BEFORE.search(near) and _other_side(known, near, found)) or _other_side_next(known, after, found):
        return Says.MAYBE  # "benign or malignant"
    if words.HEDGED_AFTER.match(after):
        return Says.MAYBE
    if words.NEUTRAL.search(near) or words.NEUTRAL_AFTER.match(after):
        return None
    hedged = words.HEDGES.search(near) is not None
    if words.PSEUDO.search(near):
        return asserted
    if words.NEGATES.search(near) or near.endswith("non-") or words.NEGATED_AFTER.match(after):
        return Says.MAYBE if hedged else denied
    return Says.MAYBE if hedged else asserted


def _clause(text: str, begin: int, end: int, floor: int) -> tuple[str, str, str]:
    """(the clause up to the mention, the clause after it, what closes it)."""
    left = text[max(floor, begin - REACH) : begin]
    for cut in words.CLAUSE_END.finditer(left):
        last = cut
        left_from = last.end()
    before = left[left_from:] if words.CLAUSE_END.search(left) else left
    right = text[end : end + REACH]
    closing = words.CLAUSE_END.search(right)
    if closing is None:
        return before, right, ""
    # A "?" is left in the text behind the mention: a question asserts nothing.
    return before, right[: closing.start()], closing.group().strip()


def _since(pattern: re.Pattern[str], text: str) -> str:
    """The part of the text after the pattern's last match."""
    begin = 0
    for found in pattern.finditer(text):
        begin = found.end()
    return text[begin:]


def _other_side(known: Terms, near: str, found: re.Match[str]) -> bool:
    return any(other.lastgroup != found.lastgroup for other in known.pattern.finditer(near[-40:]))


def _other_side_next(known: Terms, after: str, found: re.Match[str]) -> bool:
    joined = words.OR_AFTER.match(after)
    if joined is None:
        return False
    other = known.pattern.search(after, joined.end(), joined.end() + 40)
    return other is not None and other.lastgroup != found.lastgroup


def verdict(found: list[Mention]) -> Mention | None:
    """What the mentions say together. The condition itself outweighs its signs; a sign seen anywhere outweighs one denied.

    Where the condition itself is both asserted and denied the answer contradicts itself: MAYBE.
    """
    for primary in (True, False):
        kinds = {says: next((m for m in found if m.says is says and m.primary is primary), None) for says in Says}
        present, absent, maybe = kinds[Says.PRESENT], kinds[Says.ABSENT], kinds[Says.MAYBE]
        if present and absent and primary:
            return Mention(Says.MAYBE, absent.span, True)
        if present or absent or maybe:
            return present or absent or maybe
    return None
