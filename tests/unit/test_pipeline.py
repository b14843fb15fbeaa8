"""The whole pipeline: in order, keeping what it has, writing nothing where it cannot begin."""

from __future__ import annotations

import getpass
import json
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from palpate import pipeline
from palpate.errors import ModelError, RunError, SourceError
from palpate.models.scripted import ScriptedModel
from palpate.nouns import Tally
from palpate.results import Results
from palpate.stages.plan import Plan
from palpate.store.folder import RunFolder
from palpate.study import Study
from small import STUDY, Cli

Edit = Callable[[str, str], Path]


def test_it_says_what_it_plans_and_how_it_gets_on(small_study: Path, tmp_path: Path) -> None:
    plans: list[Plan] = []
    tallies: list[Tally] = []
    results = pipeline.run(Study.load(small_study), tmp_path / "run", on_plan=plans.append, on_progress=tallies.append)
    assert [p.n_trials for p in plans] == [288]
    assert tallies[-1].done == tallies[-1].total == 288
    assert {t.model for t in tallies} == {"base", "tuned"}
    assert isinstance(results, Results)
    assert results.estimates


def test_a_study_that_cannot_be_planned_leaves_nothing(small_study: Path, tmp_path: Path) -> None:
    study = Study.load(small_study)
    for image in (tmp_path / "images").rglob("*.png"):
        image.unlink()
    with pytest.raises(SourceError):
        pipeline.run(study, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_that_breaks_keeps_what_was_answered(small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.load(small_study)
    ask = ScriptedModel.ask

    def breaks(self: ScriptedModel, stimuli):
        if stimuli[0].block.model == "tuned":
            raise ModelError("out of memory", where="model 'tuned'", hint="a smaller batch")
        return ask(self, stimuli)

    monkeypatch.setattr(ScriptedModel, "ask", breaks)
    with pytest.raises(ModelError, match="out of memory"):
        pipeline.run(study, tmp_path / "run")
    monkeypatch.setattr(ScriptedModel, "ask", ask)
    with RunFolder(tmp_path / "run").ledger() as ledger:
        assert len(ledger.attempts()) == 144
    results = pipeline.run(study, tmp_path / "run")
    with results.folder.ledger() as ledger:
        assert set(ledger.attempts().values()) == {(1, False)}
        assert len(ledger.attempts()) == 288
        assert len(ledger.sessions()) == 2


def test_every_start_is_recorded_without_host_or_user(finished: Path) -> None:
    with RunFolder(finished).ledger() as ledger:
        (session,) = ledger.sessions()
    assert session["python"] == platform.python_version()
    assert set(session) >= {"started", "palpate", "numpy", "platform"}
    shown = json.dumps(session)
    assert platform.node() not in shown
    assert getpass.getuser() not in shown


def test_a_changed_study_adds_to_its_run(edited: Edit, tmp_path: Path) -> None:
    study = Study.load(edited("[measure]", "[measure]"))
    few = replace(study, perturbations=study.perturbations)
    first = pipeline.run(few, tmp_path / "run")
    wider = Study.load(edited('prompts = "reference"', 'prompts = "reference"\nrepeats = 2'))
    second = pipeline.run(wider, tmp_path / "run")
    with second.folder.ledger() as ledger:
        assert len(ledger.attempts()) == 576
    again = Results.open(first.folder.path)  # the last plan counts
    assert {p.outcome.shape for p in again.panels} == {p.outcome.shape for p in second.panels} == {(12, 12, 2)}
    narrow = Study.load(edited("\nrepeats = 2", ""))
    third = pipeline.run(narrow, tmp_path / "run")
    assert {p.outcome.shape for p in third.panels} == {(12, 12, 1)}
    with third.folder.ledger() as ledger:
        assert len(ledger.attempts()) == 576


def test_two_runs_at_once_in_one_folder(small_study: Path, tmp_path: Path) -> None:
    study = Study.load(small_study)
    with RunFolder(tmp_path / "run").writing(study.name, study.to_toml()), pytest.raises(RunError, match="another run is writing"):
        pipeline.run(study, tmp_path / "run")


def test_answers_are_read_before_they_are_measured(small_study: Path, tmp_path: Path) -> None:
    study = Study.load(small_study)
    pipeline.ask(pipeline.plan(study), RunFolder(tmp_path / "run"))
    results = Results.open(tmp_path / "run")
    with pytest.raises(RunError, match="palpate read"):
        results.measure("ba_all")
    assert results.read() == 288
    assert all(e.value is not None for e in results.measure("ba_all"))
    assert (results.panels[0].outcome >= 0).all()
    assert results.read() == 0


def test_the_gate_of_a_run_reads_its_studys_conditions(edited: Edit, tmp_path: Path) -> None:
    study = Study.load(edited("[measure]", '[gate]\nconditions = ["ba_all.low >= 0.999 for model=base"]\n[measure]'))
    verdict = pipeline.run(study, tmp_path / "run").gate()
    assert verdict.exit_code == 1
    assert {r.held for r in verdict.results} == {"fail"}
    assert json.loads(verdict.to_json())["exit_code"] == 1


# ---------------------------------------------------------------- what a run of DICOM files holds of the patients

KEEPERS = {"cases.csv", ".secret"}
"""The files that lead back to a patient, and are said to."""


@pytest.mark.parametrize("salt", ["", "THE-SALT-17"])
def test_no_file_of_a_run_but_its_keepers_tells_who_was_examined(tmp_path: Path, cli: Cli, salt: str) -> None:
    pytest.importorskip("pydicom")
    from dicom_files import NAME, hospital

    hospital(tmp_path / "scans")
    (tmp_path / "scans" / "normal" / "Doe_Jane_broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"MRN-0042" * 9)
    source = f'{{ kind = "dicom", path = "scans", metadata = ["Modality"]{f", salt = {salt!r}" if salt else ""} }}'
    text = STUDY.replace('{ kind = "folder", path = "images", group_regex = "(person\\\\d+)" }', source)
    assert source in text
    (tmp_path / "study.toml").write_text(f"{text}\n[report]\nimages = true\n", encoding="utf-8")
    said = [cli("run", tmp_path / "study.toml", "--out", tmp_path / "run")]
    said += [cli("report", tmp_path / "run"), cli("export", tmp_path / "run"), cli("plan", tmp_path / "study.toml")]
    held = {p.relative_to(tmp_path / "run").as_posix(): p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert {
        "ledger.sqlite",
        "study.toml",
        "report.html",
        "report.md",
        "estimates.json",
        "data.json",
        "export/trials.parquet",
    } <= set(held)
    assert b"person1000/0.dcm" in held["cases.csv"]
    assert (".secret" in held) is not bool(salt)
    secrets = [NAME, "Doe_Jane", "person1000", "person0", "20240229", "19700101", "MRN-0042", "1.2.826", ".dcm", "THE-SALT-17"]
    if not salt:
        assert (tmp_path / "run" / ".secret").stat().st_mode & 0o077 == 0
        secrets.append(held[".secret"].decode().strip())
    for name, content in held.items():
        assert name in KEEPERS or not [s for s in secrets if s.encode() in content], name
    for result in said:
        assert not [s for s in secrets if s in result.output]
