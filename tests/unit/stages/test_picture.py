"""Flat pictures: as the reference draws them, the same twice, and refused in time where the library is missing."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from palpate.errors import StudyError
from palpate.parts import FeatureStage
from palpate.pipeline import run
from palpate.results import Results
from palpate.stages import picture as drawing
from palpate.stages.picture import COMPONENTS, leading, neighbours, picture, ready, tsne
from palpate.store.features import FeatureWriter
from palpate.store.pictures import PictureStore
from palpate.study import Study

STUDY = """
name = "pictured"
seed = 2

[[models]]
name = "planted"
kind = "scripted"
accuracy = 0.9

[[tasks]]
name = "brain_tumor_phantom"

[sample]
per_class = 24

[features]
models = []
pictures = ["tsne"]

[measure]
draws = 100
"""
READ, LAST = FeatureStage("read"), FeatureStage("prompt", 3, "last", "target.none")
STAGES = (FeatureStage("vision", 0), READ, FeatureStage("projector"), FeatureStage("prompt", 2, "last", "target.none"), LAST)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A finished run into which states are put by hand: ``read`` in two clusters by class, ``last`` without any."""
    folder = tmp_path_factory.mktemp("pictured")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    results = run(Study.load(folder / "study.toml"), folder / "run")
    panel, rng = results.panels[0], np.random.default_rng(0)
    writer = FeatureWriter(folder / "run", "planted", panel.task, panel.cases, "by hand")
    rows = []
    for i, case in enumerate(panel.cases[:-1]):  # one is not there: it was never looked at
        states = {stage: rng.standard_normal(60).astype(np.float32) for stage in STAGES}
        states[READ] += 8 * np.float32(panel.label[i])
        rows.append((case, states))
    writer.add(rows)
    writer.make_current()
    with results.folder.ledger() as ledger:
        assert picture(results.study, ledger) == 1
    return results


def test_the_two_ends_are_drawn_of_the_cases_that_were_looked_at(finished: Results) -> None:
    panel = finished.panels[0]
    found = PictureStore(finished.folder.path).pictures(panel, ("tsne",), 2)
    assert [(p.stage, p.kind, p.prompt) for p in found] == [("read", "tsne", ""), ("last-03", "tsne", "target.none")]
    for one in found:
        assert one.place.shape == (47, 2)
        assert np.isfinite(one.place).all()
        assert np.array_equal(one.label, panel.label[:-1])
        assert one.perplexity == pytest.approx(46 / 3)  # 47 cases have no 30 neighbours to spare
    assert found[0].near > 0.95
    assert abs(found[1].near - 0.5) < 0.15


def test_drawing_again_does_nothing_and_other_labels_are_another_file(finished: Results) -> None:
    with finished.folder.ledger() as ledger:
        assert picture(finished.study, ledger) == 0
    store, panel = PictureStore(finished.folder.path), finished.panels[0]
    own = store.path(panel, ("tsne",), 2)
    assert own is not None
    assert own.exists()
    for other in (store.path(replace(panel, label=1 - panel.label), ("tsne",), 2), store.path(panel, ("tsne",), 3)):
        assert other not in (None, own)
    assert store.path(panel, (), 2) is None
    assert store.path(replace(panel, model="another"), ("tsne",), 2) is None


def test_nothing_is_drawn_unasked_or_of_too_few(finished: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = finished.study.features
    assert settings is not None
    with finished.folder.ledger() as ledger:
        assert picture(replace(finished.study, features=replace(settings, pictures=())), ledger) == 0
        assert picture(replace(finished.study, features=None), ledger) == 0
        monkeypatch.setattr(drawing, "LEAST", 48)
        assert picture(replace(finished.study, seed=9), ledger) == 0


def test_the_run_shows_them(finished: Results) -> None:
    held = {(p.model, p.stage) for p in Results.open(finished.folder.path).view().pictures}
    assert held == {("planted", "read"), ("planted", "last-03")}


@pytest.mark.parametrize("kind", ["tsne", "umap"])
def test_a_library_that_is_missing_is_named_before_anything_is_asked(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(STUDY.replace('["tsne"]', f'["{kind}"]'), encoding="utf-8")
    monkeypatch.setitem(sys.modules, {"tsne": "sklearn", "umap": "umap"}[kind], None)
    monkeypatch.setitem(sys.modules, {"tsne": "umap", "umap": "sklearn"}[kind], ModuleType("there"))
    with pytest.raises(StudyError) as caught:
        run(Study.load(file), tmp_path / "run")
    assert "features.pictures[0]" in str(caught.value)
    assert "pip install 'palpate[" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_unknown_kind_is_refused_and_what_can_be_drawn_is_not(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(STUDY.replace('["tsne"]', '["pca"]'), encoding="utf-8")
    with pytest.raises(StudyError, match="pictures"):
        Study.load(file)
    file.write_text(STUDY, encoding="utf-8")
    ready(Study.load(file))
    ready(replace(Study.load(file), features=None))


def test_components_are_the_leading_ones_of_features_of_unit_variance() -> None:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    states = (rng.standard_normal((120, 90)) * rng.uniform(0.1, 9, 90)).astype(np.float32)
    ours, theirs = leading(states), PCA(COMPONENTS).fit_transform(StandardScaler().fit_transform(states)) / 90**0.5
    assert ours.shape == (120, COMPONENTS)
    sign = np.sign((ours * theirs).sum(axis=0))
    assert np.abs(ours * sign - theirs).max() < 1e-4
    assert leading(states[:, :3]).shape == (120, 3)
    assert leading(np.ones((30, 4), np.float32)).shape[0] == 30  # nothing varies: nothing fails


def test_the_same_seed_draws_the_same_and_few_columns_do_not_fail() -> None:
    components = leading(np.random.default_rng(1).standard_normal((40, 5)).astype(np.float32))
    assert np.array_equal(tsne(components, 10, 3), tsne(components, 10, 3))
    assert tsne(components[:, :1], 10, 3).shape == (40, 2)


@pytest.mark.skipif(find_spec("umap") is None, reason="umap-learn is not installed")
@pytest.mark.filterwarnings("ignore")
def test_umap_draws_the_same_twice() -> None:
    components = leading(np.random.default_rng(1).standard_normal((40, 8)).astype(np.float32))
    assert np.array_equal(drawing.umap(components, 3), drawing.umap(components, 3))


def test_neighbours_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(4)
    place, label = rng.standard_normal((60, 2)).astype(np.float32), rng.integers(0, 2, 60).astype(np.int8)
    shares = []
    for i in range(60):
        away = sorted((float(((place[i] - place[j]) ** 2).sum()), j) for j in range(60) if j != i)
        shares.append(np.mean([label[j] == label[i] for _, j in away[:10]]))
    assert neighbours(place, label) == pytest.approx(np.mean(shares))
