"""``palpate import``: answers made elsewhere become a run on which every later verb works, or nothing is written."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from palpate.errors import ModelError, RunError, SourceError
from palpate.imports.answers import read_answers
from palpate.nouns import Form, Outcome, Status
from palpate.parts import Labels, ModelSpec, Sample
from palpate.pipeline import import_answers
from palpate.registry import part
from palpate.results import Results
from palpate.stages.importing import Naming
from palpate.store.ledger import Ledger
from palpate.study import Study
from small import Cli

SAYS = {"present": ("Yes.", "A) Pneumonia"), "absent": ("No.", "B) Normal")}


def rows(n: int = 12, models: tuple[str, ...] = ("base", "tuned")) -> list[dict[str, Any]]:
    """n cases of n/2 patients; the tuned model is right, the base one says yes; one error, one empty answer, one refusal."""
    found = []
    for model in models:
        for i in range(n):
            label = i % 2
            says = SAYS["present" if model == "base" or label else "absent"]
            common = {"model": model, "task": "pneumonia_cxr", "case": f"scan-{i}", "group": f"patient-{i // 2}", "label": label}
            asked = [
                {"prompt": "Is there pneumonia?", "form": "yes-no", "polarity": "positive", "response": says[0]},
                {"prompt": "Which?\nA) Pneumonia\nB) Normal", "form": "A-B", "polarity": "positive", "response": says[1]},
            ]
            found += [{**common, "cell": "target", "options": "", "status": "", "error": "", **a} for a in asked]
            found[-1]["options"] = "Pneumonia|Normal"
    found[0] |= {"status": "error", "error": "timed out", "response": ""}
    found[2] |= {"response": ""}
    found[4] |= {"response": "I'm sorry, I cannot provide a diagnosis."}
    return found


def write(path: Path, made: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(made[0]))
        writer.writeheader()
        writer.writerows(made)
    return path


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return write(tmp_path / "answers.csv", rows())


@pytest.fixture
def imported(cli: Cli, answers: Path, tmp_path: Path) -> Path:
    cli("import", answers, "--out", tmp_path / "run", "--pair", "base", "tuned")
    return tmp_path / "run"


def test_an_import_is_a_whole_run(cli: Cli, answers: Path, tmp_path: Path) -> None:
    shown = cli("import", answers, "--out", tmp_path / "run")
    assert "48 answers imported, 1 of them errors" in shown.stderr
    assert "note: answers.csv: a CSV" in shown.stderr
    assert "2 models on 1 task: 12 images" in shown.stdout
    kept = sorted(p.name for p in (tmp_path / "run").iterdir() if not p.name.startswith("."))
    assert kept == ["cases.csv", "estimates.json", "ledger.sqlite", "report.html", "report.md", "study.toml"]
    assert not list(tmp_path.glob(".run*"))


def test_every_later_verb_works(cli: Cli, imported: Path) -> None:
    assert cli("read", imported).output == "0 answers read\n"  # they were read on the way in
    shown = json.loads(cli("measure", imported, "delta_ba_all", "--format", "json").output)
    assert shown[0]["by"]["base"] == "base"
    assert shown[0]["value"] > 0.3
    assert cli("report", imported).output.strip().endswith("report.html")
    assert "no condition is named" in cli("gate", imported, exit_code=2).output
    with Ledger(imported / "ledger.sqlite") as ledger:
        keys = [key for key, *_ in ledger.texts()]
    assert len(keys) == 48
    assert "Is there pneumonia?" in "".join(cli("show", imported, key).output for key in keys[:8])


def test_the_reading_rules_read_it_by_the_task_s_words(imported: Path) -> None:
    found = Results.open(imported)
    assert found.study.tasks[0].rubric.condition == "pneumonia"
    assert "consolidation" in found.study.tasks[0].rubric.positive
    panel = next(p for p in found.panels if p.model == "base")
    assert panel.outcome.shape == (12, 2, 1)
    assert panel.n_errors == 1
    first = [list(Outcome)[code] if code >= 0 else None for code in panel.outcome[:3, 0, 0]]
    assert first == [None, Outcome.UNPARSED, Outcome.REFUSE_POLICY]
    assert len(set(panel.cluster.tolist())) == 6


def test_another_task_is_read_by_its_name(tmp_path: Path) -> None:
    made = [{**r, "task": "optic_disc-swelling"} for r in rows(4)]
    path = write(tmp_path / "a.csv", made)
    found = import_answers([path], tmp_path / "run", read_answers([path]), naming=Naming(), name="x", pairs=())
    (task,) = found.study.tasks
    assert (task.title, task.condition, task.rubric.condition) == (
        "optic_disc-swelling",
        "optic disc swelling",
        "optic disc swelling",
    )


def test_names_are_hashed_and_kept_in_one_file_only(cli: Cli, answers: Path, tmp_path: Path) -> None:
    cli("import", answers, "--out", tmp_path / "run", "--salt", "secret", "--pair", "base", "tuned")
    for file in (tmp_path / "run").iterdir():
        found = b"scan-3" in file.read_bytes() or b"patient-1" in file.read_bytes()
        assert found == (file.name == "cases.csv"), file.name
    ids = {salt: case_ids(tmp_path / name) for salt, name in [("secret", "run")]}
    for salt in ("", "secret"):
        cli("import", answers, "--out", tmp_path / f"again{salt}", "--salt", salt)
        ids[f"again{salt}"] = case_ids(tmp_path / f"again{salt}")
    assert ids["againsecret"] == ids["secret"]  # the same salt, the same ids: two imports can be compared
    assert not set(ids["again"]) & set(ids["secret"])
    cli("import", answers, "--out", tmp_path / "named", "--keep-ids")
    assert "scan-3" in case_ids(tmp_path / "named")


def case_ids(run: Path) -> list[str]:
    with Ledger(run / "ledger.sqlite") as ledger:
        return list(ledger.cases("pneumonia_cxr"))


def test_the_study_says_it_all_and_can_be_edited(cli: Cli, imported: Path) -> None:
    study = Study.load(imported / "study.toml")
    assert study.to_toml() == (imported / "study.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(study.to_toml())
    assert raw["pairs"] == [{"base": "base", "tuned": "tuned", "relation": "unknown"}]
    assert [m["kind"] for m in raw["models"]] == ["imported"] * 2
    assert [p.form for p in study.tasks[0].prompts] == [Form.YES_NO, Form.AB]
    text = study.to_toml().replace("conditions = []", "conditions = ['delta_ba_all.verdict != \"worse\"', 'ba_all.low >= 0.99']")
    (imported / "study.toml").write_text(text, encoding="utf-8")
    assert "pass" in cli("gate", imported, exit_code=1).output


def test_what_was_imported_cannot_be_asked(cli: Cli, imported: Path) -> None:
    for verb in ("run", "ask", "plan"):
        shown = cli(verb, imported / "study.toml", "--out", imported, exit_code=2)
        assert "no images to ask about" in shown.stderr
        assert "tasks[0].source" in shown.stderr
    model = part("models", "imported").build(ModelSpec("m", "imported", {"answers": "0" * 32}))
    assert model.fingerprint().identity == {"kind": "imported", "answers": "0" * 32, "model": "m"}
    assert model.ask([]) == []
    with pytest.raises(ModelError, match="no model to ask"):
        model.ask([None])
    model.close()
    with pytest.raises(ModelError, match="no_such_option"):
        part("models", "imported").build(ModelSpec("m", "imported", {"no_such_option": 1}))
    with pytest.raises(SourceError, match="no_such_option"):
        part("cases", "imported").load({"no_such_option": 1}, Labels(), Sample())


def test_a_fault_leaves_nothing_behind(cli: Cli, answers: Path, tmp_path: Path) -> None:
    made = rows()
    made[7]["label"] = "maybe"
    made[9]["form"] = "essay"
    shown = cli("import", write(answers, made), "--out", tmp_path / "run", exit_code=2)
    assert "2 faults, nothing was imported" in shown.stderr
    assert "line 15, column 'label': 'maybe' is neither 1 nor 0" in shown.stderr  # A-B prompts take three lines each
    assert sorted(p.name for p in tmp_path.iterdir()) == ["answers.csv"]


def test_a_run_is_never_overwritten(cli: Cli, answers: Path, imported: Path) -> None:
    before = (imported / "ledger.sqlite").read_bytes()
    assert "is not empty" in cli("import", answers, "--out", imported, exit_code=2).stderr
    assert (imported / "ledger.sqlite").read_bytes() == before


def test_a_crash_on_the_way_leaves_nothing(answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RunError("disk full")

    monkeypatch.setattr("palpate.pipeline.write_answers", full)
    with pytest.raises(RunError, match="disk full"):
        import_answers([answers], tmp_path / "run", read_answers([answers]), naming=Naming(), name="x", pairs=())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["answers.csv"]


def test_wrong_pairs_and_settings_are_errors(cli: Cli, answers: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    assert "no model is called 'tunde'" in cli("import", answers, *out, "--pair", "base", "tunde", exit_code=2).stderr
    assert "--set" in cli("import", answers, *out, "--set", "form", exit_code=2).stderr
    assert "no such file" in cli("import", tmp_path / "none.csv", *out, exit_code=2).stderr
    assert not (tmp_path / "run").exists()


def test_an_answer_in_letters_only(tmp_path: Path) -> None:
    made = [{**r, "options": "A|B", "form": "A-B", "response": "A"} for r in rows(4) if r["prompt"].startswith("Which")]
    path = write(tmp_path / "a.csv", made)
    found = import_answers([path], tmp_path / "run", read_answers([path]), naming=Naming(), name="x", pairs=())
    (prompt,) = found.study.tasks[0].prompts
    assert prompt.options is None  # “a” in a sentence is no option's text
    assert all((p.outcome >= 0).all() for p in found.panels)


def test_open_questions_are_kept_and_not_measured(cli: Cli, tmp_path: Path) -> None:
    made = [{**r, "form": "open", "prompt": "What is it?", "options": ""} for r in rows(4) if r["prompt"].startswith("Is")]
    cli("import", write(tmp_path / "a.csv", made), "--out", tmp_path / "run")
    found = Results.open(tmp_path / "run")
    assert all(p.prompts == () for p in found.panels)
    with Ledger(tmp_path / "run" / "ledger.sqlite") as ledger:
        assert sum(status != Status.ERROR for _, _, status, _ in ledger.texts()) == 7


@pytest.mark.parametrize("name", ["deep.jsonl", "deep.json"])
def test_json_nested_without_end_is_a_named_error(tmp_path: Path, cli: Cli, name: str) -> None:
    (tmp_path / name).write_text("[" * 100_000, encoding="utf-8")
    result = cli("import", tmp_path / name, "--out", tmp_path / "run", exit_code=2)
    assert "is not JSON: maximum recursion depth" in result.stderr
    assert not (tmp_path / "run").exists()
