"""The plain tables of the terminal: everything is there, nothing is markup, undefined is never 0."""

from __future__ import annotations

import re

import pytest

from palpate.nouns import (
    Answer,
    Condition,
    ConditionResult,
    Estimate,
    Form,
    Held,
    Outcome,
    Perturbation,
    Polarity,
    Prompt,
    Reading,
    Response,
    Status,
    Trial,
)
from palpate.report.tables import (
    PlanSummary,
    TrialHistory,
    fitting_rows,
    render,
    render_catalogue,
    render_estimates,
    render_gate,
    render_plan,
    render_trial,
)

PLAN = PlanSummary("chest", ("a", "b"), (("pneumonia_cxr", 1200, 600, 480, 12, 3),), 28_800, 2_400, 1_000, "runs/chest")
KNOWN = Estimate("ba_all", {"model": "m[red]", "task": "t"}, 0.81234, 0.7, 0.9, 0.95, "bootstrap", 100, 50, verdict="above chance")
UNKNOWN = Estimate("auc", {"model": "m"}, None, None, None, 0.95, "none", 0, 0, reason="no margins")
PROMPT = Prompt("ab", "Which?\nA) Pneumonia\nB) Normal", Form.AB, Polarity.POSITIVE, "target", ("Pneumonia", "Normal"))
TRIAL = Trial("ab" * 16, "m", "t", "c-1", Perturbation("noise"), PROMPT, 1)


def test_a_plan_in_numbers() -> None:
    shown = render_plan(PLAN)
    assert "Study chest: a, b" in shown
    assert "28,800 questions (2 models, 2,400 images shown); 1,000 answered in runs/chest, 27,800 to ask." in shown
    assert "3 files were left out; runs/chest/cases.csv" in shown
    assert str(PLAN) == shown.rstrip()


def test_a_plan_without_a_folder() -> None:
    shown = render_plan(PlanSummary("s", ("a",), (("t", 2, 1, 2, 12, 0),), 24, 2, 0))
    assert "diagnos" not in shown
    assert "24 questions (1 model, 2 images shown)." in shown
    assert "answered" not in shown
    assert "left out;" not in shown


def test_estimates_known_and_not() -> None:
    lines = render_estimates([KNOWN, UNKNOWN]).splitlines()
    assert "0.812" in lines[1]
    assert "0.700 – 0.900" in lines[1]
    assert "above chance" in lines[1]
    assert "model=m[red], task=t" in lines[1]
    assert "no margins" in lines[2]
    assert "–" in lines[2]
    assert "0.000" not in lines[2]


@pytest.mark.parametrize("held", Held)
def test_conditions_have_a_symbol_and_a_word(held: Held) -> None:
    condition = Condition("ba_all.low >= 0.8", "ba_all", "low", ">=", 0.8)
    shown = render_gate([ConditionResult(condition, held, KNOWN if held is not Held.NOT_EVALUABLE else None, "low is 0.7")])
    assert str(held) in shown
    assert "ba_all.low >= 0.8" in shown
    assert "low is 0.7" in shown


def test_no_conditions_says_how_to_have_some() -> None:
    assert "[gate] conditions" in render_gate([])


def test_a_trial_with_everything_about_it() -> None:
    answers = (
        Response(TRIAL.key, 1, Answer(Status.ERROR, error="time-out")),
        Response(TRIAL.key, 2, Answer(Status.OK, "A) [bold]Pneumonia[/]\nsurely", 1.25, 0.9)),
    )
    readings = (
        Reading(TRIAL.key, 2, "rules@1", Outcome.POSITIVE, (0, 2), "letter"),
        Reading(TRIAL.key, 2, "judge@1", Outcome.HEDGE),
    )
    shown = render_trial(TrialHistory(TRIAL, 1, answers, readings))
    for text in (
        f"trial {TRIAL.key}",
        "m · t · c-1 · noise · repeat 1",
        "the condition is present",
        "| A) Pneumonia",
        "attempt 1: error – time-out",
        "attempt 2: ok",
        "> A) [bold]Pneumonia[/]",
        "> surely",
        "margin +1.250 (log odds for the condition), answer mass 0.900",
        "read as positive by rules@1 (letter) from “A)”",
        "read as hedge by judge@1",
    ):
        assert text in shown, text


def test_a_catalogue_is_names_and_words() -> None:
    shown = render_catalogue([("name[1]", "what [it] is")])
    assert "name[1]" in shown
    assert "what [it] is" in shown


def test_no_colour_where_nobody_looks() -> None:
    assert "\x1b" not in render_estimates([KNOWN])


def test_a_narrow_terminal_loses_nothing() -> None:
    shown = "".join(render("word " * 40, width=20).split())
    assert shown == "word" * 40


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_no_word_is_broken_where_the_terminal_is_narrow(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table where it fits, else two lines a row; a row says the same either way, and nothing ends in blanks."""
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [
        ("phantom-llava-med", "pneumonia_cxr", "fragile", "prompt_spread", "0.141", "0.090 – 0.293", ""),
        ("phantom-llava", "skin_cancer_dermoscopy", "undetermined", "prompt_spread", "0.01", "0.000 – 0.065", "0.010"),
    ]
    heads = ("model", "task", "verdict", "estimate", "value", "interval", "no effect")
    shown = render(*fitting_rows(heads, rows, right=("value",), of=2, says=2))
    for cell in [cell for row in rows for cell in row if cell]:
        assert cell in " ".join(shown.split()), cell
    assert max(map(len, shown.splitlines())) <= columns
    as_table = shown.startswith("model")
    assert as_table is (columns >= 120)
    if not as_table:
        assert "phantom-llava-med, pneumonia_cxr: fragile" in " ".join(shown.split())
        assert not re.search(r" $", shown, re.MULTILINE)
        assert re.search(r"^  prompt_spread 0\.141; interval", shown, re.MULTILINE)
        assert "no effect 0.010" in " ".join(shown.split())


def test_nothing_is_no_table() -> None:
    assert render(*fitting_rows(("a", "b"), [])) == ""
