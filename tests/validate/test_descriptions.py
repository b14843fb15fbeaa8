"""What descriptions hold is diagnosed where it was planted: in them, in the leak, in the reader, or nowhere. n = 250 per class.

Panels at the level of readings, two cases to a patient, with every control a study may ask for; the word is the measure's own.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

import planted_descriptions as planted
from figures_found import record
from palpate.measures.description import Description
from palpate.parts import MeasureSettings
from planted_descriptions import Planted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
RUNS = int(os.environ.get("PALPATE_RUNS", "200"))
SECTION = "What descriptions carry, 250 cases per class: share of runs"
CARRIED, LEAK, NOTHING = "carried by the description", "gain is the leak", "nothing recovered"
OTHERS, PRIOR = "another reader's skill", "reader's prior alone"
GAINS = ("description_gain", "description_gain_rethresholded")
PLANS: dict[str, tuple[Planted, str, str]] = {  # → the word over the direct answer, and over its margin
    "known only in the description": (planted.IN_DESCRIPTION, CARRIED, CARRIED),
    "the description names what leaked to it": (planted.LEAKS, LEAK, LEAK),
    "descriptions of a grey image tell the label": (planted.LEAKS_FROM_ELSEWHERE, LEAK, LEAK),
    "the reader's prior alone": (planted.PRIOR, PRIOR, PRIOR),
    "the reader's prior alone, 40 % of the direct questions refused": (planted.PRIOR_AND_REFUSALS, PRIOR, PRIOR),
    "nothing in the description, nothing in the answer": (planted.NOTHING_IN_IT, NOTHING, NOTHING),
    "nothing in the description, the answer knows": (planted.ONLY_ANSWERED, NOTHING, NOTHING),
    "a shifted threshold, no more in the description": (planted.SHIFTED, CARRIED, NOTHING),
    "read by a stronger reader alone": (planted.STRONGER_READER, OTHERS, OTHERS),
}
NAMED = {CARRIED, LEAK, OTHERS}
"""Words that say that something was gained."""


@pytest.mark.parametrize("plan", PLANS)
def test_planted(plan: str) -> None:
    what, *right = PLANS[plan]
    said: dict[str, Counter[str | None]] = {name: Counter() for name in GAINS}
    for seed in range(RUNS):
        found = Description().measure([what.panel(5000 + seed)], MeasureSettings(seed=seed))
        for name in GAINS:  # the headline is the first of its name
            said[name][next(e.verdict for e in found if e.measure == name)] += 1
    print(plan, {name: dict(words) for name, words in said.items()})
    figures = {}
    for name, word in zip(GAINS, right, strict=True):
        short = "over the answer" if name == GAINS[0] else "over its margin"
        wrong = sum(said[name][w] for w in NAMED - {word})
        figures[f"{short}: diagnosed right"] = said[name][word] / RUNS
        figures[f"{short}: gain named wrongly"] = wrong / RUNS
    record(SECTION, plan, **figures)
    for name, word in zip(GAINS, right, strict=True):
        assert said[name][word] >= 0.95 * RUNS
        assert sum(said[name][w] for w in NAMED - {word}) <= 0.05 * RUNS


def test_as_much_in_the_description_as_in_the_answer() -> None:
    """The null of a gain: it is never to be named; to say that there is none takes more cases than these."""
    said: Counter[str | None] = Counter()
    for seed in range(RUNS):
        found = Description().measure([planted.AS_MUCH.panel(5000 + seed)], MeasureSettings(seed=seed))
        said[next(e.verdict for e in found if e.measure == GAINS[0])] += 1
    record(SECTION, "as much in the description as in the answer", **{"over the answer: gain named wrongly": said[CARRIED] / RUNS})
    assert sum(said[w] for w in NAMED) <= 0.05 * RUNS
