"""Simulated studies: how often a measure's intervals and verdicts are right when the truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from palpate.measures.accuracy import Accuracy
from palpate.measures.refusals import Refusals
from palpate.measures.tuning import Tuning
from palpate.measures.wording import Wording
from palpate.nouns import Estimate, Lineage, Panel
from palpate.parts import MeasureSettings
from planted import Planted, panel


@dataclass
class Tally:
    """How often an interval held the truth, and its mean width."""

    studies: int = 0
    held: int = 0
    below: int = 0  # truth below the interval
    width: float = 0.0
    verdicts: Counter[str] = field(default_factory=Counter)

    def add(self, estimate: Estimate, truth: float) -> None:
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < estimate.high, estimate
        self.studies += 1
        self.held += estimate.low <= truth <= estimate.high
        self.below += truth < estimate.low
        self.width += estimate.high - estimate.low
        self.verdicts[str(estimate.verdict)] += 1

    @property
    def coverage(self) -> float:
        return self.held / self.studies

    def __str__(self) -> str:
        above = self.studies - self.held - self.below
        n = self.studies
        return f"{self.coverage:.3f} (truth below {self.below / n:.3f}, above {above / n:.3f}), mean width {self.width / n:.3f}"


def study_settings(seed: int, draws: int) -> MeasureSettings:
    return MeasureSettings(lineages=(Lineage("base", "tuned", "parent"),), seed=seed, draws=draws)


def of_cell(estimates: Iterator[Estimate], name: str, **by: str) -> Estimate:
    """The cell's estimate of that name (no single prompt, no class unless asked for)."""
    return next(
        e
        for e in estimates
        if e.measure == name
        and "prompt" not in e.by
        and ("class" in e.by) == ("class" in by)
        and all(e.by[k] == v for k, v in by.items())
    )


def accuracy_coverage(
    planted: Planted, truths: dict[str, float], studies: int, draws: int = 500, seed: int = 0
) -> dict[str, Tally]:
    """Coverage of the cell's estimates of accuracy and refusals named in ``truths``."""
    tallies = {name: Tally() for name in truths}
    for s in range(studies):
        one = [planted.panel(seed=seed * 1_000_003 + s)]
        settings = study_settings(s, draws)
        found: list[Estimate] = []
        if set(truths) & set(Accuracy.estimates):
            found += Accuracy().measure(one, settings)
        if set(truths) & set(Refusals.estimates):
            found += Refusals().measure(one, settings)
        for name, truth in truths.items():
            tallies[name].add(of_cell(iter(found), name), truth)
    return tallies


def pair(planted: Planted, difference: float, agreement: float, seed: int, *, wording: float = 0.0) -> list[Panel]:
    """Base and tuned model on the same cases: of their own mind (``agreement`` 0) or alike in every answer (1).

    ``wording``: standard deviation over prompts of the difference itself, new in every study.
    """
    rng = np.random.default_rng([seed, 77])
    label, cluster = planted.cases(rng)
    shift = rng.normal(0, wording, planted.prompts) if wording else ()
    tuned = replace(planted, accuracy=planted.accuracy + difference, shift=tuple(shift))
    seeds = [[seed, 1], [seed, 1] if agreement == 1 else [seed, 2]]
    panels = []
    for model, plan, one in zip(("base", "tuned"), (planted, tuned), seeds, strict=True):
        codes = plan.codes(label, cluster, np.random.default_rng(one))
        panels.append(panel(codes, label, cluster, model=model))
    return panels


def tuning_tally(
    planted: Planted, difference: float, studies: int, draws: int = 500, name: str = "delta_ba_all", wording: float = 0.0
) -> Tally:
    """Coverage and verdicts of the paired difference."""
    tally = Tally()
    for s in range(studies):
        found = Tuning().measure(pair(planted, difference, 0.0, s, wording=wording), study_settings(s, draws))
        tally.add(of_cell(found, name), difference)
    return tally


@dataclass(frozen=True)
class Spreads:
    """Over studies: corrected σ (root of the mean signed variance), plain std and range, coverage of σ's interval, rejections."""

    sigma: float
    naive: float
    span: float
    span_95: float
    coverage: float
    cochran: float
    permutation: float
    fragile: float


def spreads(
    sigma: float, planted: Planted, studies: int, draws: int = 300, seed: int = 0, effects: Sequence[float] | None = None
) -> Spreads:
    """Prompt effects normal with standard deviation ``sigma`` (or drawn from ``effects``), new in every study."""
    from palpate.stats.permutation import cochran_q

    rows, spans = [], []
    for s in range(studies):
        rng = np.random.default_rng([seed, s, 5])
        shift = rng.normal(0, sigma, planted.prompts) if effects is None else rng.choice(np.asarray(effects), planted.prompts)
        one = replace(planted, shift=tuple(shift)).panel(seed=s)
        found = {e.measure: e for e in Wording().measure([one], study_settings(s, draws))}
        spread = found["prompt_spread"]
        signed = float(spread.method.split("signed variance ")[1].split(";")[0])
        right = (one.outcome[:, :, 0] == np.where(one.label == 1, 0, 1)[:, None]).astype(float)
        rows.append(
            (
                signed,
                found["prompt_spread_naive"].value,
                spread.low <= sigma <= spread.high,
                cochran_q(right)[1] < 0.05,
                found["prompt_effect_p"].value < 0.05,
                spread.verdict == "fragile",
            )
        )
        spans.append(found["prompt_range"].value)
    means = np.array(rows, float).mean(axis=0)
    return Spreads(
        float(np.sign(means[0]) * abs(means[0]) ** 0.5),
        means[1],
        float(np.mean(spans)),
        float(np.quantile(spans, 0.95)),
        *means[2:],
    )
