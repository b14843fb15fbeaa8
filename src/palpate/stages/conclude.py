"""conclude: Estimates → what they say to the seven questions. Each measure declares which of its estimates answers its question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from palpate.nouns import Estimate
from palpate.parts import Headline, Measure
from palpate.questions import TITLES, Conclusion
from palpate.registry import parts

FINER = frozenset(
    ("prompt", "class", "factor", "fact", "level", "over", "perturbation", "reader", "reader_prompt", "describe", "input")
)
"""What an estimate may be split by that no question is about."""

NOT_EXAMINED = "not examined"
NOT_MEASURED = "not measured"
NO_VERDICT = "no verdict"


def conclude(estimates: Sequence[Estimate]) -> list[Conclusion]:
    """Conclusions by question, in the order of the estimates; a question that nothing speaks to has one, "not examined"."""
    whole = [e for e in estimates if not FINER & set(e.by)]
    index = {(e.measure, frozenset(e.by.items())): e for e in whole}
    measures: Mapping[str, Measure] = parts("measures")
    found: list[Conclusion] = []
    for question in TITLES:
        said = [
            c
            for measure in measures.values()
            if measure.question == question
            for headline in headlines(measure)
            for c in _of(headline, question, whole, index)
        ]
        found += said or [Conclusion(question, {}, NOT_EXAMINED, why="nothing this study asks speaks to it")]
    return found


def headlines(measure: Measure) -> tuple[Headline, ...]:
    """The measure's declared answers to its question; none where it only adds detail to another's."""
    found: tuple[Headline, ...] = getattr(measure, "headlines", ())
    return found


def _of(
    headline: Headline, question: int, whole: Sequence[Estimate], index: Mapping[tuple[str, frozenset[tuple[str, str]]], Estimate]
) -> Iterator[Conclusion]:
    for e in whole:
        if e.measure != headline.estimate:
            continue
        there = frozenset(e.by.items())
        null = index.get((headline.null, there)) if isinstance(headline.null, str) else headline.null
        beside = tuple(index[name, there] for name in headline.beside if (name, there) in index)
        verdict = NOT_MEASURED if e.value is None else e.verdict or NO_VERDICT
        yield Conclusion(question, dict(e.by), verdict, e, null, beside, e.reason or "")
