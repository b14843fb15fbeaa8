"""Does the model look at the right place: does covering the lesion change more answers than covering as much elsewhere?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import made
from palpate.measures._linear import CLUSTERED, CLUSTERED_T, clusters_in_use, rate, whole
from palpate.measures._pairing import OCCLUSIONS, same_cell, with_others
from palpate.measures._tests import Ruling, Tested, by_error, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings
from palpate.stats.influence import Linear, change_interval, share_interval

WORDS = ("looks at the lesion", "looks elsewhere")
NONE_RIGHT = "no case with the condition was right before anything was covered, and read under both occlusions"


class Occlusion:
    """Answers lost when the lesion is covered, against answers lost when as much is covered elsewhere."""

    name: ClassVar[str] = "occlusion"
    question: ClassVar[int] = 5
    estimates: ClassVar[Mapping[str, str]] = {
        "occlusion_grounding": "occlusion_change_lesion − occlusion_change_matched, same trials; above 0: it uses the right place",
        "occlusion_change_lesion": "Answers no longer right with the lesion covered / right before; cases with the condition",
        "occlusion_change_matched": "The same with a region of equal size and shape covered elsewhere",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Per cell, and per severity where the occlusions have several; nothing where they were not asked. Holm over the tasks."""
        found: list[Tested] = []
        for panel, others in with_others(panels):
            for severity in sorted({p.perturbation.severity for p in others if p.perturbation.name in OCCLUSIONS}):
                covered = {p.perturbation.name: p for p in others if p.perturbation.severity == severity}
                if not set(OCCLUSIONS) <= set(covered):
                    continue
                for cell in cells(panel):
                    lesion, matched = (same_cell(cell, covered[name]) for name in OCCLUSIONS)
                    if lesion is not None and matched is not None:
                        found += _grounding(cell, (lesion, matched), severity, settings)
        yield from with_words(found)


def _grounding(cell: Cell, covered: tuple[Cell, Cell], severity: int, settings: MeasureSettings) -> Iterator[Tested]:
    batch = made(cell, settings.level)
    before = cell.right * cell.positive[:, None] * covered[0].seen * covered[1].seen
    losses: list[Linear] = [rate(cell, before * (1 - c.right), before).mean() for c in covered]
    clusters = int(clusters_in_use(cell, before > 0)[0])
    cases = int((before > 0).any(axis=1).sum())
    more = {"severity": str(severity)} if severity else {}

    def placed(found: Estimate) -> Estimate:
        return replace(found, by={**found.by, **more}, n_cases=cases, n_clusters=clusters)

    difference = losses[0] - losses[1]
    interval = change_interval(difference, 1 / (clusters + 2) ** 2, max(clusters, 1), batch.level)
    interval = replace(interval, low=np.maximum(interval.low, -1.0), high=np.minimum(interval.high, 1.0))
    found = whole(batch, "occlusion_grounding", difference.value, interval, f"paired, {CLUSTERED_T}", NONE_RIGHT, clusters)
    yield by_error(placed(found), interval, ruling=Ruling(WORDS, 1 - batch.level, none="not shown to look at the lesion"))
    for name, loss in zip(("occlusion_change_lesion", "occlusion_change_matched"), losses, strict=True):
        share = share_interval(loss, clusters, batch.level)
        yield Tested(placed(whole(batch, name, loss.value, share, f"{CLUSTERED}, mean over prompts", NONE_RIGHT, clusters)))


PARTS = (Occlusion(),)
