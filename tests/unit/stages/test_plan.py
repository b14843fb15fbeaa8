"""The plan: what is asked depends on the study and the images alone."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from palpate.errors import ModelError, SourceError
from palpate.nouns import Block, CaseSet, Perturbation
from palpate.registry import part
from palpate.stages.plan import Plan, by_content_alone, draw_cases, known, plan
from palpate.store.columns import key_index
from palpate.store.ledger import Ledger, prompt_from
from palpate.study import Study
from small import STUDY, make_images, write_study

Edit = Callable[[str, str], Path]
TOP = 'prompts = "reference"'


def blocks(planned: Plan) -> list[Block]:
    return [b for m in planned.study.models for b in planned.blocks(m)]


def keys(planned: Plan) -> list[str]:
    return [t.key for b in blocks(planned) for t in b.trials]


@pytest.fixture
def crossed(edited: Edit) -> Plan:
    """Two models × 12 images × 3 perturbations × 12 prompts × 2 repeats."""
    return plan(Study.load(edited(TOP, TOP + '\nperturbations = ["none", "blank", "gaussian_noise-2"]\nrepeats = 2')))


def test_the_axes_are_crossed_in_full(crossed: Plan) -> None:
    asked = {(t.model, t.case, str(t.perturbation), t.prompt.name, t.repeat) for b in blocks(crossed) for t in b.trials}
    assert len(asked) == 2 * 12 * 3 * 12 * 2 == crossed.n_trials
    assert len(blocks(crossed)) == 2 * 12 * 3 == crossed.n_blocks
    assert crossed.trials_by_task() == {"pneumonia_cxr": 12 * 3 * 12 * 2}


def test_every_trial_has_a_key_of_its_own(crossed: Plan) -> None:
    found = keys(crossed)
    assert len(set(found)) == len(found)
    assert all(len(k) == 32 and set(k) <= set("0123456789abcdef") for k in found)


def test_an_outline_is_its_block_without_the_trials(crossed: Plan) -> None:
    for model in crossed.study.models:
        for outline, block in zip(crossed.outlines(model), crossed.blocks(model), strict=True):
            assert outline.block() == block
            assert [k.hex() for k in outline.keys] == [t.key for t in block.trials]
            assert [(t.prompt, t.repeat) for t in block.trials] == list(outline.asked)


def test_blocks_whose_trials_are_all_answered_are_known_by_their_keys(crossed: Plan) -> None:
    outlines = list(crossed.outlines(crossed.study.models[0]))[:6]
    whole = [k for o in (outlines[0], outlines[2], outlines[5]) for k in o.keys]
    almost = [*outlines[1].keys[1:], *outlines[3].keys[:-1]]
    answered = key_index([[(key,) for key in (*whole, *almost)]])
    assert known(outlines, answered) == [True, False, True, False, False, True]
    assert known(outlines, key_index([])) == [False] * 6
    assert known([], answered) == []


def test_naming_every_trial_of_a_large_plan_holds_none_of_it(crossed: Plan) -> None:
    task = crossed.study.tasks[0]
    (case, *_) = crossed.cases[task.name].cases
    many = tuple(replace(case, id=f"c{i}", digest=f"{i:032x}") for i in range(1500))
    large = replace(crossed, cases={task.name: CaseSet(many)})
    model = crossed.study.models[0]
    next(large.outlines(model))
    tracemalloc.start()
    try:
        n = sum(len(outline.keys) for outline in large.outlines(model))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n == large.n_trials / 2 == 1500 * 3 * 12 * 2
    assert peak < 100_000  # bytes: a Block or two; as keys alone it would be 3.6 million


def test_a_block_is_one_image_of_one_model(crossed: Plan) -> None:
    for block in blocks(crossed):
        trials = {(t.model, t.task, t.case, t.perturbation) for t in block.trials}
        assert trials == {(block.model, block.task, block.case.id, block.perturbation)}
        assert len(block.trials) == 24


def test_the_order_depends_on_the_study_alone(small_study: Path, tmp_path: Path) -> None:
    first = plan(Study.load(small_study))
    other = tmp_path / "elsewhere"
    other.mkdir()
    again = plan(Study.load(write_study(other, STUDY.replace('name = "small"', 'name = "other"'))))
    assert keys(first) == keys(again)
    assert keys(first) == keys(first)


def test_aliases_names_and_labels_are_not_identity(small_study: Path) -> None:
    study = Study.load(small_study)
    base, tuned = study.models
    renamed = replace(study, name="x", models=(replace(base, name="p"), replace(tuned, name="q")), lineages=())
    assert keys(plan(renamed)) == keys(plan(study))
    (task,) = study.tasks
    flipped = replace(task, labels=replace(task.labels, positive=("normal",), negative=("pneumonia",)))
    assert sorted(keys(plan(replace(study, tasks=(flipped,))))) == sorted(keys(plan(study)))


@pytest.mark.parametrize(
    ("old", "new", "shared"),
    [
        (TOP, TOP + '\nperturbations = ["none", "blank"]', 288),  # what was asked before is still asked
        (TOP, TOP + "\nrepeats = 2", 288),
        (TOP, TOP + "\ndescribe = true", 288),
        ("accuracy = 0.9", "accuracy = 0.8", 144),  # the other model
        ("seed = 3", "seed = 4", 0),  # scripted models are seeded
    ],
)
def test_what_a_changed_study_shares_with_the_old(small_study: Path, edited: Edit, old: str, new: str, shared: int) -> None:
    before = set(keys(plan(Study.load(small_study))))
    assert len(before) == 288
    assert len(before & set(keys(plan(Study.load(edited(old, new)))))) == shared


def test_a_sample_is_of_each_label(edited: Edit) -> None:
    planned = plan(Study.load(edited("[measure]", "[sample]\nper_class = 2\n[measure]")))
    assert sorted(c.label for c in planned.cases["pneumonia_cxr"].cases) == [0, 0, 1, 1]
    assert planned.n_blocks == 8


def test_planning_opens_no_weights_and_writes_nothing(small_study: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    plan(Study.load(small_study))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_record_rebuilds_the_plan(crossed: Plan, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite", create=True) as ledger:
        crossed.write(ledger)
        crossed.write(ledger)
        record = ledger.plan()
        assert record is not None
        assert record["models"] == crossed.model_digests
        (task,) = crossed.study.tasks
        asked = record["tasks"]["pneumonia_cxr"]
        assert [prompt_from(p) for p in asked["prompts"]] == list(task.prompts)
        assert asked["cases"] == [c.id for c in crossed.cases["pneumonia_cxr"].cases]
        assert [Perturbation(p["name"], p["severity"]) for p in record["perturbations"]] == list(crossed.study.perturbations)
        assert set(ledger.cases("pneumonia_cxr")) == set(asked["cases"])
        assert set(ledger.models()) == {"base", "tuned"}


def test_a_folder_without_a_usable_image(small_study: Path) -> None:
    for image in (small_study.parent / "images").rglob("*.png"):
        image.write_bytes(b"not an image")
    with pytest.raises(SourceError) as fault:
        plan(Study.load(small_study))
    assert fault.value.where.startswith(f"{small_study}: tasks[0].source")


def test_a_bad_image_is_left_out_and_the_rest_is_planned(small_study: Path) -> None:
    bad = small_study.parent / "images" / "normal" / "person1000_0.png"
    bad.write_bytes(bad.read_bytes()[:50])
    found = plan(Study.load(small_study)).cases["pneumonia_cxr"]
    assert len(found.cases) == 11
    assert [left.name for left in found.left_out] == ["normal/person1000_0.png"]


@pytest.mark.parametrize("origin", ["", "s.toml"])
def test_a_source_that_gives_nothing_or_the_same_twice(small_study: Path, monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    study = replace(Study.load(small_study), origin=origin)
    where = "s.toml: tasks[0].source" if origin else "task 'pneumonia_cxr'"
    source = part("cases", "folder")
    one = source.load({"path": str(small_study.parent / "images")}, study.tasks[0].labels, study.sample).cases[0]
    for cases, says in (((), "no usable image"), ((one, one), "two cases are called")):
        monkeypatch.setattr(type(source), "load", lambda *_, cases=cases: CaseSet(cases))
        with pytest.raises(SourceError, match=says) as fault:
            draw_cases(study.tasks[0], study)
        assert fault.value.where == where


@pytest.mark.parametrize("origin", ["", "s.toml"])
def test_a_model_that_cannot_be_identified(small_study: Path, monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    study = replace(Study.load(small_study), origin=origin)
    model = part("models", "scripted").build(study.models[1])

    def fails(self: object) -> None:
        if getattr(self, "plan") == model.plan:  # noqa: B009 - the tuned one alone
            raise ModelError("has no weights", where="the hub")

    monkeypatch.setattr(type(model), "fingerprint", fails)
    with pytest.raises(ModelError, match="has no weights") as fault:
        plan(study)
    assert fault.value.where == ("s.toml: models[1]" if origin else "model 'tuned'") + ": the hub"


def test_a_copy_of_an_image_is_another_case_with_the_same_key(small_study: Path) -> None:
    images = small_study.parent / "images" / "normal"
    (images / "copy.png").write_bytes((images / "person1000_0.png").read_bytes())
    planned = plan(Study.load(small_study))
    found = keys(planned)
    assert len(planned.cases["pneumonia_cxr"].cases) == 13
    assert len(found) == 13 * 24
    assert len(set(found)) == 12 * 24


def test_make_images_makes_different_ones(tmp_path: Path) -> None:
    files = sorted(make_images(tmp_path / "i").rglob("*.png"))
    assert len({f.read_bytes() for f in files}) == len(files) == 12


def test_covering_the_lesion_needs_a_source_that_knows_where_it_is(edited: Edit) -> None:
    study = Study.load(edited(TOP, TOP + '\nperturbations = ["none", "occlude_lesion"]'))
    with pytest.raises(SourceError, match="'folder' knows no masks, and occlude_lesion covers the lesion") as caught:
        plan(study)
    assert "tasks[0].source" in str(caught.value)


def test_phantoms_know_where_the_lesion_is(edited: Edit) -> None:
    source = 'source = { kind = "folder", path = "images", group_regex = "(person\\\\d+)" }'
    path = edited(source, 'source = { kind = "phantom", modality = "chest_xray", cases = 8 }')
    path.write_text(path.read_text("utf-8").replace(TOP, TOP + '\nperturbations = ["none", "set:occlusion"]'), "utf-8")
    planned = plan(Study.load(path))
    assert planned.n_blocks == 2 * 8 * 3


def test_looking_at_a_run_needs_no_function_and_no_salt(edited: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that somebody else made may name a function of any package: finding its images again never imports it."""
    monkeypatch.delenv("PALPATE_TRUST_CODE", raising=False)
    plain = Study.load(edited("[measure]", "[measure]"))
    named = Study.load(edited('group_regex = "(person\\\\d+)"', 'group_function = "antigravity:fly", salt_env = "NOT_SET"'))
    with pytest.raises(SourceError):
        draw_cases(named.tasks[0], named)
    found = draw_cases(by_content_alone(named.tasks[0]), named)
    assert [c.id for c in found.cases] == [c.id for c in draw_cases(plain.tasks[0], plain).cases]
