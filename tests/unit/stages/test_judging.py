"""Reading by a judge: asked once, remembered, resumed, its errors never a reading, the label never shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from palpate import registry
from palpate.errors import PalpateError, RunError
from palpate.executors.local import LocalExecutor
from palpate.models.scripted_judge import ScriptedJudge
from palpate.nouns import Outcome, Status
from palpate.stages import _judging
from palpate.stages.ask import ask
from palpate.stages.measure import panels
from palpate.stages.plan import plan
from palpate.stages.read import read
from palpate.store.ledger import Ledger
from palpate.study import Study

TRIALS = 2 * 12 * 12
JUDGE = """
[[readings]]
name = "judge"

[readings.model]
name = "planted"
kind = "scripted_judge"
{options}
says = {{ Yes = "POSITIVE", No = "NEGATIVE", A = "NEGATIVE" }}
"""


def study_with(small_study: Path, options: str = "", *, primary: bool = False, reading: str = "") -> Study:
    text = small_study.read_text(encoding="utf-8")
    if primary:
        text = text.replace('prompts = "reference"', 'prompts = "reference"\nreading = "judge"', 1)
    file = small_study.with_name("judged.toml")
    file.write_text(text + JUDGE.format(options=options).replace('name = "judge"\n', f'name = "judge"\n{reading}\n', 1), "utf-8")
    return Study.load(file)


@pytest.fixture
def ledger(small_study: Path, tmp_path: Path) -> Iterator[Ledger]:
    """Everything asked, nothing read."""
    study = Study.load(small_study)
    with Ledger(tmp_path / "ledger.sqlite", create=True) as book:
        planned = plan(study)
        planned.write(book)
        ask(planned, book, LocalExecutor(1, study.seed))
        yield book


class Watch:
    """Counts what the judge is asked, and can stop it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        self.cases: set[tuple[str, int]] = set()
        self.images: set[object] = set()
        self.stop_after: int | None = None
        asked = ScriptedJudge.ask

        def watched(judge, stimuli):
            if self.stop_after is not None and len(self.texts) >= self.stop_after:
                raise KeyboardInterrupt
            for s in stimuli:
                self.cases.add((s.block.case.id, s.block.case.label))
                self.images.add(s.image)
                self.texts += [t.prompt.text for t in s.block.trials]
            return asked(judge, stimuli)

        monkeypatch.setattr(ScriptedJudge, "ask", watched)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def readings(ledger: Ledger, by: str) -> dict[str, Outcome]:
    return {r.key: r.outcome for key, *_ in ledger.texts() for r in ledger.readings(key) if r.by == by}


def test_rules_stay_primary_and_the_judge_reads_beside_them(small_study: Path, ledger: Ledger) -> None:
    study = study_with(small_study)
    assert read(study, ledger) == 2 * TRIALS
    assert read(study, ledger) == 0
    assert study.reading_by(ledger).startswith("rules@")
    judged = readings(ledger, study.reading_by(ledger, "judge"))
    assert len(judged) == TRIALS
    texts = {key: text for key, _, _, text in ledger.texts()}
    said = {"Yes": Outcome.POSITIVE, "No": Outcome.NEGATIVE, "A": Outcome.NEGATIVE}
    assert all(outcome is said.get(texts[key], Outcome.UNPARSED) for key, outcome in judged.items())


def test_the_same_question_is_asked_once(small_study: Path, ledger: Ledger, watch: Watch) -> None:
    read(study_with(small_study), ledger)
    assert len(watch.texts) == len(set(watch.texts))
    assert len(watch.texts) < TRIALS / 3  # "Yes" to one question is one question to the judge, whoever said it


def test_the_judge_is_shown_no_image_no_label_and_no_case(small_study: Path, ledger: Ledger, watch: Watch) -> None:
    study = study_with(small_study)
    read(study, ledger)
    assert watch.images == {None}
    assert watch.cases == {("text", 0)}
    cases = {c.id for c in plan(study).cases["pneumonia_cxr"].cases}
    assert not any(case in text for text in watch.texts for case in cases)


def test_a_judge_may_be_the_primary_reading(small_study: Path, ledger: Ledger) -> None:
    study = study_with(small_study, primary=True)
    with pytest.raises(RunError, match="none of the answers was read"):
        list(panels(study, ledger))
    assert read(study, ledger) == TRIALS
    assert all((p.outcome >= 0).all() for p in panels(study, ledger))


def test_measuring_needs_no_judge(small_study: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_with(small_study, primary=True)
    read(study, ledger)
    monkeypatch.setattr(registry, "part", lambda folder, *a, **k: pytest.fail("a model is built") if folder == "models" else None)
    assert len(list(panels(study, ledger))) == 2


@pytest.mark.parametrize("changed", ['otherwise = "HEDGE"', "error_attempts = 3"])
def test_another_judge_reads_anew_and_the_old_readings_stay(small_study: Path, ledger: Ledger, changed: str) -> None:
    first, second = study_with(small_study), study_with(small_study, changed)
    read(first, ledger)
    before = readings(ledger, first.reading_by(ledger, "judge"))
    assert read(second, ledger) == TRIALS
    assert first.reading_by(ledger, "judge") != second.reading_by(ledger, "judge")
    assert readings(ledger, first.reading_by(ledger, "judge")) == before
    assert read(first, ledger) == 0


def test_a_changed_rubric_is_read_anew_by_the_judge(small_study: Path, ledger: Ledger, watch: Watch) -> None:
    from dataclasses import replace

    study = study_with(small_study)
    read(study, ledger)
    asked = len(watch.texts)
    task = study.tasks[0]
    other = replace(study, tasks=(replace(task, rubric=replace(task.rubric, positive=("haziness",))),))
    assert read(other, ledger) == 2 * TRIALS
    assert len(watch.texts) == 2 * asked


def test_a_stopped_reading_goes_on_and_asks_nothing_twice(
    small_study: Path, ledger: Ledger, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_judging, "BLOCK", 2)
    study = study_with(small_study, "blocks_at_once = 1")
    watch.stop_after = 10
    with pytest.raises(KeyboardInterrupt):
        read(study, ledger)
    watch.stop_after = None
    read(study, ledger)
    assert len(watch.texts) == len(set(watch.texts))
    assert len(readings(ledger, study.reading_by(ledger, "judge"))) == TRIALS


def test_replies_kept_without_their_readings_are_not_asked_for_again(
    small_study: Path, ledger: Ledger, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a process that was killed between the two transactions."""
    study = study_with(small_study)
    append = Ledger.append_readings
    monkeypatch.setattr(
        Ledger, "append_readings", lambda self, rows: None if rows and "judge" in rows[0][1].by else append(self, rows)
    )
    read(study, ledger)
    asked = len(watch.texts)
    monkeypatch.setattr(Ledger, "append_readings", append)
    assert read(study, ledger) == TRIALS
    assert len(watch.texts) == asked


@pytest.mark.parametrize("fault", ["error_rate = 0.5", "malformed_rate = 0.5"])
def test_a_failed_question_is_asked_again(small_study: Path, ledger: Ledger, watch: Watch, fault: str) -> None:
    study = study_with(small_study, f"{fault}\nerror_attempts = 1")
    assert read(study, ledger) == 2 * TRIALS
    assert len(watch.texts) > len(set(watch.texts))


@pytest.mark.parametrize(("fault", "cause"), [("error_rate = 1.0", "planted error"), ("malformed_rate = 1.0", "in no form")])
def test_a_judge_that_fails_is_an_error_and_never_a_reading(
    small_study: Path, ledger: Ledger, watch: Watch, fault: str, cause: str
) -> None:
    study = study_with(small_study, fault)
    assert read(study, ledger) == TRIALS  # by the rules
    assert readings(ledger, study.reading_by(ledger, "judge")) == {}
    assert ledger.n_unread(study.reading_by(ledger, "judge")) == TRIALS
    assert len(watch.texts) == study.ask.attempts * len(set(watch.texts))
    rows = list(ledger._select("SELECT status, error, attempt FROM judgement"))
    assert {status for status, *_ in rows} == {Status.ERROR}
    assert all(cause in error for _, error, _ in rows)
    assert max(attempt for *_, attempt in rows) == study.ask.attempts


def test_what_comes_first_leaves_only_the_unparsed_to_the_judge(small_study: Path, ledger: Ledger, watch: Watch) -> None:
    study = study_with(small_study, reading='after = "rules"')
    assert read(study, ledger) == 2 * TRIALS
    assert watch.texts == []  # the rules read every answer of the scripted models
    rules, judged = (readings(ledger, study.reading_by(ledger, n)) for n in ("rules", "judge"))
    assert rules == judged
    key = next(iter(judged))
    assert {r.rule.split(":")[0] for r in ledger.readings(key) if r.by.startswith("judge")} == {"rules"}


def test_progress_is_told(small_study: Path, ledger: Ledger) -> None:
    told = []
    read(study_with(small_study), ledger, told.append)
    assert (told[-1].done, told[-1].total, told[-1].model) == (TRIALS, TRIALS, "judge")


def test_a_run_with_a_judge_reports_and_its_study_loads_again(small_study: Path, tmp_path: Path, cli) -> None:
    study_with(small_study, "error_rate = 0.3")
    done = cli("run", small_study.with_name("judged.toml"), "--out", tmp_path / "run", "-q")
    assert done.exit_code == 0
    held = Study.load(tmp_path / "run" / "study.toml")
    assert held == Study.load(small_study.with_name("judged.toml"))
    again = cli("read", tmp_path / "run", "-q")
    assert "0 answers read" in again.output
    assert "not read by 'judge'" in again.output


# ---------------------------------------------------------------- what a study file may say


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[readings]]\nname = "j"', "readings[0].model: the method 'judge' asks a model"),
        ('[[readings]]\nname = "j"\nmethod = "rules"\nmodel = "base"', "readings[0].model: the method 'rules' asks no model"),
        ('[[readings]]\nname = "j"\nmethod = "jugde"\nmodel = "base"', "readings[0].method: no reading is called 'jugde'"),
        ('[[readings]]\nname = "j"\nmodel = "bse"', "readings[0].model.name: no model is called 'bse'"),
        ('[[readings]]\nname = "j"\nmodel = "base"\nnoet = "x"', "readings[0]: no option is called 'noet'"),
        ('[[readings]]\nname = "j"\nmodel = "base"\nafter = "judge"', "readings[0].after: 'judge' asks a model itself"),
        ('[[readings]]\nname = "j"\nmodel = { name = "x", kind = "scripted_judge", sais = 1 }', "no option 'sais'"),
        (2 * '[[readings]]\nname = "j"\nmodel = "base"\n', "the reading 'j' is given twice"),
    ],
)
def test_a_mistaken_reading_is_located(small_study: Path, text: str, problem: str) -> None:
    small_study.write_text(small_study.read_text("utf-8") + "\n" + text, "utf-8")
    with pytest.raises(PalpateError) as fault:
        Study.load(small_study)
    assert problem in str(fault.value)


def test_a_primary_judge_without_a_model_says_what_to_add(edited) -> None:
    with pytest.raises(PalpateError, match=r"reading: 'judge' asks a model, and none is named"):
        Study.load(edited("seed = 3", 'seed = 3\nreading = "judge"'))


def test_a_judge_may_be_one_of_the_studys_own_models(small_study: Path) -> None:
    small_study.write_text(small_study.read_text("utf-8") + '\n[[readings]]\nname = "j"\nmodel = "tuned"\nnote = "x"', "utf-8")
    study = Study.load(small_study)
    assert study.readings[0].model == study.models[1]
    assert study.readings[0].options == {"note": "x"}


def test_a_ledger_from_before_judges_is_read_and_grows(small_study: Path, ledger: Ledger, tmp_path: Path) -> None:
    import sqlite3

    ledger.close()
    db = sqlite3.connect(tmp_path / "ledger.sqlite")
    for table in ("reader", "judgement", "human_reading"):
        db.execute(f"DROP TABLE {table}")
    db.execute("UPDATE meta SET value=2 WHERE name='schema'")
    db.commit()
    db.close()
    study = study_with(small_study)
    with Ledger(tmp_path / "ledger.sqlite", read_only=True) as old:
        assert study.reading_by(old, "judge").endswith("unread")
    with Ledger(tmp_path / "ledger.sqlite") as grown:
        assert read(study, grown) == 2 * TRIALS


def test_a_judge_is_held_to_its_schema_where_the_kind_can(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from palpate.models.scripted_judge import ScriptedJudgeKind
    from palpate.readings.judge import SCHEMA

    build = ScriptedJudgeKind.build
    wished = {**ScriptedJudgeKind.options, "json_schema": "a schema", "max_new_tokens_open": "tokens"}
    monkeypatch.setattr(ScriptedJudgeKind, "options", wished)
    study = study_with(small_study)
    assert study.readings[0].model.options["json_schema"] == SCHEMA
    assert study.readings[0].model.options["max_new_tokens_open"] == 128
    given = study_with(small_study, "max_new_tokens_open = 7").readings[0].model
    assert given.options["max_new_tokens_open"] == 7  # what the study says stands
    file = small_study.with_name("explicit.toml")
    file.write_text(study.to_toml(), encoding="utf-8")
    assert Study.load(file) == study
    assert ScriptedJudgeKind.build is build
