"""An answer that repeats its question as a statement: "Is the silhouette small?", "The cardiac silhouette is small"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from palpate.readings import _vocabulary as words

SENTENCES = 2
"""Sentences of the answer in which the question has to be repeated; a restatement comes first."""
WITHIN = 400
SHARE = 0.75
"""Share of the question's content words that the statement holds, its last one among them."""

_WORD = re.compile(r"[^\W\d_]{2,30}")
_STOP = frozenset(
    (
        *(
            "a",
            "an",
            "the",
            "this",
            "that",
            "these",
            "those",
            "it",
            "its",
            "there",
            "here",
            "and",
            "or",
            "as",
            "any",
            "some",
            "all",
        ),
        *("is", "are", "was", "were", "be", "been", "being", "do", "does", "did", "has", "have", "had", "you", "we", "they", "he"),
        *("can", "could", "may", "might", "will", "would", "shall", "should", "must", "she", "your", "our", "their", "i", "by"),
        *(
            "of",
            "in",
            "on",
            "at",
            "to",
            "for",
            "from",
            "with",
            "image",
            "picture",
            "photo",
            "shown",
            "show",
            "shows",
            "seen",
            "see",
        ),
        *("visible", "present", "please", "answer", "question", "yes", "no", "not", "which", "what", "who", "how", "why", "where"),
    )
)


@lru_cache(maxsize=512)
def content(question: str) -> tuple[frozenset[str], str] | None:
    """(the stems of the question's content words, the last of them); None where nothing is asked in words."""
    asked = question.lower()
    asked = asked[: asked.rfind("?")].rsplit("?", 1)[-1] if "?" in asked else asked
    stems = [_stem(word) for word in _WORD.findall(asked[-WITHIN:]) if word not in _STOP]
    return (frozenset(stems), stems[-1]) if stems else None


def echoed(text: str, question: str) -> tuple[bool, tuple[int, int]] | None:
    """(whether the answer affirms what was asked, where), None where it does not repeat the question or does not commit itself."""
    asked = content(question)
    if asked is None:
        return None
    stems, last = asked
    for start, end, closed_by in _sentences(text):
        sentence = text[start:end]
        said = {_stem(word) for word in _WORD.findall(sentence)}
        if "?" not in closed_by and last in said and len(stems & said) >= SHARE * len(stems):
            affirmed = _affirmed(sentence, question.lower())
            return None if affirmed is None else (affirmed, (start, end))
    return None


def _sentences(text: str) -> Iterator[tuple[int, int, str]]:
    """(begin, end, what closes it) of the first sentences."""
    start = 0
    for number, closing in enumerate(words.SENTENCE_END.finditer(text, 0, WITHIN)):
        if number == SENTENCES:
            return
        yield start, closing.start(), closing.group()
        start = closing.end()
    if start < min(len(text), WITHIN):
        yield start, min(len(text), WITHIN), ""


def _affirmed(sentence: str, question: str) -> bool | None:
    hedged = (words.HEDGES, words.HEDGED_AFTER, words.UNSURE, words.CAPABILITY, words.WILL_NOT, words.NEUTRAL)
    if any(pattern.search(sentence) for pattern in hedged):
        return None
    return (words.NEGATES.search(sentence) is None) is (words.NEGATES.search(question) is None)


def _stem(word: str) -> str:
    for ending in ("ies", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word.removesuffix(ending) + ("y" if ending == "ies" else "")
    return word
