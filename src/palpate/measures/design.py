"""What would make the mean more certain: more images, or more wordings?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import ONE_PROMPT, Made, judged, made
from palpate.measures._linear import NOTHING, ONE_CLASS, balanced, class_clusters
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.influence import spread_noise

METHOD = "variance components: patients σ²/C, wordings σ²/P, both σ²/(C·P); no interval"


class Design:
    """The standard error of ba_all for other images and other wordings, now and with twice as many of either (a D-study)."""

    name: ClassVar[str] = "design"
    question: ClassVar[int] = 2
    estimates: ClassVar[Mapping[str, str]] = {
        "design_error": "Standard error of ba_all for other patients and other wordings of the question; read trials",
        "design_error_twice_cases": "What it would be with twice as many patients, and the same number of wordings",
        "design_error_twice_prompts": "What it would be with twice as many wordings, and the same number of patients",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Per cell; the verdict says which of the two lowers the error more."""
        for panel in panels:
            for cell in cells(panel):
                yield from _estimates(cell, made(cell, settings.level))


def _estimates(cell: Cell, batch: Made) -> Iterator[Estimate]:
    """SE² = σ²_c/C + σ²_p/P + σ²_cp/(C·P) (generalisability theory, Brennan 2001); terms that come out negative are 0."""
    ba = balanced(cell, cell.right, cell.seen)
    clusters = int(class_clusters(cell, cell.seen > 0).min(axis=0)[0])
    prompts = ba.value.size
    if prompts < 2 or clusters < 2 or not np.isfinite(ba.value).all():
        why = ONE_PROMPT if prompts < 2 else ONE_CLASS
        yield from (batch.estimate(name, 0, np.nan, NOTHING, METHOD, why) for name in Design.estimates)
        return
    noise = spread_noise(ba, clusters)
    both = noise / prompts
    cases = max(float(ba.mean().variance(clusters)) - both, 0.0)
    wordings = max(float(np.var(ba.value, ddof=1)) - noise, 0.0) / prompts
    errors = (cases + wordings + both, cases / 2 + wordings + both / 2, cases + wordings / 2 + both / 2)
    word = "more images" if cases > wordings else "more wordings" if wordings > cases else None
    for name, squared in zip(Design.estimates, errors, strict=True):
        found = batch.estimate(name, 0, squared**0.5, NOTHING, METHOD, "")
        yield judged(found, word, "the larger of the two parts") if name == "design_error" else found


PARTS = (Design(),)
