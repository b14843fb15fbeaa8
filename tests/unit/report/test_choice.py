"""Which model for which task: what makes one sound, who is not told apart from it, and that nothing unshown is praised."""

from __future__ import annotations

from dataclasses import replace

import pytest

from palpate.nouns import Estimate
from palpate.report.choice import Choice, choices, told
from palpate.report.findings import findings
from palpate.report.html import render_html
from palpate.report.markdown import render_markdown
from palpate.report.view import ReportView
from synthetic_report import HOSTILE, MODELS, TASKS, estimate

TASK = TASKS[0][0]


def planted(view: ReportView, **of: tuple[str, str, float, str]) -> ReportView:
    """One task; each model by its letter: (verdict on chance, on wording, accuracy, on refusals)."""
    found: list[Estimate] = []
    for model, (chance, wording, accuracy, refusing) in zip(MODELS, of.values(), strict=False):
        by = {"model": model, "task": TASK, "cell": "target"}
        found.append(estimate("ba_all", accuracy, 0.04, chance, **by))
        found.append(estimate("prompt_spread", 0.06 if wording == "fragile" else 0.004, 0.003, wording, **by))
        found.append(estimate("refusal_rate", 0.1 if refusing == "selective" else 0.0, 0.01, **by))
        found.append(estimate("refusal_difference", 0.08, 0.03, refusing, **by))
    models = view.models[: len(of)]
    return replace(view, tasks=view.tasks[:1], models=models, estimates=tuple(found), examples=())


def lead(view: ReportView, first: int, over: int, value: float, verdict: str) -> ReportView:
    by = {"model": MODELS[first], "task": TASK, "cell": "target", "over": MODELS[over]}
    return replace(view, estimates=(*view.estimates, estimate("ba_lead", value, 0.05, verdict, **by)))


def only(view: ReportView) -> Choice:
    (found,) = choices(view, findings(view))
    return found


GOOD = ("above chance", "robust", 0.9, "")


def test_the_sound_one_of_the_highest_accuracy_is_the_best_supported(view: ReportView) -> None:
    fragile = ("above chance", "fragile", 0.96, "")
    found = only(planted(view, a=GOOD, b=fragile, c=("above chance", "robust", 0.93, "")))
    assert found.best == MODELS[2]
    assert found.alike == (f"{MODELS[0]}, 0.90 (0.86–0.94)",)
    assert found.against == ((MODELS[1], "fragile (the wording moves it by 6 points)"),)
    assert (
        found.why
        == "accuracy 0.93 (0.89–0.97) where 0.975 is the best possible; the wording moves it by 0.4 points; leaves 0 % open"
    )
    assert told(found).startswith(f"{MODELS[2]}: accuracy 0.93")


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (("undetermined", "robust", 0.95, ""), "not shown to be better than chance"),
        (("at chance", "robust", 0.95, ""), "not shown to be better than chance"),
        (("below chance", "robust", 0.95, ""), "below chance (0.95)"),
        (("above chance", "undetermined", 0.95, ""), "not shown to be robust to the wording"),
        (("above chance", "fragile", 0.95, ""), "fragile (the wording moves it by 6 points)"),
        (("above chance", "robust", 0.95, "selective"), "selective refusals (10 % open)"),
    ],
)
def test_what_is_not_shown_is_not_praised(view: ReportView, other: tuple[str, str, float, str], why: str) -> None:
    found = only(planted(view, a=GOOD, b=other))
    assert found.best == MODELS[0]
    assert found.alike == ()
    ((model, reasons),) = found.against
    assert model == MODELS[1]
    assert why in reasons


def test_a_model_that_ignores_the_image_is_not_sound(view: ReportView) -> None:
    made = planted(view, a=GOOD, b=("above chance", "robust", 0.8, ""))
    by = {"model": MODELS[0], "task": TASK, "cell": "target"}
    blind = (
        estimate("image_dependence", 0.01, 0.01, "ignores the image", **by),
        estimate("image_dependence", 0.01, 0.01, **by, null_image="blank"),
    )
    found = only(replace(made, estimates=(*made.estimates, *blind)))
    assert found.best == MODELS[1]
    assert (MODELS[0], "ignores the image") in found.against


def test_one_that_is_shown_to_be_behind_is_told_apart(view: ReportView) -> None:
    made = planted(view, a=GOOD, b=("above chance", "robust", 0.8, ""))
    assert only(lead(made, 0, 1, 0.1, "not ranked")).alike
    for first, over, value, verdict in ((0, 1, 0.1, "ahead"), (1, 0, -0.1, "behind")):
        found = only(lead(made, first, over, value, verdict))
        assert found.alike == ()
        assert found.against == ((MODELS[1], "behind by 10 points (accuracy 0.80)"),)


def test_where_none_is_sound_none_is_named(view: ReportView) -> None:
    made = planted(view, a=("above chance", "fragile", 0.9, ""), b=("at chance", "robust", 0.5, ""))
    found = only(made)
    assert found.best == ""
    assert found.why.startswith(
        "none is shown to be both better than chance and steady; the highest accuracy is that of phantom-llava"
    )
    assert [m for m, _ in found.against] == [*MODELS[:2]]
    assert told(found).startswith("None is shown")
    assert "<b>phantom-llava</b>: fragile" in render_html(made)


def test_what_was_not_measured_has_its_reason(view: ReportView) -> None:
    made = planted(view, a=GOOD, b=GOOD)
    gone = tuple(
        replace(e, value=None, low=None, high=None, reason="no image") if e.by["model"] == MODELS[1] else e for e in made.estimates
    )
    found = only(replace(made, estimates=gone))
    assert found.against == ((MODELS[1], "not measured: no image"),)


def test_a_model_whose_wording_was_not_measured_is_not_shown_to_be_robust(view: ReportView) -> None:
    made = planted(view, a=GOOD, b=("above chance", "robust", 0.95, ""))
    silent = [e for e in made.estimates if not (e.measure == "prompt_spread" and e.by["model"] == MODELS[1])]
    found = only(replace(made, estimates=tuple(silent)))
    assert found.best == MODELS[0]
    assert [(model, why.partition(":")[0]) for model, why in found.against] == [(MODELS[1], "not measured")]


def test_both_pages_begin_with_it_and_one_model_needs_no_choice(view: ReportView) -> None:
    page, text = render_html(view), render_markdown(view)
    assert page.index('id="choice"') < page.index('id="verdicts"')
    assert text.index("## Which model for which task?") < text.index("## In short")
    assert page.count('data-question="best supported"') == len(TASKS)
    alone = planted(view, a=GOOD)
    assert 'id="choice"' not in render_html(alone)
    assert "Which model" not in render_markdown(alone)


@pytest.mark.parametrize("bad", HOSTILE[:4])
def test_a_name_that_means_harm_stays_text(view: ReportView, bad: str) -> None:
    made = planted(view, a=GOOD, b=GOOD)
    renamed = tuple(replace(e, by={**e.by, "model": bad}) if e.by["model"] == MODELS[0] else e for e in made.estimates)
    page = render_html(replace(made, models=(replace(made.models[0], name=bad), made.models[1]), estimates=renamed))
    first = page[page.index('id="choice"') : page.index('id="verdicts"')]
    assert "<script" not in first
    assert "<img" not in first
    assert "<svg" not in first


def test_nothing_measured_makes_no_choice(bare: ReportView) -> None:
    assert all(not c.best for c in choices(bare, findings(bare)))
    assert "none is shown" in render_html(bare)
