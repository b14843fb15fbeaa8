"""How much does the score depend on the wording, beyond what sampling cases alone does?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, Draws, cells
from palpate.measures._estimates import ONE_CLUSTER, ONE_PROMPT, Made, judged, made
from palpate.measures._tests import NAN, Shown, Tested, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import Headline, MeasureSettings, Thresholds
from palpate.stats.permutation import permutation_null
from palpate.stats.resampling import Array, Replicates, generator
from palpate.stats.variance import detectable_spread, prompt_spread

ONE_CLASS = "only one class was read for some prompt: balanced accuracy needs both"
NOT_READ = "some prompt has no reading"
METHOD_SPREAD = "variance over prompts − clustered bootstrap of its noise, Tukey–Williams interval"
LARGEST = 0.5
"""No spread of shares is larger: half of them 0 and half 1."""
METHOD_NULL = "prompts permuted inside each cluster"


class Wording:
    """Spread over the prompts of a cell: corrected, plain, and what no effect would give."""

    name: ClassVar[str] = "wording"
    question: ClassVar[int] = 2
    estimates: ClassVar[Mapping[str, str]] = {
        "prompt_spread": "Standard deviation of ba_all over the prompts, sampling noise removed (0 where noise explains it all)",
        "prompt_spread_naive": "Plain standard deviation of ba_all over the prompts (ddof 1): above 0 even without an effect",
        "prompt_spread_null": "What prompt_spread_naive would be if the wording made no difference: mean, and central 95 %",
        "prompt_range": "Largest − smallest ba_all over the prompts, noise included",
        "prompt_range_null": "What prompt_range would be if the wording made no difference: mean, and central 95 %",
        "prompt_effect_p": "Probability of a spread of ba_all this large if the wording made no difference (permutation)",
        "refusal_spread": "Standard deviation of the refusal rate over the prompts, sampling noise removed",
        "refusal_spread_naive": "Plain standard deviation of the refusal rate over the prompts (ddof 1)",
        "refusal_spread_null": "What refusal_spread_naive would be if the wording made no difference: mean, and central 95 %",
        "refusal_effect_p": "Probability of a spread of refusals this large if the wording made no difference (permutation)",
    }

    headlines: ClassVar[tuple[Headline, ...]] = (
        Headline(
            "prompt_spread",
            "prompt_spread_null",
            (
                "prompt_spread_naive",
                "prompt_effect_p",
                "flip_rate",
                "flip_rate_beyond_rerun",
                "order_effect",
                "polarity_consistency",
            ),
        ),
    )

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Estimates per cell; the p-values' verdicts hold over all cells of the measure (Holm)."""
        draws = Draws(settings.seed, settings.draws)
        tests: list[Tested] = []
        for panel in panels:
            for cell in cells(panel):
                for estimate in _estimates(cell, draws, settings):
                    if estimate.measure.endswith("_effect_p"):
                        tests.append(Tested(estimate, NAN if estimate.value is None else estimate.value))
                    else:
                        yield estimate
        shown = Shown(("wording matters", "no effect shown"), 1 - settings.level)
        for name in ("prompt_effect_p", "refusal_effect_p"):
            mine = [t for t in tests if t.estimate.measure == name]
            yield from with_words(mine, lambda e: shown, lambda e: e.measure, "the cells of the run")


@dataclass(frozen=True, slots=True)
class _Spread:
    """A statistic per prompt, replicated (…, P), and the same as a sum over clusters (clusters, P), for permuting."""

    name: str
    replicates: Replicates
    linear: Array
    why: str


def _estimates(cell: Cell, draws: Draws, settings: MeasureSettings) -> Iterator[Estimate]:
    batch = made(cell, settings.level)
    table = cell.by_class((cell.seen, cell.right, cell.refused))
    sums = draws.replicate(cell, table)
    accuracy = sums.map(lambda rows: (rows[..., 1] / rows[..., 0]).mean(axis=1))
    refusal = sums.map(lambda rows: rows[..., 2].sum(axis=1) / rows[..., 0].sum(axis=1))
    spreads = (
        _Spread("prompt", accuracy, _linear(table[..., 1], table[..., 0], 0.5), ONE_CLASS),
        _Spread("refusal", refusal, _linear(table[..., 2].sum(axis=1)[:, None], table[..., 0].sum(axis=1)[:, None], 1.0), NOT_READ),
    )
    for spread in spreads:
        yield from _spread_estimates(spread, cell, batch, settings)


def _linear(top: Array, bottom: Array, weight: float) -> Array:
    """(clusters, P) contributions whose sum over clusters is the prompt's rate less the mean rate, from (clusters, classes, P).

    Exact where every prompt was read for the same cases; else linear in the missing ones.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = top.sum(axis=(0, 2)) / bottom.sum(axis=(0, 2))
        mean_bottom = bottom.sum(axis=0).mean(axis=1)
        parts = (top - pooled[:, None] * bottom) / mean_bottom[:, None]
    return np.asarray(weight * parts.sum(axis=1))


def _spread_estimates(spread: _Spread, cell: Cell, batch: Made, settings: MeasureSettings) -> Iterator[Estimate]:
    name = spread.name
    values = spread.replicates.value
    if values.size < 2 or not np.isfinite(values).all() or batch.clusters[0] < 2:
        why = ONE_PROMPT if values.size < 2 else ONE_CLUSTER if batch.clusters[0] == 1 else spread.why
        wanted = [e for e in Wording.estimates if e.startswith(f"{name}_")]
        yield from (batch.estimate(e, 0, np.nan, (np.nan, np.nan), METHOD_SPREAD, why) for e in wanted)
        return
    found = prompt_spread(spread.replicates, batch.clusters[0], settings.level)
    rng = generator(settings.seed, cell.panel.task, cell.name, "permutation", name)
    null = permutation_null(spread.linear, settings.draws, rng)
    none = (np.nan, np.nan)
    signed = f"{METHOD_SPREAD}; signed variance {found.variance:.3g}"
    high = max(min(found.high, LARGEST), found.sigma) if np.isfinite(found.high) else found.high
    corrected = batch.estimate(f"{name}_spread", 0, found.sigma, (found.low, high), signed, "too few draws with both classes")
    bounds = settings.thresholds
    rule = f"fragile where the interval lies above {bounds.fragile:g}, robust where it lies below {bounds.robust:g}"
    least = detectable_spread(found.noise, found.prompts, alpha=1 - settings.level)
    yield judged(replace(corrected, mde=least if least > 0 else None), _word(corrected, bounds), rule)
    plain = f"standard deviation over {values.size} prompts; no interval, see {name}_spread"
    yield batch.estimate(f"{name}_spread_naive", 0, found.naive, none, plain)
    yield _of_null(batch, f"{name}_spread_null", null.deviations, settings)
    if name == "prompt":
        yield batch.estimate("prompt_range", 0, float(np.ptp(values)), none, f"range over {values.size} prompts; no interval")
        yield _of_null(batch, "prompt_range_null", null.ranges, settings)
    yield batch.estimate(f"{name}_effect_p", 0, null.p, none, f"{METHOD_NULL}, {settings.draws} times")


def _of_null(batch: Made, name: str, drawn: Array, settings: MeasureSettings) -> Estimate:
    tail = (1 - settings.level) / 2
    low, high = map(float, np.quantile(drawn, [tail, 1 - tail]))
    mean = min(max(float(drawn.mean()), low), high)  # draws that are all alike differ from their mean by rounding
    return batch.estimate(name, 0, mean, (low, high), f"{METHOD_NULL}, {settings.draws} times")


def _word(estimate: Estimate, bounds: Thresholds) -> str | None:
    if estimate.low is None or estimate.high is None:
        return None
    return "fragile" if estimate.low > bounds.fragile else "robust" if estimate.high < bounds.robust else "undetermined"


PARTS = (Wording(),)
