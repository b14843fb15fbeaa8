"""Sets of perturbations: what they spell out to, and where one is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from palpate.errors import PalpateError, StudyError
from palpate.perturbation_sets import perturbation_sets
from palpate.study import Study

TOP = 'prompts = "reference"'


def test_the_sets_are_the_modalities_and_two_kinds_of_hiding() -> None:
    found = perturbation_sets()
    assert list(found) == ["dermatoscopy", "histology", "mri", "null", "occlusion", "xray"]
    assert {f.name for f in found["null"]} == {"blank", "no_image", "noise", "other_modality"}
    assert "flip" not in {f.name for f in found["xray"]}


def perturbations(edited: Callable[[str, str], Path], given: str) -> list[str]:
    return [str(p) for p in Study.load(edited(TOP, TOP + f"\nperturbations = {given}")).perturbations]


def test_a_set_is_every_severity_of_its_families(edited):
    found = perturbations(edited, '["none", "set:null", "set:mri"]')
    assert found[:5] == ["none", "blank", "no_image", "noise", "other_modality"]
    assert {f"rician_noise-{s}" for s in range(1, 6)} < set(found)
    assert "flip" in found
    assert not {n for n in found if n.startswith(("hair", "stain_shift", "poisson_noise"))}
    assert len(found) == len(set(found))


def test_a_set_at_one_severity_and_a_member_named_beside_its_set(edited):
    found = perturbations(edited, '["rician_noise-3", "set:mri-3"]')
    assert found[0] == "rician_noise-3"
    assert all(n.endswith("-3") for n in found)
    assert found.count("rician_noise-3") == 1


def test_sets_are_spelt_out_in_the_run_s_own_study(edited):
    study = Study.load(edited(TOP, TOP + '\nperturbations = ["none", "set:occlusion"]'))
    assert study.text["perturbations"] == ["none", "occlude_lesion", "occlude_matched"]


@pytest.mark.parametrize(("given", "said"), [("set:mir", "set:mri"), ("set:mri-7", "set:mri-5"), ("set:null-1", "one of set:null")])
def test_an_unknown_set_names_the_nearest(edited, given, said):
    with pytest.raises(PalpateError, match=said):
        perturbations(edited, f'["{given}"]')


def test_a_mirror_is_refused_where_the_condition_has_a_side(edited):
    sided = '[[tasks]]\nname = "pneumonia_cxr"\ndefinition = { twin_of = "pneumonia_cxr", mirror_changes_label = true }\n'
    path = edited('[[tasks]]\nname = "pneumonia_cxr"\n', sided)
    path.write_text(path.read_text("utf-8").replace(TOP, TOP + '\nperturbations = ["none", "flip"]'), "utf-8")
    with pytest.raises(StudyError, match="flip would change the labels of the task 'pneumonia_cxr'"):
        Study.load(path)
