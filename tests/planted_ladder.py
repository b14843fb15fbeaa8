"""Models whose loss is put at a known place: features of every stage, a margin and a text, probed as a run would be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from palpate.nouns import Panel
from palpate.rung import Rung
from palpate.stats.probes import chosen, directions, ladder_folds, permuted_labels, probe
from planted import NEGATIVE, POSITIVE, REFUSED, panel

D_PRIME = 2.0
WIDTH = 12
STAGES = ("vision-00", "vision-01", "read", "projector", "image-00", "image-01", "last-00", "last-01")


@dataclass(frozen=True)
class PlantedLadder:
    """d′ at each stage (``STAGES``, else ``D_PRIME``), of the margin, and how the text follows from the margin.

    What a stage knows is a noisy copy of what the stage before knew: nothing comes back once lost. ``text`` "margin" says yes above
    ``criterion``; "coin" ignores everything. ``refuses``: share of each class (absent, present) that is refused. ``widths``: how
    many features a stage has, else ``WIDTH``; all but one direction of them are noise of standard deviation ``noise``.
    """

    per_class: int = 250
    signal: Mapping[str, float] = field(default_factory=dict)
    margin: float = D_PRIME
    text: str = "margin"
    criterion: float = 0.0
    refuses: tuple[float, float] = (0.0, 0.0)
    per_group: int = 2
    control: bool = False
    widths: Mapping[str, int] = field(default_factory=dict)
    noise: float = 0.3

    def panel(self, seed: int) -> Panel:
        """A Panel of one wording with its rungs."""
        rng = np.random.default_rng(seed)
        n = 2 * self.per_class
        cluster = np.arange(n) // self.per_group
        label = (rng.permutation(cluster.max() + 1) % 2)[cluster].astype(np.int8)
        evidence = (label - 0.5) * D_PRIME + rng.standard_normal(n)
        margin = self._copy(evidence, self.margin, rng)
        shown = margin > self.criterion if self.text == "margin" else rng.random(n) < 0.5
        codes = np.where(shown, POSITIVE, NEGATIVE)
        codes = np.where(rng.random(n) < np.asarray(self.refuses)[label], REFUSED, codes)
        made = panel(codes[:, None], label, cluster)
        made = replace(made, margin=margin[:, None, None], mass=np.full((n, 1, 1), 0.95))
        return replace(made, rungs={"target": tuple(self._rungs(evidence, label, cluster, rng))})

    def _copy(self, evidence: np.ndarray, wanted: float, rng: np.random.Generator) -> np.ndarray:
        """Evidence with noise added until its d′ is ``wanted``; at 0, noise alone."""
        if wanted <= 0:
            return rng.standard_normal(evidence.size)
        return evidence + rng.standard_normal(evidence.size) * np.sqrt(max((D_PRIME / wanted) ** 2 - 1, 0.0))

    def _rungs(self, evidence: np.ndarray, label: np.ndarray, cluster: np.ndarray, rng: np.random.Generator) -> list[Rung]:
        fold = ladder_folds(label, cluster, 0, "t")
        permuted = np.stack([permuted_labels(label, cluster, rng) for _ in fold]) if self.control else None
        probed, widths = {}, {}
        for stage in ("metadata", *STAGES):
            wanted = self.signal.get(stage, self.signal.get(stage.split("-")[0], 0.0 if stage == "metadata" else D_PRIME))
            features = rng.standard_normal((label.size, self.widths.get(stage, WIDTH))) * self.noise
            # One direction that is no axis holds what the stage knows, and nothing else.
            direction = rng.standard_normal(features.shape[1])
            direction /= np.linalg.norm(direction)
            features += np.outer(self._copy(evidence, wanted, rng) - features @ direction, direction)
            probed[stage], widths[stage] = probe(features, label, fold, permuted), directions(features)
        kinds = {k: chosen([p for s, p in probed.items() if s.startswith(k)], fold)[0] for k in ("vision", "image", "last")}
        kinds["hidden"] = chosen([p for s, p in probed.items() if s != "metadata"], fold)[0]
        every = {**probed, **kinds}
        control = {s: float(p.control.mean()) if self.control else None for s, p in every.items()}
        return [Rung(s, p.mean_score, p.mean_right, control[s], repeats=p.right, width=widths.get(s)) for s, p in every.items()]


BLIND = PlantedLadder(signal=dict.fromkeys(("vision", "read", "projector", "image", "last"), 0.0), margin=0.0)
AFTER_PROJECTOR = PlantedLadder(signal={"image": 0.0, "last": 0.0}, margin=0.0)
IN_PROJECTOR = PlantedLadder(signal={"projector": 0.0, "image": 0.0, "last": 0.0}, margin=0.0)
NOT_READ_OUT = PlantedLadder(margin=0.0)
SHIFTED = PlantedLadder(criterion=2.5)
REFUSING = PlantedLadder(refuses=(0.0, 0.7))
NOTHING_LOST = PlantedLadder()
