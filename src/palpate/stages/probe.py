"""probe: inner states → what each stage tells of each case, out of fold. Needs no model; images only for their size and colours.

Every (model, task) whose inner states were kept is probed once per set of labels, on the same grouped folds for all stages and
models of a task, and the result is kept beside the run: measuring again needs no probe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from palpate.nouns import Case, CaseSet, Form, Panel
from palpate.parts import FeatureStage, ModelSpec
from palpate.rung import Rung
from palpate.stages.described import Described
from palpate.stages.measure import panels
from palpate.stats.probes import Folds, Probed, chosen, directions, ladder_folds, permuted_labels
from palpate.stats.probes import probe as fit
from palpate.stats.resampling import generator
from palpate.store.features import FeatureStore
from palpate.store.ledger import Ledger
from palpate.store.planned import Planned
from palpate.store.probes import ProbeStore
from palpate.study import Study

BINS = 16
SIDE = 256  # pixels: colours are counted on the image shrunk to this
ORDER = ("vision", "read", "projector", "image", "prompt")


def probe(study: Study, ledger: Ledger, cases: Mapping[str, CaseSet]) -> int:
    """Probe what was kept and is not probed yet; returns how many (model, task) pairs were. ``cases``: task → its cases.

    The words of descriptions too, where scikit-learn is there.
    """
    return _inner_states(study, ledger, cases) + _words(study, ledger)


def _words(study: Study, ledger: Ledger) -> int:
    if find_spec("sklearn") is None or not any(p.form is Form.DESCRIBE for t in study.tasks for p in t.prompts):
        return 0
    described = Described(study, ledger, Planned(ledger))
    return sum(described.probe(panel) for panel in panels(study, ledger) if panel.perturbation.name == "none")


def _inner_states(study: Study, ledger: Ledger, cases: Mapping[str, CaseSet]) -> int:
    run_folder = ledger.path.parent
    if study.features is None or not (run_folder / "features" / "current.json").exists():
        return 0
    features, store = FeatureStore.open(run_folder), ProbeStore(run_folder)
    colours: dict[str, NDArray[np.float32]] = {}
    count = 0
    for panel in panels(study, ledger):
        file = store.path(panel, study.seed) if panel.perturbation.name == "none" else None
        if file is None or (file.exists() and not features.newer(panel.model, panel.task, file)):
            continue
        if panel.task not in colours:
            colours[panel.task] = np.stack([colours_of(case) for case in cases[panel.task].cases])
        found = _Ladder(study, panel, features, colours[panel.task]).rungs()
        if found:
            store.write(file, found)
            count += 1
    return count


class _Ladder:
    """The rungs of one model on one task."""

    def __init__(self, study: Study, panel: Panel, features: FeatureStore, colours: NDArray[np.float32]) -> None:
        self.panel, self.features, self.colours = panel, features, colours
        self.used = np.flatnonzero(features.done(panel.model, panel.task))
        self.label, cluster = panel.label[self.used], panel.cluster[self.used]
        self.cluster = np.unique(cluster, return_inverse=True)[1] if self.used.size else cluster
        self.seed, self.twin = study.seed, twin_of(study.models, panel.model)
        held = dict.fromkeys(features.held())
        if self.twin is not None and (self.twin, panel.task) not in held:
            self.twin = None

    def rungs(self) -> dict[str, tuple[Rung, ...]]:
        """Cell → rungs; empty where the cases are too few to be split into folds."""
        groups = [np.unique(self.cluster[self.label == y]).size for y in (0, 1)]
        if min(groups, default=0) < MIN_GROUPS:
            return {}
        fold = ladder_folds(self.label, self.cluster, self.seed, self.panel.task)
        rng = generator(self.seed, self.panel.task, "ladder", "control")
        permuted = np.stack([permuted_labels(self.label, self.cluster, rng) for _ in range(len(fold))])
        by_stage: dict[FeatureStage, tuple[Probed, Rung]] = {}
        for stage in self.features.stages(self.panel.model, self.panel.task):
            states = self._states(self.panel.model, stage)
            found = fit(states, self.label, fold, permuted)
            twin = None
            if self.twin is not None and stage in self.features.stages(self.twin, self.panel.task):
                twin = fit(self._states(self.twin, stage), self.label, fold)
            by_stage[stage] = found, self._rung(stage_name(stage), found, twin, directions(states))
        metadata = self._rung("metadata", fit(self.colours[self.used], self.label, fold, permuted))
        prompts = dict.fromkeys(s.prompt for s in by_stage if s.kind == "prompt")
        cell_of = {p.name: p.cell for p in self.panel.prompts}
        shared = {s: found for s, found in by_stage.items() if s.kind != "prompt"}
        of_kind = {kind: self._best(shared, kind, fold) for kind in ("vision", "image")}
        cells: dict[str, tuple[Rung, ...]] = {}
        for prompt in prompts:
            mine = {s: found for s, found in by_stage.items() if s.prompt == prompt}
            best = {**of_kind, "prompt": self._best(mine, "prompt", fold)}
            every = [probed for probed, _ in (*shared.values(), *mine.values())]
            hidden = self._rung("hidden", chosen(every, fold)[0])
            ordered = [metadata]
            for kind in ORDER:
                ordered += [rung for s, (_, rung) in (shared | mine).items() if s.kind == kind]
                ordered += [rung for rung in (best.get(kind),) if rung is not None]
            cells.setdefault(cell_of.get(prompt, prompt), (*ordered, hidden))
        return cells

    def _states(self, model: str, stage: FeatureStage) -> NDArray[np.float32]:
        # A power of two is all the scale is, and the probe standardises: it changes nothing.
        return np.asarray(self.features.array(model, self.panel.task, stage)[self.used], np.float32)

    def _best(self, found: Mapping[FeatureStage, tuple[Probed, Rung]], kind: str, fold: Folds) -> Rung | None:
        layers = [pair for s, pair in found.items() if s.kind == kind]
        if not layers:
            return None
        widest = max(rung.width or 0.0 for _, rung in layers)
        return self._rung("last" if kind == "prompt" else kind, chosen([probed for probed, _ in layers], fold)[0], width=widest)

    def _rung(self, stage: str, found: Probed, twin: Probed | None = None, width: float | None = None) -> Rung:
        """Over all cases of the panel; NaN where nothing was kept."""

        def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
            whole = np.full((*values.shape[:-1], self.panel.label.size), np.nan)
            whole[..., self.used] = values
            return whole

        control = float(found.control.mean()) if np.isfinite(found.control).all() else None
        other = None if twin is None else spread(twin.mean_score)
        return Rung(stage, spread(found.mean_score), spread(found.mean_right), control, other, spread(found.right), width)


MIN_GROUPS = 10
"""Groups of each class below which nothing is probed: five folds would leave two to hold out."""


def stage_name(stage: FeatureStage) -> str:
    """As the ladder calls it: ``last-30`` for the language model's layer 30 at the last token of its question."""
    if stage.kind != "prompt":
        return stage.name
    return f"last-{stage.depth:02d}"


def twin_of(models: Sequence[ModelSpec], name: str) -> str | None:
    """The study's model that is the same checkpoint with random weights; None where there is none."""
    own = next((m for m in models if m.name == name), None)
    if own is None or own.options.get("twin") == "random":
        return None
    same = {k: v for k, v in own.options.items() if k != "twin"}
    for other in models:
        options = {k: v for k, v in other.options.items() if k != "twin"}
        if other.options.get("twin") == "random" and other.kind == own.kind and options == same:
            return other.name
    return None


def colours_of(case: Case) -> NDArray[np.float32]:
    """What a file tells without being looked at: its size, and how often each brightness occurs in each colour."""
    image = case.image.open()
    width, height = image.size
    image.thumbnail((SIDE, SIDE))
    pixels = np.asarray(image.convert("RGB"))
    counts = [np.bincount(pixels[..., c].ravel() // (256 // BINS), minlength=BINS) / pixels[..., c].size for c in range(3)]
    moments = [pixels.mean(axis=(0, 1)) / 255, pixels.std(axis=(0, 1)) / 255]
    return np.concatenate([[np.log(width), np.log(height)], *counts, *moments]).astype(np.float32)
