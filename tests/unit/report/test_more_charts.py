"""Charts of what the wording differs in, of the image, of images made worse, and of confidence."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from test_figures import texts, trace

from palpate.nouns import Estimate
from palpate.report import words
from palpate.report.chart_curves import MARKS
from palpate.report.charts import further_charts, opening_charts
from palpate.report.confidence_charts import abstaining, coverages, reliability
from palpate.report.factor_charts import factors, prompt_heat
from palpate.report.html import render_html
from palpate.report.image_charts import QUADRANTS, image_moves, nothing_shown, quadrants, slopes
from palpate.report.view import ReportView
from synthetic_curves import FAMILIES, NULLS, WITHOUT_MARGINS, examined_whole, hostile_whole
from synthetic_report import HOSTILE, MODELS, TASKS

TASK = TASKS[0][0]
Draw = Callable[[ReportView], Any]
ALL: dict[str, Draw] = {
    "image_moves": image_moves,
    "quadrants": quadrants,
    "nothing_shown": nothing_shown,
    "slopes": lambda view: next(iter(slopes(view, view.tasks[0])), None),
    "abstaining": abstaining,
    "coverages": lambda view: coverages(view, view.tasks[0]),
    "reliability": lambda view: reliability(view, view.tasks[0]),
    "factors": lambda view: factors(view, view.tasks[0]),
    "prompt_heat": lambda view: prompt_heat(view, view.tasks[0]),
}


@pytest.fixture(scope="module")
def whole() -> ReportView:
    return examined_whole()


@pytest.fixture(scope="module")
def harmed() -> ReportView:
    return hostile_whole()


def estimate_of(view: ReportView, measure: str, model: str, **more: str) -> Estimate:
    wanted = {"model": model, "task": TASK, "cell": "target", **more}
    return next(e for e in view.estimates if e.measure == measure and dict(e.by) == wanted)


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_chart_has_a_title_and_names_its_axes(whole: ReportView, name: str) -> None:
    figure = ALL[name](whole)
    assert len(figure.layout.title.text) > 15
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text or all(figure.layout.yaxis.ticktext), "rows are named where the axis has no title"
    assert figure.layout.height > 130


@pytest.mark.parametrize("name", sorted(ALL))
def test_nothing_measured_draws_nothing(bare: ReportView, name: str) -> None:
    assert ALL[name](bare) is None


@pytest.mark.parametrize("name", sorted(ALL))
def test_charts_are_plain_numbers_and_the_same_each_time(whole: ReportView, name: str) -> None:
    text = ALL[name](whole).to_json()
    assert "bdata" not in text
    json.loads(text, parse_constant=lambda c: pytest.fail(c))
    assert text == ALL[name](whole).to_json()


@pytest.mark.parametrize("name", sorted(ALL))
def test_text_from_outside_stays_text(harmed: ReportView, name: str) -> None:
    found = list(texts(json.loads(ALL[name](harmed).to_json())))
    for text in found:
        rest = re.sub("<br>|</?[bi]>|<extra></extra>", "", text)
        assert "<" not in rest, text
        assert "%{" not in rest.replace("%{customdata}", "").replace("%{text}", ""), text
        assert "\x1b" not in text
    assert any("&lt;script&gt;document" in text for text in found), "the model that means harm is on the chart, as text"


@pytest.mark.parametrize("bad", HOSTILE)
@pytest.mark.parametrize("name", ["coverages", "slopes", "quadrants"])
def test_any_name_that_means_harm_stays_text(whole: ReportView, name: str, bad: str) -> None:
    renamed = [replace(e, by={**e.by, "model": bad}) if e.by.get("model") == MODELS[0] else e for e in whole.estimates]
    view = replace(whole, models=(replace(whole.models[0], name=bad), *whole.models[1:]), estimates=tuple(renamed))
    for text in texts(json.loads(ALL[name](view).to_json())):
        rest = re.sub("<br>|</?[bi]>|<extra></extra>", "", text)
        assert "<" not in rest
        assert not re.search("%{(?!customdata|text)|[$\x1b\u202e]", rest), text


# ---------------------------------------------------------------- the image


def test_the_four_quadrants_of_a_row_fill_it_and_are_told_apart_without_colour(whole: ReportView) -> None:
    figure = quadrants(whole)
    assert figure is not None
    assert figure.layout.barmode == "stack"
    assert [t.name for t in figure.data] == [said for said, _, _ in QUADRANTS.values()]
    assert len({t.marker.pattern.shape for t in figure.data}) == 4
    assert [sum(parts) for parts in zip(*(t.x for t in figure.data), strict=True)] == pytest.approx([100.0] * 16)
    assert figure.data[0].x[0] == 100 * (estimate_of(whole, "quadrant_share", MODELS[0], quadrant="ideal").value or 0)
    assert figure.data[0].text[3] == "", "no number in a part too narrow for it"


def test_what_moves_stands_against_no_difference(whole: ReportView) -> None:
    figure = image_moves(whole)
    assert figure is not None
    e = estimate_of(whole, "image_dependence", MODELS[0])
    drawn = trace(figure, "answers that change")
    assert drawn.x[0] == 100 * (e.value or 0)
    assert math.isclose(drawn.x[0] - drawn.error_x.arrayminus[0], 100 * (e.low or 0))
    assert list(trace(figure, "the image makes no difference").x) == [0, 0]
    assert "Uses the image in 8 of 16" in figure.layout.title.text


def test_each_way_of_showing_nothing_has_its_own_mark(whole: ReportView) -> None:
    figure = nothing_shown(whole)
    assert figure is not None
    assert len(figure.data) == len(NULLS) == len({t.marker.symbol for t in figure.data})
    assert len({t.y[0] for t in figure.data}) == 4, "beside one another"
    fewer = replace(whole, estimates=tuple(e for e in whole.estimates if e.by.get("null_image") != "noise"))
    assert [t.name for t in nothing_shown(fewer).data] == ["no image", "blank", "another modality"]  # type: ignore[union-attr]


def test_slopes_begin_with_the_image_as_it_is(whole: ReportView) -> None:
    drawn = slopes(whole, whole.tasks[0])
    assert len(drawn) == len(FAMILIES)
    curve = drawn[0].data[1]
    assert [round(x) for x in curve.x] == [0, 1, 3, 5]
    assert curve.y[0] == estimate_of(whole, "ba_all", MODELS[1]).value
    assert curve.y[2] == estimate_of(whole, "ba_all", MODELS[1], perturbation="rician_noise-3").value
    assert all(curve.error_y.array)
    assert "rician noise: falls for phantom-llava-med, phantom-gemma" in drawn[0].layout.title.text
    assert "bias field: no fall shown" in drawn[1].layout.title.text
    assert len({(t.line.dash, t.marker.symbol) for t in drawn[0].data[:4]}) == 4, "told apart without colour"


def test_a_null_image_is_no_severity(whole: ReportView) -> None:
    assert all(len(t.x) == 4 for t in slopes(whole, whole.tasks[0])[0].data[:4])


def test_families_whose_names_begin_alike_are_kept_apart(whole: ReportView) -> None:
    by = {"model": MODELS[0], "task": TASK, "cell": "target"}
    more = [replace(estimate_of(whole, "ba_all", MODELS[0]), by={**by, "perturbation": "rician_noise-more-2"})]
    drawn = slopes(replace(whole, estimates=(*whole.estimates, *more)), whole.tasks[0])
    assert [round(x) for x in drawn[0].data[0].x] == [0, 1, 3, 5]


# ---------------------------------------------------------------- confidence


def test_risk_stands_against_coverage_with_the_line_of_no_use(whole: ReportView) -> None:
    figure = coverages(whole, whole.tasks[0])
    assert figure is not None
    curve = trace(figure, MODELS[0])
    own = [estimate_of(whole, "risk_at_coverage", MODELS[0], confidence="margin", coverage=f"{k / 10:g}") for k in range(1, 11)]
    assert list(curve.y) == pytest.approx([100 * (e.value or 0) for e in own])
    assert [round(x / 10) for x in curve.x] == list(range(1, 11))
    flat = [t for t in figure.data if t.name == "were confidence of no use"]
    assert [list(t.y) for t in flat] == [[t.y[0]] * 2 for t in flat]
    assert flat[0].y[0] == pytest.approx(curve.y[-1])
    assert sum(t.showlegend is not False for t in flat) == 1
    assert "of the 10 % it is surest of" in curve.customdata[0]


def test_a_model_without_margins_has_the_curve_of_its_agreement_and_no_reliability(whole: ReportView) -> None:
    figure = coverages(whole, whole.tasks[0])
    assert {t.name for t in figure.data} >= set(MODELS)  # type: ignore[union-attr]
    reliable = reliability(whole, whole.tasks[0])
    assert {t.name for t in reliable.data} == {*MODELS, "probabilities that mean what they say"} - {WITHOUT_MARGINS}  # type: ignore[union-attr]


def test_reliability_is_what_is_there_against_what_is_said(whole: ReportView) -> None:
    figure = reliability(whole, whole.tasks[0])
    curve = trace(figure, MODELS[0])
    assert list(curve.x) == pytest.approx([100 * k / 10 - 5 for k in range(1, 11)])
    e = estimate_of(whole, "present_in_bin", MODELS[0], bin="3")
    assert curve.y[2] == pytest.approx(100 * (e.value or 0))
    assert curve.error_y.array[2] == pytest.approx(8)
    assert "it gives 25 %<br>24 % of these cases have it (16–32 %)" in curve.customdata[2]
    line = trace(figure, "probabilities that mean what they say")
    assert list(line.x) == list(line.y) == [0, 100]


def test_both_kinds_of_confidence_stand_against_no_use(whole: ReportView) -> None:
    figure = abstaining(whole)
    assert len(trace(figure, "by its margin").x) == 12
    assert len(trace(figure, "by how far its wordings agree").x) == 16
    assert list(trace(figure, "no use (50 %)").x) == [50, 50]


# ---------------------------------------------------------------- the wording


def test_factors_are_written_in_points_with_an_arrow_where_sure(whole: ReportView) -> None:
    figure = factors(whole, whole.tasks[0])
    assert figure is not None
    (heat,) = figure.data
    assert list(figure.layout.yaxis.ticktext) == ["polarity: negated, not affirmat…", "format: lettered, not yes-no"]
    assert heat.text[0][1] == "−9 ▼"
    assert heat.text[1][1] == "+1"
    assert heat.text[0][0] == "0"
    assert (heat.zmin, heat.zmax) == (-10, 10), "small effects look small, and nothing looks like nothing"


def test_wordings_are_sorted_by_what_they_differ_in_and_cells_stay_together(whole: ReportView) -> None:
    figure = prompt_heat(whole, whole.tasks[0])
    assert figure is not None
    prompts = {p.name: p for p in whole.prompts[TASK]}
    shown = [prompts[name] for name in figure.layout.yaxis.ticktext]
    assert [p.cell for p in shown] == sorted((p.cell for p in shown), key=["target", "abnormal"].index)
    forms = [p.form for p in shown if p.cell == "target"]
    assert len(list(dict.fromkeys(forms))) == len([1 for a, b in pairwise(forms) if a is not b]) + 1
    (heat,) = figure.data
    e = estimate_of(whole, "ba_all", MODELS[2], prompt=shown[0].name)
    assert heat.z[0][2] == e.value
    assert heat.text[0][2] == words.score(e.value)
    assert (heat.zmin, heat.zmax) == (0, 1), "chance has no colour"


# ---------------------------------------------------------------- on the page


def test_every_question_has_its_charts_and_each_a_table(whole: ReportView) -> None:
    first, more = opening_charts(whole), further_charts(whole)
    assert [sum(map(len, first.get(q, ()))) for q in range(1, 8)] == [1, 1, 1, 1, 1, 0, 1]
    assert [sum(map(len, more.get(q, ()))) for q in range(1, 8)] == [0, 12, 3, 0, 10, 0, 8]
    html = render_html(whole)
    assert html.count("<figure>") == 6 + 33
    assert html.count("<summary>The numbers behind it") == 7
    assert len(html.encode()) < 6_000_000


def test_more_models_than_marks_begin_anew(whole: ReportView) -> None:
    names = [f"m{i}" for i in range(len(MARKS) + 1)]
    one = [e for e in whole.estimates if e.measure == "risk_at_coverage" and e.by["model"] == MODELS[0]]
    many = [replace(e, by={**e.by, "model": name}) for name in names for e in one]
    view = replace(whole, models=tuple(replace(whole.models[0], name=n) for n in names), estimates=tuple(many))
    figure = coverages(view, whole.tasks[0])
    assert figure is not None
    assert figure.data[0].line.color == figure.data[len(MARKS)].line.color
    assert len({t.line.color for t in figure.data[: len(MARKS)]}) == len(MARKS), "the colours of one turn are all different"
