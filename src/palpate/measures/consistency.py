"""Does the model answer the question, or the order of the options and the sound of "yes"?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from palpate.measures._cells import ANSWERED, Cell, Draws, cells
from palpate.measures._estimates import METHOD, made
from palpate.measures._factors import blocks
from palpate.measures._tests import Ruling, Tested, blank, case_sums, clusters_of, ratio, share, shift, undefined, with_words
from palpate.nouns import OUTCOME_CODE, Estimate, Form, Outcome, Panel, Polarity, Prompt
from palpate.parts import MeasureSettings
from palpate.stats.resampling import Array

METHOD_LEAN = "paired clustered bootstrap, t interval"
NO_ORDERS = "no wording was asked with its two options in both orders"
NO_POLARITIES = "no wording was asked both affirmed and negated, all else alike"
NOT_BOTH = "no case was read under both"
NO_ANSWERS = "no case was answered under both"

CHANCE: Mapping[str, float] = {"order_consistency": 0.5, "circular_accuracy": 0.25, "polarity_consistency": 0.5}
LEANS: Mapping[str, tuple[str, str]] = {
    "order_effect": ("prefers the first option", "prefers the second option"),
    "yes_bias": ("leans to yes", "leans to no"),
}


class Consistency:
    """Pairs of wordings that differ in the options' order alone, or in the stem's polarity alone."""

    name: ClassVar[str] = "consistency"
    question: ClassVar[int] = 2
    estimates: ClassVar[Mapping[str, str]] = {
        "order_effect": "P(an option is chosen | listed first) − P(it is chosen | listed second); pairs of wordings in both "
        "orders, read under both; no preference: 0, always the first: 1",
        "order_consistency": "Pairs with the same outcome in both orders / pairs answered in both; guessing: 0.5, always the first "
        "option: 0",
        "circular_accuracy": "Pairs right in both orders / pairs read in both (CircularEval); guessing: 0.25, always the first: 0",
        "polarity_consistency": "Pairs with the same outcome to the affirmed and the negated question / pairs answered both times; "
        "guessing: 0.5, always yes: 0",
        "yes_bias": "P(affirms the question) − P(denies it), over pairs of an affirmed and a negated wording read under both; no "
        "preference: 0, always yes: 1",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Estimates per cell; verdicts hold over all cells of the measure (Holm)."""
        draws = Draws(settings.seed, settings.draws)
        found = [t for panel in panels for cell in cells(panel) for t in _estimates(cell, draws, settings)]

        def ruling(e: Estimate) -> Ruling:
            alpha, margin = 1 - settings.level, settings.thresholds.equivalence
            if e.measure in LEANS:
                return Ruling(LEANS[e.measure], alpha, margin)
            return Ruling(("above chance", "below chance"), alpha, null=CHANCE[e.measure])

        yield from with_words(found, ruling, lambda e: e.measure, "the cells of the run")


@dataclass(frozen=True, slots=True)
class _Pairs:
    """(n, K, R) outcome codes of K pairs of prompts, and which outcome the leaning is to in each of the two."""

    first: NDArray[np.int8]
    second: NDArray[np.int8]
    lean: tuple[Array, Array]  # (n, K, R) each: +1 as the bias would have it, −1 against it, 0 no definite answer

    @property
    def both(self) -> NDArray[np.bool_]:
        return np.asarray((self.first >= 0) & (self.second >= 0))


def _estimates(cell: Cell, draws: Draws, settings: MeasureSettings) -> Iterator[Tested]:
    prompts = [cell.panel.prompts[p] for p in cell.at]
    orders = [(a, b) for block in blocks(prompts, "order") for a in block[Form.AB] for b in block[Form.BA]]
    stems = [
        (a, b) for block in blocks(prompts, "polarity") for a in block.get("affirmative", ()) for b in block.get("negated", ())
    ]
    yield from _of_pairs(cell, draws, settings, _pairs(cell, prompts, orders, _first_option), NO_ORDERS, "order")
    yield from _of_pairs(cell, draws, settings, _pairs(cell, prompts, stems, _yes), NO_POLARITIES, "polarity")


def _of_pairs(cell: Cell, draws: Draws, settings: MeasureSettings, pairs: _Pairs, none: str, kind: str) -> Iterator[Tested]:
    leaning, agreeing = ("order_effect", "order_consistency") if kind == "order" else ("yes_bias", "polarity_consistency")
    names = (leaning, agreeing, "circular_accuracy") if kind == "order" else (leaning, agreeing)
    batch = made(cell, settings.level)
    if pairs.first.shape[1] == 0:
        yield from undefined(batch, names, none, METHOD)
        return
    both = pairs.both
    answered = both & ANSWERED[pairs.first] & ANSWERED[pairs.second]
    says = np.where(cell.positive, OUTCOME_CODE[Outcome.POSITIVE], OUTCOME_CODE[Outcome.NEGATIVE])[:, None, None]
    agree = answered & (pairs.first == pairs.second)
    lean = both * (pairs.lean[0] + pairs.lean[1]) / 2
    n_both, n_answered, n_agree, n_right, leans = (
        values.sum(axis=(1, 2)).astype(np.float64) for values in (both, answered, agree, agree & (pairs.first == says), lean)
    )
    sums = case_sums(cell, draws, (n_both, n_right, leans, n_answered, n_agree))

    def empty(name: str, method: str, counted: Array) -> tuple[Estimate, int]:
        clusters = clusters_of(cell, counted)
        e = blank(batch, name, f"{method}, {both.shape[1]} pairs of wordings")
        return (replace(e, n_cases=int((counted > 0).sum()), n_clusters=clusters) if counted.any() else e), clusters

    e, clusters = empty(leaning, METHOD_LEAN, n_both)
    yield shift(e, ratio(sums, 2, 0), clusters, 1 / (clusters + 2) ** 2, why=NOT_BOTH)
    e, clusters = empty(agreeing, METHOD, n_answered)
    yield share(e, ratio(sums, 4, 3), clusters, null=CHANCE[agreeing], why=NO_ANSWERS)
    if kind == "order":
        e, clusters = empty("circular_accuracy", METHOD, n_both)
        yield share(e, ratio(sums, 1, 0), clusters, null=CHANCE["circular_accuracy"], why=NOT_BOTH)


def _pairs(
    cell: Cell, prompts: Sequence[Prompt], pairs: Sequence[tuple[int, int]], favoured: Callable[[Prompt], Outcome]
) -> _Pairs:
    at = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    first, second = cell.outcome[:, at[:, 0]], cell.outcome[:, at[:, 1]]
    leans = []
    for column, codes in ((0, first), (1, second)):
        wanted = np.array([OUTCOME_CODE[favoured(prompts[p])] for p in at[:, column]], dtype=np.int64)[None, :, None]
        leans.append(np.where(ANSWERED[codes], np.where(codes == wanted, 1.0, -1.0), 0.0))
    return _Pairs(first, second, (leans[0], leans[1]))


def _first_option(prompt: Prompt) -> Outcome:
    """The outcome that choosing option A amounts to."""
    return Outcome.POSITIVE if prompt.polarity is Polarity.POSITIVE else Outcome.NEGATIVE


def _yes(prompt: Prompt) -> Outcome:
    """The outcome that affirming the question's stem amounts to."""
    stem = prompt.polarity.flipped if prompt.form is Form.BA else prompt.polarity
    return Outcome.POSITIVE if stem is Polarity.POSITIVE else Outcome.NEGATIVE


PARTS = (Consistency(),)
