"""A model that must not be asked together, in half precision: planned again as the one that is asked one by one."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import palpate
from faults_found import survived
from palpate import registry
from palpate.errors import ModelError
from palpate.models import _hf_identity
from palpate.nouns import Tally
from palpate.pipeline import run
from palpate.stages.plan import Plan
from palpate.store.integrity import check_ledger
from palpate.study import Study
from small import palpate as command

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not (find_spec("torch") and find_spec("transformers")), reason="needs the extra `local`"),
]
STUDY = """
name = "strained"
seed = 1
prompts = "reference"
[sample]
per_class = 3
[[models]]
name = "mine"
kind = "strained"
checkpoint = "phantom-llava"
dtype = "bfloat16"
images_at_once = 1
[[tasks]]
name = "pneumonia_phantom"
[measure]
draws = 100
[data]
inspect = false
"""
EACH, FIRST = 6 * 12, 4 * 12
"""Questions in all, and of the first batch."""
WARNED = "mine: asking together is not asking alone (asked together as alone: "
WAY = "in bfloat16 as another model by identity (inference = 'single')"


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another package on the path, whose entry point adds the kind, for processes other than this one."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "strained_kind-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strained-kind\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[palpate.models]\nstrained = strained:KIND\n", encoding="utf-8")
    return folder


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """What the models did since the last look: (what, way, questions, process) each."""
    import strained

    monkeypatch.setitem(registry.parts("models"), "strained", strained.KIND)
    monkeypatch.setattr(strained.Strained, "batches", 0)
    log = tmp_path / "told"
    monkeypatch.setenv("STRAINED", str(log))

    def look() -> list[list[str]]:
        found = [line.split() for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    return look


def study(folder: Path, more: str = "") -> Study:
    folder.mkdir(exist_ok=True)
    file = folder / "study.toml"
    file.write_text(STUDY.replace("images_at_once = 1\n", f"images_at_once = 1\n{more}"), encoding="utf-8")
    return Study.load(file)


def rows(out: Path) -> list[tuple[Any, ...]]:
    """Every answer, but for the time it took, in the order they were written."""
    with sqlite3.connect(out / "ledger.sqlite") as db:
        found = "SELECT key, attempt, status, text, margin, mass, tokens_in, tokens_out FROM response ORDER BY id"
        return db.execute(found).fetchall()


def ways(out: Path) -> list[tuple[str, int]]:
    """Of each model in the ledger, the way it is asked and how many answers it gave."""
    with sqlite3.connect(out / "ledger.sqlite") as db:
        counted = (
            "SELECT json_extract(identity, '$.inference'), (SELECT count(*) FROM response r WHERE r.model = m.id) FROM model m"
        )
        return db.execute(f"{counted} ORDER BY m.id").fetchall()


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a study that itself has the model asked one by one."""
    import strained

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.parts("models"), "strained", strained.KIND)
        folder = tmp_path_factory.mktemp("wanted")
        run(study(folder, 'inference = "single"\n'), folder / "run")
    return folder / "run"


def interrupted(tally: Tally) -> None:
    """Ends a run once its first batch has been kept."""
    if tally.done:
        raise KeyboardInterrupt


def test_it_is_the_run_of_a_study_that_asks_so(tmp_path: Path, wanted: Path, told: Callable[[], list[list[str]]]) -> None:
    notes: list[str] = []
    results = run(study(tmp_path), tmp_path / "run", on_note=notes.append)
    done = told()
    assert [(what, way) for what, way, *_ in done[:3]] == [("check", "prefix"), ("check", "single"), ("ask", "single")]
    assert sum(int(n) for what, _, n, _ in done if what == "ask") == EACH
    assert rows(tmp_path / "run") == rows(wanted)
    assert (tmp_path / "run" / "estimates.json").read_bytes() == (wanted / "estimates.json").read_bytes()
    assert ways(tmp_path / "run") == [("prefix", 0), ("single", EACH)]
    (note,) = notes
    assert note.startswith(WARNED)
    assert note.endswith(WAY)
    with results.folder.ledger() as ledger:
        _, environment = ledger.models()["mine"]
    assert [f"mine: {one}" for one in environment["warnings"]] == notes
    assert environment["inference"] == "single"
    assert {check["name"]: check["held"] for check in environment["checks"]} == {
        "asked together as alone": None,
        "two images kept apart": True,
    }
    assert "single" not in (tmp_path / "run" / "study.toml").read_text(encoding="utf-8")  # it says what was asked for
    assert not check_ledger(tmp_path / "run" / "ledger.sqlite").damage
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert f"- {note}" in report
    assert "| asked | single |" in report
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "asking together is not asking alone" in page
    assert "as another model by identity" in page


def test_a_later_sitting_knows_and_asks_nothing_twice(tmp_path: Path, wanted: Path, told: Callable[[], list[list[str]]]) -> None:
    out, notes = tmp_path / "run", []
    with pytest.raises(KeyboardInterrupt):
        run(study(tmp_path), out, on_progress=interrupted)
    before = rows(out)
    assert len(before) >= FIRST
    told()
    again: list[str] = []
    run(study(tmp_path), out, on_note=again.append)
    done = told()
    assert {way for _, way, *_ in done} == {"single"}
    assert sum(int(n) for what, _, n, _ in done if what == "ask") == EACH - FIRST
    assert rows(out) == rows(wanted)
    assert again[0].startswith(WARNED)
    assert palpate.plan(study(tmp_path), out).answered == EACH
    run(study(tmp_path), out, on_note=notes.append)
    assert told() == []
    assert notes == again
    assert ways(out) == [("prefix", 0), ("single", EACH)]
    assert (out / "estimates.json").read_bytes() == (wanted / "estimates.json").read_bytes()


def test_killed_between_the_decision_and_the_plan(
    tmp_path: Path, wanted: Path, told: Callable[[], list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Plan, "write", interrupted_where_instead(Plan.write))
        with pytest.raises(KeyboardInterrupt):
            run(study(tmp_path), out)
    assert [done[:2] for done in told()] == [["check", "prefix"]]
    run(study(tmp_path), out)
    assert {way for _, way, *_ in told()} == {"single"}
    assert rows(out) == rows(wanted)


@pytest.mark.parametrize("killed", [False, True])
def test_what_it_answered_as_the_other_model_stays(
    tmp_path: Path, wanted: Path, told: Callable[[], list[list[str]]], monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """A first sitting in which the self-test held, and a second, with other packages say, in which it does not."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setenv("STRAINED_SOUND", "1")
        with pytest.raises(KeyboardInterrupt):
            run(study(tmp_path), out, on_progress=interrupted)
    before = rows(out)
    assert {way for _, way, *_ in told()} == {"prefix"}
    if killed:
        with monkeypatch.context() as patch:
            patch.setattr(Plan, "write", interrupted_where_instead(Plan.write))
            with pytest.raises(KeyboardInterrupt):
                run(study(tmp_path), out)
    tallies: list[Tally] = []
    run(study(tmp_path), out, on_progress=tallies.append)
    first = next(tally for tally in tallies if not tally.doing)  # before, it does not know yet which way it will be asked
    assert first.reused == 0  # what the other model answered is not this one's
    assert max(tally.done for tally in tallies) == EACH
    assert rows(out)[: len(before)] == before
    assert rows(out)[len(before) :] == rows(wanted)
    assert ways(out) == [("prefix", len(before)), ("single", EACH)]
    assert (out / "estimates.json").read_bytes() == (wanted / "estimates.json").read_bytes()
    assert "| asked | single |" in (out / "report.md").read_text(encoding="utf-8")
    told()
    run(study(tmp_path), out)
    assert told() == []


def interrupted_where_instead(write: Callable[..., None]) -> Callable[..., None]:
    def written(self: Plan, ledger: Any) -> None:
        if self.instead:
            raise KeyboardInterrupt
        write(self, ledger)

    return written


def test_a_model_that_changed_is_still_refused(
    tmp_path: Path, told: Callable[[], list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    run(study(tmp_path), out)
    told()
    monkeypatch.setattr(_hf_identity, "SPELLINGS_VERSION", 2)
    with pytest.raises(ModelError, match="is another model than the one that answered here before") as fault:
        run(study(tmp_path), out)
    assert "spellings_version 1 then, 2 now" in str(fault.value)
    assert told() == []


def test_a_study_that_names_the_way_itself_goes_on_from_there(
    tmp_path: Path, told: Callable[[], list[list[str]]], wanted: Path
) -> None:
    """And back: the report shows the model that the last plan asks, whichever was recorded last."""
    out = tmp_path / "run"
    run(study(tmp_path), out)
    told()
    named = run(study(tmp_path, 'inference = "single"\n'), out)
    assert told() == []
    assert rows(out) == rows(wanted)
    with named.folder.ledger() as ledger:
        assert ledger.models()["mine"][0]["inference"] == "single"


# ---------------------------------------------------------------- in other processes


def elsewhere(site: Path, tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "STRAINED": str(tmp_path / "told"), **more}


def test_a_killed_run_goes_on_with_what_was_decided(
    tmp_path: Path, site: Path, wanted: Path, told: Callable[[], list[list[str]]]
) -> None:
    study(tmp_path)
    for dies, kept in (("1", 0), ("2", FIRST)):
        out = tmp_path / f"run-{dies}"
        words = ("run", tmp_path / "study.toml", "--out", out)
        with command(*words, env=elsewhere(site, tmp_path, STRAINED_DIES=dies)) as process:
            _, errors = process.communicate(timeout=120)
        assert process.returncode == -9, errors
        assert f"warning: {WARNED}" in errors
        assert len(rows(out)) == kept
        told()
        with command(*words, env=elsewhere(site, tmp_path)) as process:
            _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert f"warning: {WARNED}" in errors
        done = told()
        assert {way for _, way, *_ in done} == {"single"}
        assert sum(int(n) for what, _, n, _ in done if what == "ask") == EACH - kept
        assert rows(out) == rows(wanted)
        assert (out / "estimates.json").read_bytes() == (wanted / "estimates.json").read_bytes()
    survived("instead", 2)


def test_with_several_workers(tmp_path: Path, site: Path, wanted: Path, told: Callable[[], list[list[str]]]) -> None:
    study(tmp_path)
    words = ("run", tmp_path / "study.toml", "--out", tmp_path / "run", "--workers", 2)
    for ways_asked in ({"single"}, set()):
        with command(*words, env=elsewhere(site, tmp_path)) as process:
            _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors
        assert f"warning: {WARNED}" in errors
        done = told()
        assert {way for what, way, *_ in done if what == "ask"} == ways_asked
        assert str(process.pid) not in {pid for *_, pid in done}
    assert rows(tmp_path / "run") == rows(wanted)


needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra `ray`")


@needs_ray
@pytest.mark.slow
def test_on_a_ray_cluster(tmp_path: Path, site: Path, wanted: Path, told: Callable[[], list[list[str]]]) -> None:
    """The workers are held against what is planned after the self-test: the same model goes on, another is refused."""
    study(tmp_path)
    words = ("ask", tmp_path / "study.toml", "--executor", "ray", "--workers", 2, "--out")
    with command(*words, tmp_path / "run", env=elsewhere(site, tmp_path)) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert f"warning: {WARNED}" in errors
    assert {way for what, way, *_ in told() if what == "ask"} == {"single"}
    assert rows(tmp_path / "run") == rows(wanted)
    with command(*words, tmp_path / "other", env=elsewhere(site, tmp_path, STRAINED_OTHER="1")) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors
    assert "is another model on the worker than where the study was planned: elsewhere differ" in errors
    assert rows(tmp_path / "other") == []
