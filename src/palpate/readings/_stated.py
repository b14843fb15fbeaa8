"""What a description states of the diagnosis by its name, and the description without that.

To name a diagnosis is not to describe a sign of it: a reader of "there is pneumonia" is told the answer, one of "there is an
opacity in the left lung" has to know what an opacity means. Which words name it, the task says (``Rubric.names``).
"""

from __future__ import annotations

import re

from palpate.nouns import Outcome
from palpate.parts import Rubric
from palpate.readings import _findings as findings
from palpate.readings import _vocabulary as words
from palpate.readings._findings import Says
from palpate.readings._refusals import in_refusal

GAP = "[...]"
OUTCOMES = {Says.PRESENT: Outcome.POSITIVE, Says.ABSENT: Outcome.NEGATIVE, Says.MAYBE: Outcome.HEDGE}
CONCLUDES = re.compile(
    r",? ?\b(?:which |and |that |is |are |likely |most |highly |findings? )*"
    r"(?:suggest\w*|indicat\w+|consistent with|compatible with|represent\w*|concerning for|suspicious (?:for|of)|in keeping with"
    r"|diagnostic of|typical of|characteristic of|due to|caused by)\b",
    re.IGNORECASE,
)
"""Where a sentence goes over from what is seen to what it is taken for."""
DESCRIBED = 4
"""Words before a conclusion from which on they describe something: "this" and "these findings are" do not, and give it away."""


def stated(text: str, rubric: Rubric) -> Outcome | None:
    """Positive, negative or, where it wavers, hedge; None where the text does not name the diagnosis, or only in refusing."""
    denying = tuple(w for w in rubric.naming if w in rubric.negative)
    asserting = tuple(w for w in rubric.naming if w not in rubric.negative)
    known = findings.terms(asserting, denying, rubric.condition)
    if known is None:
        return None
    lower = _lower(text)
    said = findings.verdict([m for m in findings.mentions(lower, known) if not in_refusal(lower, m.span)])
    return None if said is None else OUTCOMES[said.says]


def masked(text: str, rubric: Rubric) -> str:
    """The text with what names the diagnosis cut out, denied or not: the sentence, or what it concludes from what it describes.

    A sentence goes as a whole, for what stands around the name tells as much ("no […] is seen"); where it first describes and then
    concludes ("an opacity, suggestive of pneumonia") only the conclusion goes, unless something is denied before it.
    """
    known = findings.terms(rubric.naming, (), rubric.condition)
    if known is None:
        return text
    kept, start = [], 0
    for end in [*(m.end() for m in words.SENTENCE_END.finditer(text)), len(text)]:
        kept.append(_sentence(text[start:end], known))
        start = end
    return "".join(kept)


def _sentence(sentence: str, known: findings.Terms) -> str:
    lower = _lower(sentence)
    named = known.pattern.search(lower)
    if named is None:
        return sentence
    body = sentence.rstrip()
    space, tail = sentence[: len(sentence) - len(sentence.lstrip())], sentence[len(body) :]
    stop = body[-1:] if body[-1:] in ".!?;" else ""
    cut = next((m for m in CONCLUDES.finditer(lower) if m.end() <= named.start()), None)
    before = "" if cut is None else sentence[: cut.start()].strip()
    if cut is None or len(before.split()) < DESCRIBED or words.NEGATES.search(_lower(before)):
        return f"{space}{GAP}{stop}{tail}"
    return f"{space}{before} {GAP}{stop}{tail}"


def _lower(text: str) -> str:
    """In lower case, as long as it was."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
