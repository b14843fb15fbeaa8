"""What changed under a run since it was begun: models refused, images named, servers that became others said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from palpate.errors import ModelError
from palpate.nouns import Answer, Response, Status
from palpate.parts import Fingerprint
from palpate.stages.plan import Instead, Plan, plan
from palpate.stages.resume import changed_since, over_sittings
from palpate.store import earlier
from palpate.store.folder import RunFolder
from palpate.store.ledger import Ledger
from palpate.study import Study

Edit = Callable[[str, str], Path]


@pytest.fixture
def planned(small_study: Path) -> Plan:
    return plan(Study.load(small_study))


def begun(planned: Plan, out: Path, answers: int = 5) -> RunFolder:
    """A run of the plan in which the first model has answered so many questions."""
    folder = RunFolder(out)
    with folder.writing(planned.study.name, planned.study.to_toml()) as ledger:
        planned.write(ledger)
        folder.write_cases(planned.cases)
        block = next(iter(planned.blocks(planned.study.models[0])))
        ledger.append((t, Response(t.key, 1, Answer(Status.OK, "Yes"))) for t in block.trials[:answers])
    return folder


def with_identity(planned: Plan, name: str, **changes: object) -> Plan:
    known = planned.fingerprints[name]
    return replace(
        planned, fingerprints={**planned.fingerprints, name: Fingerprint({**known.identity, **changes}, known.environment)}
    )


def test_a_new_run_has_no_past(planned: Plan, tmp_path: Path) -> None:
    assert changed_since(planned, RunFolder(tmp_path / "none")) == []
    (tmp_path / "empty").mkdir()
    assert changed_since(planned, RunFolder(tmp_path / "empty")) == []


def test_nothing_changed_nothing_said(planned: Plan, tmp_path: Path) -> None:
    assert changed_since(planned, begun(planned, tmp_path / "run")) == []


def test_another_model_of_the_same_words_is_refused_with_what_differs(planned: Plan, tmp_path: Path) -> None:
    folder = begun(planned, tmp_path / "run")
    other = with_identity(planned, "base", dtype="bfloat16", template="x" * 100)
    with pytest.raises(ModelError) as fault:
        changed_since(other, folder)
    assert fault.value.where == "model 'base'"
    assert "dtype absent then, bfloat16 now" in fault.value.problem
    assert f"template absent then, {'x' * 39}… now" in fault.value.problem
    assert "another name in the study file" in fault.value.hint


def test_what_the_machine_decides_is_said_with_how_to_go_on(planned: Plan, tmp_path: Path) -> None:
    begun_with = with_identity(planned, "base", images_at_once=64)
    folder = begun(begun_with, tmp_path / "run")
    here = with_identity(planned, "base", images_at_once=16)
    base = replace(here.fingerprints["base"], settled={"images_at_once": 16})
    with pytest.raises(ModelError) as fault:
        changed_since(replace(here, fingerprints={**here.fingerprints, "base": base}), folder)
    assert "images_at_once 64 then, 16 now" in fault.value.problem
    assert "images_at_once = 64 in the model's entry" in fault.value.hint
    other = replace(base, identity={**base.identity, "dtype": "x"})  # more than that differs: saying it would not help
    with pytest.raises(ModelError, match="dtype absent then, x now") as fault:
        changed_since(replace(here, fingerprints={**here.fingerprints, "base": other}), folder)
    assert "images_at_once" not in fault.value.hint
    assert "another name in the study file" in fault.value.hint


def test_what_was_not_there_then_cannot_be_said_now(planned: Plan, tmp_path: Path) -> None:
    folder = begun(planned, tmp_path / "run")
    here = with_identity(planned, "base", images_at_once=16)
    base = replace(here.fingerprints["base"], settled={"images_at_once": 16})
    with pytest.raises(ModelError) as fault:
        changed_since(replace(here, fingerprints={**here.fingerprints, "base": base}), folder)
    assert "put back what was there" in fault.value.hint


def test_a_model_whose_self_test_made_it_another_is_no_other_model(planned: Plan, tmp_path: Path) -> None:
    """The decision is kept before the plan that follows from it; in any other case the guard stands."""
    folder = begun(planned, tmp_path / "run")
    other = with_identity(planned, "base", inference="single")
    decided = Instead({"inference": "single"}, ("differs",), planned.model_digests["base"])
    assert changed_since(replace(other, instead={"base": decided}), folder) == []
    for wrong in (replace(decided, digest="00"), None):
        with pytest.raises(ModelError, match="inference absent then, single now"):
            changed_since(replace(other, instead={"base": wrong} if wrong else {}), folder)


def test_a_model_that_has_not_answered_yet_may_be_put_right(planned: Plan, tmp_path: Path) -> None:
    assert changed_since(with_identity(planned, "tuned", dtype="x"), begun(planned, tmp_path / "run")) == []
    assert changed_since(with_identity(planned, "base", dtype="x"), begun(planned, tmp_path / "other", answers=0)) == []


def test_a_study_that_asks_for_another_model_may(planned: Plan, edited: Edit, tmp_path: Path) -> None:
    folder = begun(planned, tmp_path / "run")
    changed = plan(Study.load(edited("accuracy = 0.7", "accuracy = 0.8")))
    assert changed.model_digests["base"] != planned.model_digests["base"]
    assert changed_since(changed, folder) == []


def test_a_study_file_of_the_run_that_cannot_be_read_is_said_elsewhere(planned: Plan, tmp_path: Path) -> None:
    folder = begun(planned, tmp_path / "run")
    (folder.path / "study.toml").write_text("name =", encoding="utf-8")
    assert changed_since(planned, folder) == []


def test_images_are_named_by_file_and_copies_are_no_change(small_study: Path, planned: Plan, tmp_path: Path) -> None:
    folder = begun(planned, tmp_path / "run")
    images = small_study.parent / "images" / "normal"
    first, second, *_ = sorted(images.iterdir())
    # A copy that sorts before it takes the plain id, and the first becomes its copy: the same image still.
    (images / "a_copy.png").write_bytes(first.read_bytes())
    assert changed_since(plan(Study.load(small_study)), folder) == []
    (images / "a_copy.png").unlink()
    first.write_bytes(second.read_bytes())
    (note,) = changed_since(plan(Study.load(small_study)), folder)
    assert note.startswith(f"pneumonia_cxr: 1 image (normal/{first.name}) changed since this run was begun: asked anew")
    second.unlink()
    _, gone = changed_since(plan(Study.load(small_study)), folder)
    assert f"1 image (normal/{second.name}) of this run cannot be used any more" in gone


def test_of_many_images_some_are_named(small_study: Path, planned: Plan, tmp_path: Path) -> None:
    folder = begun(planned, tmp_path / "run")
    for image in sorted((small_study.parent / "images" / "normal").iterdir())[:-2]:
        image.unlink()
    for image in sorted((small_study.parent / "images" / "pneumonia").iterdir())[:-2]:
        image.unlink()
    (note,) = changed_since(plan(Study.load(small_study)), folder)
    assert "8 images (" in note
    assert " and 3 more)" in note


def test_names_that_a_spreadsheet_would_run_are_known_again(small_study: Path, tmp_path: Path) -> None:
    images = small_study.parent / "images"
    (images / "normal" / "person1000_0.png").rename(images / "=cmd.png")
    (images / "=cmd.png").rename(images / "normal" / "=cmd.png")
    planned = plan(Study.load(small_study))
    assert changed_since(planned, begun(planned, tmp_path / "run")) == []


# ---------------------------------------------------------------- servers

SAID = "what answers under this name changed"


def test_the_same_server_over_sittings_is_no_news() -> None:
    found = {"answered_as": ["m fp"], "logprobs": "returned"}
    assert over_sittings([], found) == found
    assert over_sittings([found, {"other": 1}], found) == found


def test_another_server_in_a_later_sitting_is_a_warning_that_stays() -> None:
    second = over_sittings([{"answered_as": ["m 1"]}], {"answered_as": ["m 2"], "warnings": ["slow"]})
    assert second["answered_as"] == ["m 1", "m 2"]
    assert second["warnings"] == ["slow", f"{SAID} between two sittings of the run: m 1, then m 2"]
    third = over_sittings([{"answered_as": ["m 1"]}, second], {"answered_as": ["m 2"]})
    assert third["warnings"] == [second["warnings"][1]]


def test_one_change_is_said_once() -> None:
    """Within a sitting what was observed is recorded several times, and the model itself says that it changed."""
    inside = f"{SAID} during the run: m 1, then m 2"
    found = over_sittings([{"answered_as": ["m 1"]}], {"answered_as": ["m 1", "m 2"], "warnings": [inside]})
    assert found["warnings"] == [inside]


def test_a_server_that_says_nothing_says_nothing() -> None:
    found = over_sittings([{"answered_as": ["m 1"]}], {"answered_as": ["(does not say)"]})
    assert "warnings" not in found
    assert found["answered_as"] == ["m 1"]
    assert over_sittings([], {"answered_as": ["(does not say)"]})["answered_as"] == ["(does not say)"]


# ---------------------------------------------------------------- what the ledger says of earlier sittings


def test_what_is_recorded_of_a_model(tmp_path: Path, planned: Plan) -> None:
    folder = begun(planned, tmp_path / "run")
    digest = planned.model_digests["base"]
    with Ledger(folder.ledger_path) as ledger:
        assert earlier.identity_of(ledger, "base", digest) == json.loads(json.dumps(planned.fingerprints["base"].identity))
        assert earlier.identity_of(ledger, "base", "00") is None
        assert earlier.has_answered(ledger, "base", digest)
        assert not earlier.has_answered(ledger, "tuned", planned.model_digests["tuned"])
        ledger.add_model("base", planned.fingerprints["base"].identity, {"answered_as": ["x"]})
        assert [e.get("answered_as") for e in earlier.environments(ledger, "base", digest)] == [None, ["x"]]
        assert earlier.environments(ledger, "nobody", digest) == []
