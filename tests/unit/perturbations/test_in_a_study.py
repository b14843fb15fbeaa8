"""Perturbations on their way through a study: what is planned, shown, kept and listed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palpate.executors._work import present
from palpate.nouns import OUTCOME_CODE, Outcome, Perturbation
from palpate.pipeline import run
from palpate.registry import parts
from palpate.results import Results
from palpate.stages.plan import Plan, plan
from palpate.study import Study
from small import Cli

NULL = ("no_image", "blank", "noise", "other_modality")
STUDY = """
name = "looks"
seed = 4
prompts = "reference"
perturbations = ["none", "set:null", "set:occlusion", "rician_noise-2"]

[[models]]
name = "seeing"
kind = "scripted"
accuracy = 0.95

[[models]]
name = "blind"
kind = "scripted"
blind = true

[[tasks]]
name = "brain_tumor_phantom"

[sample]
per_class = 8

[measure]
draws = 100
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    file = tmp_path_factory.mktemp("study") / "looks.toml"
    file.write_text(STUDY, encoding="utf-8")
    return Study.load(file)


@pytest.fixture(scope="module")
def planned(study: Study) -> Plan:
    return plan(study)


@pytest.fixture(scope="module")
def results(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run(study, tmp_path_factory.mktemp("run") / "run")


def test_every_perturbation_is_asked_of_every_case(planned: Plan) -> None:
    names = [str(p) for p in planned.study.perturbations]
    assert names == ["none", "blank", "no_image", "noise", "other_modality", "occlude_lesion", "occlude_matched", "rician_noise-2"]
    blocks = list(planned.blocks(planned.study.models[0]))
    assert Counter(str(b.perturbation) for b in blocks) == dict.fromkeys(names, 16)
    keys = [t.key for b in blocks for t in b.trials]
    assert len(set(keys)) == len(keys) == 16 * 8 * 12


def test_a_null_image_has_nothing_of_the_case(planned: Plan) -> None:
    blocks = list(planned.blocks(planned.study.models[0]))
    for name in NULL:
        shown = [present(b, 0).image for b in blocks if b.perturbation.name == name]
        if name == "no_image":
            assert shown == [None] * 16
            continue
        original = [b.case.image.open() for b in blocks if b.perturbation.name == name]
        alike = [
            abs(
                np.corrcoef(np.asarray(a, float).mean(axis=2).ravel() + rounding(i), np.asarray(b, float).mean(axis=2).ravel())[
                    0, 1
                ]
            )
            for i, (a, b) in enumerate(zip(shown, original, strict=True))
        ]
        own = [np.asarray(a, float).mean() for a in shown]
        assert name == "other_modality" or max(alike) < 0.1
        assert np.std(own) < 5  # as bright whatever the case


def rounding(seed: int) -> np.ndarray:
    """Next to nothing: an image of one colour has no correlation."""
    return np.random.default_rng(seed).normal(0, 1e-6, 96 * 96)


def test_another_modality_is_drawn_anew_for_each_case_and_the_same_in_any_order(planned: Plan) -> None:
    blocks = [b for b in planned.blocks(planned.study.models[0]) if b.perturbation.name == "other_modality"][:6]
    forth = [present(b, 4).image.tobytes() for b in blocks]  # type: ignore[union-attr]
    back = [present(b, 4).image.tobytes() for b in reversed(blocks)]  # type: ignore[union-attr]
    assert forth == back[::-1]
    assert len(set(forth)) == 6
    assert present(blocks[0], 5).image.tobytes() != forth[0]  # type: ignore[union-attr]


def test_occlusion_touches_a_case_only_where_it_has_a_lesion(planned: Plan) -> None:
    by_name = {
        name: [b for b in planned.blocks(planned.study.models[0]) if b.perturbation.name == name]
        for name in ("occlude_lesion", "occlude_matched")
    }
    for name, blocks in by_name.items():
        for block in blocks:
            before, after = block.case.image.open(), present(block, 4).image
            assert isinstance(after, Image.Image)
            mask = block.case.image.mask()  # type: ignore[attr-defined]
            assert (before.tobytes() == after.tobytes()) is (not mask.any()), name


def test_models_answer_under_each_and_nothing_fails(results: Results) -> None:
    panels = results.panels
    assert len(panels) == 2 * 8
    assert all((p.outcome >= 0).all() and p.n_errors == 0 for p in panels)
    assert {p.perturbation for p in panels} == set(results.study.perturbations)


def test_a_model_that_looks_is_at_chance_on_null_images_and_a_blind_one_answers_the_same(results: Results) -> None:
    by_place = {(p.model, str(p.perturbation)): p for p in results.panels}
    real, yes = by_place["seeing", "none"], OUTCOME_CODE[Outcome.POSITIVE]

    def right(name: str) -> float:
        panel = by_place["seeing", name]
        return float(((panel.outcome == yes) == (panel.label == 1)[:, None, None]).mean())

    assert right("none") > 0.85
    assert right("occlude_matched") > 0.85
    for name in NULL:
        assert right(name) < 0.85
        assert np.array_equal(by_place["blind", name].outcome, by_place["blind", "none"].outcome)
        assert not np.array_equal(by_place["seeing", name].outcome, real.outcome)


def test_estimates_name_the_perturbation(results: Results) -> None:
    found = results.measure("ba_all", by=["model", "task", "cell", "perturbation"], where={"cell": "target", "model": "seeing"})
    assert {e.by["perturbation"] for e in found} == {str(p) for p in results.study.perturbations} - {"none"}


def test_a_second_run_asks_nothing(study: Study, results: Results) -> None:
    before = (results.folder.path / "ledger.sqlite").stat().st_size
    again = run(study, results.folder.path)
    assert [e.value for e in again.estimates] == [e.value for e in results.estimates]
    assert (results.folder.path / "ledger.sqlite").stat().st_size <= before + 64 * 1024


def test_the_list_shows_severities_modalities_and_sets(cli: Cli) -> None:
    shown = " ".join(cli("list", "perturbations").output.split())
    assert "severities 1, 2, 3, 4, 5; sets: mri" in shown
    assert "needs masks" in shown
    for name in ("set:mri", "set:xray", "set:dermatoscopy", "set:histology", "set:null", "set:occlusion"):
        assert name in shown


@pytest.mark.parametrize("name", sorted(parts("perturbations")))
def test_every_family_can_be_named_alone(name: str, tmp_path: Path) -> None:
    family = parts("perturbations")[name]
    text = str(Perturbation(name, family.severities[-1]))
    file = tmp_path / "one.toml"
    file.write_text(STUDY.replace('["none", "set:null", "set:occlusion", "rician_noise-2"]', f'["{text}"]'), encoding="utf-8")
    assert [str(p) for p in Study.load(file).perturbations] == [text]
