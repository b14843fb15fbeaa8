"""Probing a run's inner states: once per labels, on shared folds, with the colours of the images beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palpate.errors import RunError
from palpate.measures.ladder import Ladder
from palpate.nouns import Case, Panel, Perturbation
from palpate.parts import FeatureStage, MeasureSettings, ModelSpec
from palpate.pipeline import run
from palpate.results import Results
from palpate.rung import Rung
from palpate.stages.probe import colours_of, probe, stage_name, twin_of
from palpate.store.features import FeatureWriter
from palpate.store.probes import ProbeStore
from palpate.study import Study

STUDY = """
name = "inside"
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

[measure]
draws = 100
"""
STAGES = (
    FeatureStage("vision", 0),
    FeatureStage("vision", 1),
    FeatureStage("read"),
    FeatureStage("projector"),
    FeatureStage("image", 0),
    FeatureStage("prompt", 3, "last", "target.none"),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A finished run into which states are put by hand: known up to the projector, gone behind it."""
    folder = tmp_path_factory.mktemp("probed")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    results = run(Study.load(folder / "study.toml"), folder / "run")
    panel = results.panels[0]
    rng = np.random.default_rng(0)
    writer = FeatureWriter(folder / "run", "planted", panel.task, panel.cases, "by hand")
    rows = []
    for i, case in enumerate(panel.cases):
        known = 3.0 * (panel.label[i] - 0.5)
        shared = rng.normal(known, 1.0)
        states = {}
        for stage in STAGES:
            vector = rng.standard_normal(8)
            vector[0] = shared if stage.kind in ("vision", "read", "projector") else rng.standard_normal()
            states[stage] = vector.astype(np.float32)
        rows.append((case, states))
    writer.add(rows)
    writer.make_current()
    return results


def cases_of(results: Results) -> dict[str, object]:
    from palpate.stages.plan import plan

    return dict(plan(results.study).cases)


@pytest.fixture(scope="module")
def probed(finished: Results) -> Panel:
    with finished.folder.ledger() as ledger:
        assert probe(finished.study, ledger, cases_of(finished)) == 1  # type: ignore[arg-type]
    return Results.open(finished.folder.path).panels[0]


def test_a_run_gains_its_rungs(probed: Panel) -> None:
    assert set(probed.rungs) == {"target"}
    stages = [r.stage for r in probed.rungs["target"]]
    assert stages == [
        "metadata",
        "vision-00",
        "vision-01",
        "vision",
        "read",
        "projector",
        "image-00",
        "image",
        "last-03",
        "last",
        "hidden",
    ]
    width = {r.stage: r.width for r in probed.rungs["target"]}
    assert all(1 < (width[s] or 0) <= 8 for s in stages if s not in ("metadata", "hidden"))
    assert width["vision"] == max(width["vision-00"] or 0, width["vision-01"] or 0)
    assert width["metadata"] is width["hidden"] is None  # no step leads into them
    for rung in probed.rungs["target"]:
        assert rung.score.shape == rung.right.shape == probed.label.shape
        assert np.isfinite(rung.score).all()
        assert ((rung.right >= 0) & (rung.right <= 1)).all()


def test_the_planted_loss_is_found_in_a_run(probed: Panel) -> None:
    found = list(Ladder().measure([probed], MeasureSettings(seed=2, draws=100)))
    losses = {e.by["step"]: e for e in found if e.measure == "ladder_loss"}
    assert [step for step, e in losses.items() if e.verdict == "bottleneck"] == ["projector>image"]


def test_probing_again_does_nothing_and_measuring_needs_no_states(finished: Results, probed: Panel, tmp_path: Path) -> None:
    with finished.folder.ledger() as ledger:
        assert probe(finished.study, ledger, {}) == 0  # no image is opened: nothing is left to do
    again = Results.open(finished.folder.path).panels[0]
    for one, two in zip(again.rungs["target"], probed.rungs["target"], strict=True):
        assert np.array_equal(one.score, two.score)


def test_states_that_came_later_are_probed_with_the_rest(finished: Results, probed: Panel) -> None:
    """An image that failed in the first sitting and is looked at in the second belongs to the ladder."""
    import os

    states = next((finished.folder.path / "features").rglob("done.u8"))
    file = next((finished.folder.path / "probes").glob("*.npz"))
    before = file.stat().st_mtime_ns
    with finished.folder.ledger() as ledger:
        os.utime(states, ns=(before + 10**9, before + 10**9))
        assert probe(finished.study, ledger, cases_of(finished)) == 1  # type: ignore[arg-type]
        assert file.stat().st_mtime_ns > before
        os.utime(states, ns=(before - 10**9, before - 10**9))
        assert probe(finished.study, ledger, {}) == 0


def test_probes_belong_to_their_labels_and_seed(finished: Results, probed: Panel) -> None:
    store = ProbeStore(finished.folder.path)
    own = store.path(probed, 2)
    assert own is not None
    assert own.exists()
    corrected = replace(probed, label=1 - probed.label)
    assert store.path(corrected, 2) not in (None, own)
    assert store.path(probed, 3) not in (None, own)
    assert store.rungs(corrected, 2) == {}
    assert store.path(replace(probed, model="another"), 2) is None


def test_without_states_there_is_nothing_to_probe(finished: Results, tmp_path: Path) -> None:
    assert ProbeStore(tmp_path).path(finished.panels[0], 0) is None
    assert ProbeStore(tmp_path).rungs(finished.panels[0], 0) == {}
    with finished.folder.ledger() as ledger:
        assert probe(replace(finished.study, features=None), ledger, {}) == 0


def test_what_is_written_comes_back(tmp_path: Path, probed: Panel) -> None:
    store = ProbeStore(tmp_path)
    rng = np.random.default_rng(0)
    shared = Rung("read", rng.normal(size=5), rng.random(5), 0.48, None)
    own = Rung("last", np.array([0.1, np.nan, 2, 3, 4]), np.array([1, np.nan, 0, 1, 0.4]), None, rng.normal(size=5), width=7.5)
    file = tmp_path / "probes" / "x.npz"
    store.write(file, {"target": (shared, own), "abnormal": (shared,)})
    assert not list(file.parent.glob(".*"))
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "current.json").write_text(f'{{"{probed.model}": {{"{probed.task}": "states"}}}}', encoding="utf-8")
    place = store.path(probed, 0)
    assert place is not None
    file.rename(place)
    back = store.rungs(probed, 0)
    assert [r.stage for r in back["target"]] == ["read", "last"]
    assert [r.stage for r in back["abnormal"]] == ["read"]
    assert np.allclose(back["target"][0].score, shared.score, atol=1e-6)
    assert back["target"][0].control == pytest.approx(0.48)
    assert back["target"][0].twin is None
    assert [r.width for r in back["target"]] == [None, 7.5]
    assert back["target"][1].control is None
    assert np.isnan(back["target"][1].score[1])
    assert np.allclose(back["target"][1].twin, own.twin, atol=1e-6)  # type: ignore[arg-type]
    place.write_bytes(b"no such thing")
    with pytest.raises(RunError, match="delete it and run again"):
        store.rungs(probed, 0)


def test_a_perturbed_panel_has_no_rungs(finished: Results, probed: Panel) -> None:
    assert probed.perturbation == Perturbation()
    assert finished.study.features is not None


# ---------------------------------------------------------------- names, twins, colours


def test_stages_are_called_as_the_ladder_calls_them() -> None:
    assert stage_name(FeatureStage("vision", 3)) == "vision-03"
    assert stage_name(FeatureStage("read")) == "read"
    assert stage_name(FeatureStage("image", 12, "max")) == "image-12/max"
    assert stage_name(FeatureStage("prompt", 30, "last", "target-1")) == "last-30"


def test_a_twin_is_the_same_checkpoint_with_random_weights() -> None:
    own = ModelSpec("mine", "hf", {"path": "a"})
    random = ModelSpec("untrained", "hf", {"path": "a", "twin": "random"})
    other = ModelSpec("other", "hf", {"path": "b", "twin": "random"})
    assert twin_of([own, other, random], "mine") == "untrained"
    assert twin_of([own, other], "mine") is None
    assert twin_of([own, random], "untrained") is None
    assert twin_of([own], "nobody") is None


class _Shown:
    def __init__(self, image: Image.Image) -> None:
        self.image = image

    def open(self) -> Image.Image:
        return self.image.copy()


def test_colours_tell_size_and_brightness_and_nothing_of_where() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    shuffled = pixels.reshape(-1, 3)[rng.permutation(2400)].reshape(40, 60, 3)
    one, other = (colours_of(Case("c", 0, "g", "d", _Shown(Image.fromarray(p)))) for p in (pixels, shuffled))
    assert np.allclose(one, other, atol=1e-6)
    assert one[0] == pytest.approx(np.log(60))
    assert one[1] == pytest.approx(np.log(40))
    dark = colours_of(Case("c", 0, "g", "d", _Shown(Image.new("RGB", (60, 40)))))
    assert dark[2] == 1.0  # every pixel in the lowest bin of red
    assert not np.allclose(one, dark)
