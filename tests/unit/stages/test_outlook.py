"""What a plan takes and can show: from the study alone, from a pilot, and from what is given outright. Runs no model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import palpate
from palpate.errors import PalpateError, StudyError
from palpate.models.scripted import ScriptedModel
from palpate.report import words
from palpate.report.planned import ASSUMED, IN_PILOT
from palpate.results import plan_summary
from palpate.stages.outlook import main_prompts
from palpate.stages.pilot import pilot
from palpate.stats.power import Alike, resolution
from palpate.store.folder import RunFolder
from palpate.study import Study
from small import Cli

Edit = Callable[[str, str], Path]
PRICE = "[measure]\ndraws = 200"


def test_from_the_study_alone(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedModel, "ask", lambda *_: pytest.fail("a model was asked"))
    outlook = plan_summary(Study.load(small_study)).outlook
    assert outlook is not None
    assert outlook.basis == ASSUMED
    assert outlook.alike == {"pneumonia_cxr": Alike()}
    for expense in outlook.expenses:
        assert (expense.questions, expense.basis, expense.seconds, expense.money) == (144, ASSUMED, None, None)
        assert expense.tokens_out == 144 * 30
        assert expense.tokens_in is not None
        assert expense.tokens_in > 144_000
    found = outlook.resolutions["pneumonia_cxr"]
    assert found is not None
    assert (found.images, found.groups, found.prompts) == (12, 6, 8)


def test_money_is_tokens_times_the_price(edited: Edit) -> None:
    study = Study.load(edited(PRICE, f'[prices.tuned]\ninput = 2\noutput = 8\ncurrency = "EUR"\n{PRICE}'))
    outlook = plan_summary(study).outlook
    assert outlook is not None
    base, tuned = outlook.expenses
    assert base.money is None
    assert tuned.tokens_in is not None
    assert tuned.tokens_out is not None
    assert tuned.money == pytest.approx((2 * tuned.tokens_in + 8 * tuned.tokens_out) / 1e6)
    assert tuned.currency == "EUR"


def test_a_pilot_says_how_answers_are_and_what_they_take(small_study: Path, finished: Path) -> None:
    study = Study.load(small_study)
    outlook = plan_summary(study, pilot=finished).outlook
    assert outlook is not None
    assert outlook.basis == f"from {finished}"
    with RunFolder(finished).ledger() as ledger:
        known = pilot(study, ledger)
        of_base = "SELECT r.tokens_in, r.tokens_out FROM response r JOIN model m ON m.id = r.model WHERE m.name = 'base'"
        rows = list(ledger._select(of_base))
    assert outlook.alike["pneumonia_cxr"] == known.alike["pneumonia_cxr"] != Alike()
    assert outlook.expenses[0].basis == IN_PILOT
    assert outlook.expenses[0].tokens_in == pytest.approx(sum(r[0] for r in rows))
    assert outlook.expenses[0].tokens_out == pytest.approx(sum(r[1] for r in rows))
    assert outlook.expenses[0].seconds is not None


def test_the_runs_own_answers_are_a_pilot_and_need_not_be_asked_again(small_study: Path, finished: Path) -> None:
    summary = plan_summary(Study.load(small_study), finished)
    assert summary.answered == 288
    assert summary.outlook is not None
    assert [e.questions for e in summary.outlook.expenses] == [0, 0]
    assert summary.outlook.basis == f"from {finished}"


def test_what_is_given_outright_beats_the_rest(small_study: Path, finished: Path) -> None:
    study = Study.load(small_study)
    given = {"discordance": "0.12", "icc": "0"}
    outlook = plan_summary(study, pilot=finished, assume=given).outlook
    assert outlook is not None
    alike = outlook.alike["pneumonia_cxr"]
    assert (alike.discordance, alike.icc) == (0.12, 0.0)
    assert "some given" in outlook.basis


@pytest.mark.parametrize("given", [{"discordanc": "0.1"}, {"icc": "high"}, {"icc": "1.5"}, {"icc": "nan"}])
def test_a_wrong_assumption(small_study: Path, given: dict[str, str]) -> None:
    with pytest.raises(StudyError) as fault:
        plan_summary(Study.load(small_study), assume=given)
    assert fault.value.where.startswith("--assume")
    assert fault.value.expected


def test_another_models_pilot_says_what_questions_take(edited: Edit, finished: Path) -> None:
    path = edited('tuned = "tuned"', 'tuned = "new"')
    path.write_text(path.read_text(encoding="utf-8").replace('name = "tuned"', 'name = "new"'), encoding="utf-8")
    outlook = plan_summary(Study.load(path), pilot=finished).outlook
    assert outlook is not None
    assert [e.basis for e in outlook.expenses] == ["pilot", "the pilot's other models"]


def test_one_class_can_tell_nothing(small_study: Path) -> None:
    for image in (small_study.parent / "images" / "normal").glob("*.png"):
        image.unlink()
    summary = plan_summary(Study.load(small_study))
    assert summary.outlook is not None
    assert summary.outlook.resolutions == {"pneumonia_cxr": None}
    assert "one class" in str(summary)


def test_the_main_questions_wordings(small_study: Path) -> None:
    (task,) = Study.load(small_study).tasks
    assert main_prompts(task.prompts) == sum(p.cell == "target" and p.form.closed for p in task.prompts) == 8
    other = tuple(p for p in task.prompts if p.cell != "target")
    assert main_prompts(other) == 4
    assert main_prompts(()) == 0


def test_the_verb_shows_both_tables(cli: Cli, small_study: Path, finished: Path, tmp_path: Path) -> None:
    shown = cli("plan", small_study, "--out", tmp_path / "none").stdout
    for text in (
        "288 questions",
        "tokens in",
        "smallest difference of two models",
        "images for 5 points",
        "assumed",
    ):
        assert text in shown
    assert "[prices.MODEL]" not in shown, "models on this machine need no price"
    one = small_study.with_name("priced.toml")
    one.write_text(small_study.read_text() + "\n[prices.base]\ninput = 1\noutput = 1\n")
    assert "[prices.MODEL]" in cli("plan", one, "--out", tmp_path / "none").stdout
    machine = json.loads(cli("plan", small_study, "--pilot", finished, "--format", "json").stdout)
    assert machine["tasks"][0]["images"] == 12
    assert machine["outlook"]["resolutions"]["pneumonia_cxr"]["prompts"] == 8
    assert "KEY=VALUE" in cli("plan", small_study, "--assume", "icc", exit_code=2).stderr
    assert "no such run folder" in cli("plan", small_study, "--pilot", tmp_path / "none", exit_code=2).stderr
    assert not (tmp_path / "none").exists()


def test_the_plan_says_what_it_calls_fragile_and_robust_and_how_often_it_would(edited: Edit, cli: Cli) -> None:
    study = edited(PRICE, f"[verdicts]\nfragile = 0.03\nrobust = 0.125\n{PRICE}")
    told = cli("plan", study).stdout
    shown = " ".join(told.split())
    assert "“fragile” where its whole interval lies above 3 points, “robust” where it lies below 12.5 points" in shown
    found = plan_summary(Study.load(study)).outlook
    assert found is not None
    resolved = found.resolutions["pneumonia_cxr"]
    assert resolved is not None
    assert resolved.robust_power is not None
    (robust,) = [line for line in told.splitlines() if line.startswith("  called “robust” if truly 0, in")]
    assert robust.split()[-2:] == words.percent(resolved.robust_power).split()
    assert (found.bounds.fragile, found.bounds.robust) == (0.03, 0.125)


def test_where_nothing_can_be_told_nothing_is_explained(small_study: Path) -> None:
    for image in (small_study.parent / "images" / "normal").glob("*.png"):
        image.unlink()
    assert "How to read it" not in str(plan_summary(Study.load(small_study)))


def test_of_a_served_model_the_plan_says_one_number_of_tokens(edited: Edit) -> None:
    old = 'kind = "scripted"\naccuracy = 0.7\nrefusal_rate = 0.05'
    study = edited(old, 'kind = "endpoint"\nbase_url = "http://127.0.0.1:9/v1"\ntokens_per_image = 700')
    summary = plan_summary(Study.load(study))
    assert summary.outlook is not None
    (sending,) = summary.sendings
    assert summary.outlook.expenses[0].tokens_in == pytest.approx(sending.cost.tokens_in)
    assert 144 * 700 < sending.cost.tokens_in < 144 * 900


def test_the_library_prints_the_same(small_study: Path) -> None:
    assert "smallest difference of two models" in str(palpate.plan(Study.load(small_study)))


def test_a_pilot_that_was_not_read_is_an_error_only_where_it_was_named(small_study: Path, tmp_path: Path, cli: Cli) -> None:
    cli("ask", small_study, "--out", tmp_path / "asked", "-q")
    study = Study.load(small_study)
    assert plan_summary(study, tmp_path / "asked").outlook.basis == ASSUMED  # type: ignore[union-attr]
    with pytest.raises(PalpateError, match="none of the answers was read"):
        plan_summary(study, pilot=tmp_path / "asked")


def test_more_images_of_like_patients_give_what_is_promised() -> None:
    """With as many images as it says, the detectable difference is 5 points."""
    label, cluster = np.repeat([0, 1], 60).astype(np.int8), np.arange(120) // 3
    small = resolution(label, cluster, 6, Alike())
    assert small is not None
    times = -(-small.images_for_5_points // 120)
    copies = np.concatenate([cluster + k * 40 for k in range(times)])
    large = resolution(np.tile(label, times), copies, 6, Alike())
    assert large is not None
    assert large.difference <= 0.051
