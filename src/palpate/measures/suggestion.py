"""Which wins where the text suggests one thing and the image shows another?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import Made, made
from palpate.measures._linear import (
    CLUSTERED,
    CLUSTERED_T,
    NO_MARGIN,
    NOTHING,
    ONE_CLASS,
    balanced,
    class_clusters,
    class_rates,
    margins,
    rate,
    whole,
)
from palpate.measures._tests import Ruling, Tested, by_error, with_words
from palpate.nouns import Estimate, Panel, Prompt
from palpate.parts import MeasureSettings
from palpate.stats.influence import Linear, change_interval, share_interval
from palpate.stats.resampling import Array

FACTOR, FOR, AGAINST = "suggestion", "for", "against"
METHOD_SHARE = f"{CLUSTERED_T} (delta method)"
NEITHER = "neither the text nor the image is shown to move the margin: a share of nothing"


class Suggestion:
    """The pull of a suggestion in the text, and of the image; prompts whose factor ``suggestion`` is for or against."""

    name: ClassVar[str] = "suggestion"
    question: ClassVar[int] = 5
    estimates: ClassVar[Mapping[str, str]] = {
        "suggestion_effect": "accuracy_agreeing − accuracy_conflicting, the same cases and wordings; read trials, classes alike",
        "accuracy_agreeing": "Right answers / read trials where the text suggests what the label says, classes weighted alike",
        "accuracy_conflicting": "Right answers / read trials where the text suggests the opposite, classes weighted alike",
        "suggestion_sway": "Half the mean difference of the margin between a text for and one against the condition (log odds): "
        "how far a suggestion moves it; trials with a margin under both",
        "text_share": "Swing by the text / (swing by the text + swing by the image), the margin's mean difference between texts "
        "for and against, and between cases with and without the condition; 0: only the image counts, 1: only the text",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Per cell that has twins for and against; nothing else. Verdicts hold over the tasks of a model (Holm)."""
        found: list[Tested] = []
        for panel in panels:
            for cell in cells(panel):
                twins = _twins([panel.prompts[p] for p in cell.at])
                if twins:
                    found += _estimates(_Contrast(cell, twins), made(cell, settings.level), settings)
        yield from with_words(found)


def _twins(prompts: Sequence[Prompt]) -> list[tuple[int, int]]:
    """(for, against) places of prompts that differ in nothing but the suggestion."""
    found: dict[tuple[object, ...], dict[str, int]] = {}
    for at, prompt in enumerate(prompts):
        word = prompt.factors.get(FACTOR, "none")
        others = tuple(sorted((k, v) for k, v in prompt.factors.items() if k != FACTOR))
        found.setdefault((prompt.form, prompt.polarity, others), {})[word] = at
    return [(texts[FOR], texts[AGAINST]) for texts in found.values() if FOR in texts and AGAINST in texts]


@dataclass(frozen=True)
class _Contrast:
    """A cell's prompts for and against the condition, twin by twin."""

    cell: Cell
    twins: list[tuple[int, int]]

    def both(self, values: Array) -> tuple[Array, Array]:
        """(n, twins) of (n, P) values: under the texts for, and under those against."""
        texts = np.array(self.twins)
        return values[:, texts[:, 0]], values[:, texts[:, 1]]

    def by_agreement(self, values: Array) -> tuple[Array, Array]:
        """The same as (agreeing with the label, conflicting with it)."""
        first, second = self.both(values)
        positive = self.cell.positive[:, None]
        return np.where(positive, first, second), np.where(positive, second, first)


def _estimates(contrast: _Contrast, batch: Made, settings: MeasureSettings) -> Iterator[Tested]:
    cell = contrast.cell
    seen = np.prod(contrast.both(cell.seen), axis=0)
    agree, conflict = (balanced(cell, right * seen, seen).mean() for right in contrast.by_agreement(cell.right))
    clusters = class_clusters(cell, seen > 0)[:, 0]
    least = int(clusters.min())
    yield _effect(agree - conflict, clusters, batch, settings)
    for name, share in (("accuracy_agreeing", agree), ("accuracy_conflicting", conflict)):
        interval = share_interval(share, least, batch.level)
        yield Tested(whole(batch, name, share.value, interval, f"{CLUSTERED}; {_count(contrast)}", ONE_CLASS, least))
    yield from _margins(contrast, batch, settings)


def _count(contrast: _Contrast) -> str:
    return f"mean over {len(contrast.twins)} pairs of wordings"


def _effect(effect: Linear, clusters: np.ndarray, batch: Made, settings: MeasureSettings) -> Tested:
    least = int(clusters.min())
    floor = float((0.25 / (clusters + 2.0) ** 2).sum())
    wide, narrow = (change_interval(effect, floor, max(least, 1), at) for at in (batch.level, 2 * batch.level - 1))
    found = whole(batch, "suggestion_effect", effect.value, wide, f"paired, {CLUSTERED_T}", ONE_CLASS, least)
    margin, alpha = settings.thresholds.equivalence, 1 - batch.level
    ruling = Ruling(("swayed by the text", "contrary to the text"), alpha, margin, near="not swayed")
    return by_error(found, wide, narrow=narrow, ruling=ruling)


def _margins(contrast: _Contrast, batch: Made, settings: MeasureSettings) -> Iterator[Tested]:
    """The margin's swing by the text, and by the image under the same texts (METHODS E2, both as whole swings)."""
    cell = contrast.cell
    first, second = contrast.both(margins(cell))
    used = (np.isfinite(first) & np.isfinite(second)).astype(float)
    zero = [np.where(used > 0, m, 0.0) for m in (first, second)]
    text = rate(cell, zero[0] - zero[1], used).mean()
    present, absent = class_rates(cell, (zero[0] + zero[1]) / 2, used)
    image = (present - absent).mean()
    least = int(class_clusters(cell, used > 0)[:, 0].min())
    why = ONE_CLASS if used.any() else NO_MARGIN
    sway = text.times(0.5)
    interval = change_interval(sway, 0.0, max(least, 1), batch.level)
    yield Tested(whole(batch, "suggestion_sway", sway.value, interval, f"{CLUSTERED_T}; {_count(contrast)}", why, least))
    total = text + image
    if least >= 2 and np.isfinite(total.value) and not change_interval(total, 0.0, least, batch.level).low > 0:
        yield Tested(batch.estimate("text_share", 0, np.nan, NOTHING, METHOD_SHARE, NEITHER))
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        value = text.value / total.value
        share = Linear(np.asarray(value), (text.influence - value * total.influence) / total.value)
    interval = change_interval(share, 0.0, max(least, 1), batch.level)
    found = whole(batch, "text_share", value, interval, METHOD_SHARE, why, least)
    half = settings.thresholds.text_share
    yield by_error(found, interval, null=half, ruling=Ruling(("follows the text", "follows the image"), 1 - batch.level, null=half))


PARTS = (Suggestion(),)
