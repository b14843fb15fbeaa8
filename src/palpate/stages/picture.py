"""picture: inner states → flat pictures (t-SNE, UMAP), for people to look at. No estimate and no verdict rests on one.

As the reference study draws them: features on their 50 leading principal components, then perplexity 30 (t-SNE; van der Maaten &
Hinton 2008, started from the first two components, so that the seed matters little) or 15 neighbours (UMAP; McInnes et al. 2018).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from palpate.errors import StudyError
from palpate.extras import BROUGHT, absent, install_line, package
from palpate.nouns import Panel
from palpate.parts import FeatureStage
from palpate.stages.measure import panels
from palpate.stages.probe import stage_name
from palpate.stages.ready import PICTURES
from palpate.stats.probes import scaled
from palpate.store.features import FeatureStore
from palpate.store.ledger import Ledger
from palpate.store.pictures import Picture, PictureStore
from palpate.study import Study

COMPONENTS, PERPLEXITY, NEIGHBOURS, NEAR = 50, 30.0, 15, 10
LEAST = 20
"""Cases below which there is nothing to see."""


def ready(study: Study) -> None:
    """Raises StudyError where the study asks for a picture that this installation cannot draw."""
    for i, kind in enumerate(study.features.pictures if study.features is not None else ()):
        module = PICTURES[kind]
        if absent(module):
            others = [k for k in PICTURES if not absent(PICTURES[k])]
            raise StudyError(
                f"a picture by {kind!r} needs {package(module)}, which is not installed",
                where=f"{study.origin}: features.pictures[{i}]" if study.origin else f"features.pictures[{i}]",
                expected=f"the extra `{BROUGHT[module]}`" + (f", or pictures = {others}" if others else ""),
                hint=install_line([module]),
            )


def picture(study: Study, ledger: Ledger) -> int:
    """Draw what the study asks for and is not drawn yet; returns how many (model, task) pairs were."""
    run_folder = ledger.path.parent
    kinds = study.features.pictures if study.features is not None else ()
    if not kinds or not (run_folder / "features" / "current.json").exists():
        return 0
    ready(study)
    features, store = FeatureStore.open(run_folder), PictureStore(run_folder)
    count = 0
    for panel in panels(study, ledger):
        file = store.path(panel, kinds, study.seed) if panel.perturbation.name == "none" else None
        if file is None or (file.exists() and not features.newer(panel.model, panel.task, file)):
            continue
        used = np.flatnonzero(features.done(panel.model, panel.task))
        if used.size < LEAST:
            continue
        drawn = [_drawn(panel, stage, kind, features, used, study.seed) for stage in _shown(features, panel) for kind in kinds]
        if drawn:
            store.write(file, drawn)
            count += 1
    return count


def _shown(features: FeatureStore, panel: Panel) -> list[FeatureStage]:
    """The layer handed on, and the last layer at the end of the first question watched: both ends of the language model's part."""
    stages = features.stages(panel.model, panel.task)
    read = [s for s in stages if s.kind == "read" and s.pooling == "mean"]
    asked = [s for s in stages if s.kind == "prompt"]
    last = [s for s in asked if s.prompt == asked[0].prompt][-1:] if asked else []
    return [*read[:1], *last]


def _drawn(panel: Panel, stage: FeatureStage, kind: str, features: FeatureStore, used: NDArray[np.int64], seed: int) -> Picture:
    components = leading(np.asarray(features.array(panel.model, panel.task, stage)[used], np.float32))
    label = panel.label[used]
    perplexity = min(PERPLEXITY, (used.size - 1) / 3) if kind == "tsne" else 0.0
    place = tsne(components, perplexity, seed) if kind == "tsne" else umap(components, seed)
    near, before = neighbours(place, label), neighbours(components, label)
    return Picture(panel.model, panel.task, stage_name(stage), kind, place, label, near, before, perplexity, stage.prompt)


def leading(states: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, ≤ 50) the leading principal components of features (n, d) scaled to unit variance, as the probes have them."""
    x = np.asarray(scaled(states), np.float64)
    left, size, _ = np.linalg.svd(x, full_matrices=False)
    kept = size[:COMPONENTS] > 1e-6 * max(float(size[0]), 1e-12)
    return np.asarray(left[:, :COMPONENTS][:, kept] * size[:COMPONENTS][kept], np.float32)


def tsne(components: NDArray[np.float32], perplexity: float, seed: int) -> NDArray[np.float32]:
    """(n, 2) by scikit-learn; the same for the same seed on the same machine."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    width = components.shape[1]
    padded = np.pad(components, ((0, 0), (0, max(0, 2 - width))))
    spread = max(float(padded[:, 0].std()), 1e-12)
    start = padded[:, :2] / spread * 1e-4
    drawing = TSNE(2, perplexity=perplexity, init=start, learning_rate="auto", random_state=seed % 2**32)
    # So few cases are not worth sharing out: on a busy machine its threads wait for one another, twenty times as long.
    with threadpool_limits(1):
        return np.asarray(drawing.fit_transform(padded), np.float32)


def umap(components: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """(n, 2) by umap-learn, on one thread: with more it is not the same again."""
    from umap import UMAP

    near = min(NEIGHBOURS, components.shape[0] - 1)
    drawing = UMAP(n_neighbors=near, random_state=seed % 2**32, n_jobs=1)
    return np.asarray(drawing.fit_transform(components), np.float32)


def neighbours(place: NDArray[np.float32], label: NDArray[np.int8]) -> float:
    """Mean share of a case's ten nearest others, by Euclidean distance, that have its label; about .5 where classes are mixed."""
    x = np.asarray(place, np.float64)
    square = (x**2).sum(axis=1)
    distance = square[:, None] + square[None, :] - 2 * x @ x.T
    np.fill_diagonal(distance, np.inf)
    closest = np.argsort(distance, axis=1, kind="stable")[:, : min(NEAR, x.shape[0] - 1)]
    return float((label[closest] == label[:, None]).mean())
