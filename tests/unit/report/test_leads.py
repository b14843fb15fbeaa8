"""Which model is ahead of which: every pair in the section of accuracy, both counts of the open answers, what would be shown."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import pytest

from palpate.nouns import Estimate
from palpate.report.choice import choices, told
from palpate.report.findings import findings
from palpate.report.html import render_html
from palpate.report.leads import lead_over, leads, turned
from palpate.report.markdown import render_markdown
from palpate.report.questions import QUESTIONS
from palpate.report.view import ReportView
from synthetic_report import MODELS, TASKS, estimate

TASK = TASKS[0][0]
HOLM = "by itself an effect would be shown; after Holm's correction over the pairs of the task it is not"
BEST, OTHER = MODELS[1], MODELS[0]


def own(model: str, accuracy: float, wording: str = "robust") -> list[Estimate]:
    by = {"model": model, "task": TASK, "cell": "target"}
    whole = estimate("ba_all", accuracy, 0.04, "above chance", **by)
    return [whole, estimate("prompt_spread", 0.01, 0.005, wording, **by), estimate("refusal_rate", 0.0, 0.01, **by)]


def lead(first: str, over: str, value: float, verdict: str, mde: float | None = 0.09, reason: str | None = None) -> Estimate:
    by = {"model": first, "over": over, "task": TASK, "cell": "target"}
    return replace(estimate("ba_lead", value, 0.12, verdict, **by), mde=mde, reason=reason)


def seen(view: ReportView, *more: Estimate, wording: str = "robust", accuracies: tuple[float, float] = (0.86, 0.69)) -> ReportView:
    made = [*own(BEST, accuracies[0]), *own(OTHER, accuracies[1], wording), *more]
    return replace(view, models=view.models[:2], tasks=view.tasks[:1], estimates=tuple(made), examples=())


def test_the_one_that_leads_comes_first_and_both_counts_stand_side_by_side(view: ReportView) -> None:
    ((task, (pair,)),) = leads(seen(view, lead(OTHER, BEST, -0.11, "not ranked")))
    assert task == TASK
    assert (pair.first, pair.over, pair.verdict) == (BEST, OTHER, "not ranked")
    assert (pair.lead, pair.between, pair.wrong, pair.least) == ("+11 points", "−1 to +23", "+17 points", "9 points")
    ((_, (pair,)),) = leads(seen(view, lead(OTHER, BEST, -0.21, "behind")))
    assert (pair.first, pair.verdict, pair.between) == (BEST, "ahead", "9 to 33")


def test_turned_twice_it_is_as_it_was() -> None:
    one = lead(OTHER, BEST, -0.21, "behind")
    other = turned(one)
    assert (other.by["model"], other.value, other.verdict) == (BEST, 0.21, "ahead")
    assert (other.low, other.high) == (-one.high, -one.low)
    assert turned(other) == one
    assert lead_over([one], BEST, OTHER, TASK, "target") == other
    assert lead_over([one], OTHER, BEST, TASK, "target") == one
    assert lead_over([replace(one, value=None)], OTHER, BEST, TASK, "target") is None


def test_it_stands_under_accuracy_and_is_led_to_from_the_first_screen(view: ReportView) -> None:
    assert "ba_lead" in QUESTIONS[0].measures
    assert not any("ba_lead" in q.measures for q in QUESTIONS[1:])
    made = seen(view, lead(OTHER, BEST, -0.11, "not ranked", reason=HOLM))
    page, text = render_html(made), render_markdown(made)
    assert page.index('id="q1"') < page.index('id="ahead"') < page.index('id="q2"')
    assert page.index('href="#ahead"') < page.index('id="verdicts"')
    assert (
        page[page.index('id="ahead"') : page.index('id="q2"')].count("after Holm&#39;s correction over the pairs of the task") == 2
    )
    start = text.index("### Which model is ahead of which?")
    assert text.index("## Better than chance?") < start < text.index("## Depends on the wording?")
    assert f"not ranked: {HOLM}" in text[start:]
    assert 'id="ahead"' not in render_html(seen(view))
    assert "ahead of which" not in render_markdown(seen(view))


@pytest.mark.parametrize(
    ("of", "says"),
    [
        (lead(OTHER, BEST, -0.17, "behind"), "behind by 17 points (accuracy 0.69)"),
        (lead(OTHER, BEST, -0.11, "behind"), "behind by 17 points (accuracy 0.69)"),
        (
            lead(OTHER, BEST, -0.11, "not ranked"),
            "17 points lower (accuracy 0.69), but not shown to be behind were its open answers right",
        ),
        (
            lead(OTHER, BEST, -0.17, "not ranked", reason=HOLM),
            "17 points lower (accuracy 0.69), but not shown to be behind after Holm's correction over all pairs",
        ),
    ],
)
def test_what_is_against_a_model_is_in_the_scale_of_the_accuracies_beside_it(view: ReportView, of: Estimate, says: str) -> None:
    made = seen(view, of, wording="fragile")
    (found,) = choices(made, findings(made))
    assert found.best == BEST
    assert found.against == ((OTHER, f"{says}, fragile (the wording moves it by 1.0 points)"),)


def test_every_difference_of_the_choice_is_the_one_between_the_accuracies_that_it_names(view: ReportView) -> None:
    """Whatever share is left open: a reader who subtracts finds what is written, and both pages say which count it is."""
    of = ((0.86, 0.69), (0.988, 0.714), (0.994, 0.705), (0.8649, 0.6951), (0.8651, 0.6949))  # rounded once: 17, 27, 29, 17, 17
    for accuracies, (value, verdict) in product(of, ((-0.11, "behind"), (-0.02, "not ranked"), (-0.17, "behind"))):
        made = seen(view, lead(OTHER, BEST, value, verdict), wording="fragile", accuracies=accuracies)
        (found,) = choices(made, findings(made))
        ((_, (pair,)),) = leads(made)
        ((_, against),) = found.against
        (best,) = re.findall(r"accuracy (\d\.\d\d)", found.why)
        ((points, other),) = re.findall(r"(\d+) points(?: lower)? \(accuracy (\d\.\d\d)\)", against)
        assert round(100 * (float(best) - float(other))) == int(points)
        assert pair.wrong == f"+{points} points", "one difference of the two in one report"
    for page in (render_html(made), render_markdown(made)):
        assert "counts an answer left open as wrong" in page
        assert page.index("counts an answer left open as wrong") < page.index(">In short<" if "<html" in page else "## In short")


def test_two_that_are_written_alike_are_no_points_apart(view: ReportView) -> None:
    made = seen(view, lead(OTHER, BEST, -0.008, "behind"), accuracies=(0.8549, 0.8451))
    (found,) = choices(made, findings(made))
    assert found.against == ((OTHER, "behind (accuracy 0.85)"),)


def test_of_a_model_that_is_behind_without_an_accuracy_no_number_is_made_up(view: ReportView) -> None:
    made = seen(view, lead(OTHER, BEST, -0.11, "behind"))
    bare = [e for e in made.estimates if not (e.measure == "ba_all" and e.by["model"] == OTHER)]
    (found,) = choices(replace(made, estimates=tuple(bare)), findings(made))
    ((model, against),) = found.against
    assert model == OTHER
    assert against.split(",")[0] == "behind"


def test_a_difference_that_is_none_is_not_spoken_of(view: ReportView) -> None:
    made = seen(view, lead(OTHER, BEST, -0.17, "not ranked"), wording="fragile")
    (found,) = choices(made, findings(made))
    assert found.against == ((OTHER, "fragile (the wording moves it by 1.0 points)"),)


@pytest.mark.parametrize(("mde", "says"), [(0.09, ", a lead under 9 points may go unseen"), (None, "")])
def test_who_is_not_told_apart_has_the_smallest_lead_that_would_be_shown(view: ReportView, mde: float | None, says: str) -> None:
    """For two models that are no pair of base and tuned too."""
    made = seen(view, lead(OTHER, BEST, -0.01, "not ranked", mde), accuracies=(0.86, 0.85))
    (found,) = choices(replace(made, lineages=()), findings(made))
    assert found.alike == (f"{OTHER}, 0.85 (0.81–0.89){says}",)
    assert found.alike[0] in told(found)
