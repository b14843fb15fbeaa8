"""Charts: what they draw, what they say, and that no text can become markup in them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from palpate.nouns import Estimate
from palpate.report import factor_charts, figures
from palpate.report.view import ReportView
from synthetic_report import HOSTILE, MODELS, TASKS

Draw = Callable[[ReportView], Any]
ALL: dict[str, Draw] = {
    "accuracy": figures.accuracy,
    "spreads": figures.spreads,
    "wordings": lambda view: figures.wordings(view, view.tasks[0]),
    "refusals": figures.refusals,
    "silences": lambda view: figures.silences(view, view.tasks[0]),
    "pairs": figures.pairs,
}


def trace(figure: Any, name: str) -> Any:
    return next(t for t in figure.data if t.name == name)


def texts(value: Any) -> Iterator[str]:
    """Every text in a figure that plotly would show."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from texts(v)
    elif isinstance(value, list):
        for v in value:
            yield from texts(v)


def estimate_of(view: ReportView, measure: str, model: str, task: str, **more: str) -> Estimate:
    wanted = {"model": model, "task": task, "cell": "target", **more}
    return next(e for e in view.estimates if e.measure == measure and dict(e.by) == wanted)


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_chart_has_a_title_and_names_its_axes(view: ReportView, name: str) -> None:
    figure = ALL[name](view)
    assert len(figure.layout.title.text) > 15
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text or all(figure.layout.yaxis.ticktext), "rows are named where the axis has no title"
    assert figure.layout.height > 150
    shown = [t for t in figure.data if t.type == "scatter"]
    assert all(t.name for t in shown)


@pytest.mark.parametrize("name", sorted(ALL))
def test_nothing_measured_draws_nothing(bare: ReportView, name: str) -> None:
    assert ALL[name](bare) is None


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_same_view_gives_the_same_chart(view: ReportView, name: str) -> None:
    assert ALL[name](view).to_json() == ALL[name](view).to_json()


@pytest.mark.parametrize("name", sorted(ALL))
def test_charts_are_plain_numbers(view: ReportView, name: str) -> None:
    """No NaN, no packed arrays: a gap is null, and anything that reads JSON can read the chart."""
    text = ALL[name](view).to_json()
    assert "bdata" not in text
    json.loads(text, parse_constant=lambda c: pytest.fail(c))


@pytest.mark.parametrize("name", sorted(ALL))
def test_text_from_outside_stays_text(hostile: ReportView, name: str) -> None:
    for text in texts(json.loads(ALL[name](hostile).to_json())):
        rest = text.replace("<br>", "").replace("<b>", "").replace("</b>", "").replace("<i>", "").replace("</i>", "")
        rest = rest.replace("<extra></extra>", "")
        assert "<" not in rest, text
        assert "%{" not in rest.replace("%{customdata}", "").replace("%{text}", ""), text
        assert "\x1b" not in text


@pytest.mark.parametrize("bad", HOSTILE)
def test_names_that_mean_harm_are_shown_as_they_are_written(view: ReportView, bad: str) -> None:
    renamed = [replace(e, by={**e.by, "model": bad}) if e.by.get("model") == MODELS[0] else e for e in view.estimates]
    models = (replace(view.models[0], name=bad), *view.models[1:])
    figure = figures.accuracy(replace(view, models=models, estimates=tuple(renamed)))
    assert figure is not None
    label = figure.layout.yaxis.ticktext[0]
    assert "<" not in label
    assert not set("{$\x1b\u202e") & set(label)
    assert len(figure.layout.yaxis.ticktext) == 16


def test_a_long_name_is_cut_so_that_the_chart_has_room(view: ReportView) -> None:
    long = replace(view, tasks=(replace(view.tasks[0], condition="very " * 40 + "ill"), *view.tasks[1:]))
    figure = figures.accuracy(long)
    assert figure is not None
    assert max(len(a.text) for a in figure.layout.annotations) < 60


def test_quotes_are_no_entities(view: ReportView) -> None:
    """Plotly knows few entities: an escaped quote would be shown as it is escaped."""
    quoted = replace(view, tasks=(replace(view.tasks[0], condition='Crohn\'s "disease" & more'), *view.tasks[1:]))
    figure = figures.accuracy(quoted)
    assert figure is not None
    headings = [a.text for a in figure.layout.annotations if a.text.startswith("<b>")]
    assert headings[0] == '<b>Crohn\'s "disease" &amp; more</b>'


def test_accuracy_draws_every_estimate_with_its_interval(view: ReportView) -> None:
    figure = figures.accuracy(view)
    assert figure is not None
    whole = trace(figure, "all questions")
    assert len(whole.x) == 15, "sixteen, less the one that was not measured"
    e = estimate_of(view, "ba_all", MODELS[0], TASKS[0][0])
    assert e.value is not None
    assert e.low is not None
    assert whole.x[0] == e.value
    assert math.isclose(whole.x[0] - whole.error_x.arrayminus[0], e.low)
    low, high = figure.layout.xaxis.range
    assert all(low < x < high for x in whole.x)
    assert list(trace(figure, "chance (0.50)").x) == [0.5, 0.5]


def test_a_row_without_a_number_says_so(view: ReportView) -> None:
    for draw in (figures.accuracy, figures.spreads, figures.refusals):
        figure = draw(view)
        assert figure is not None
        missing = [a for a in figure.layout.annotations if "not measured" in a.text]
        assert len(missing) == 1
        last = max(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext, strict=True))
        assert (missing[0].y, MODELS[3]) == last


def test_the_best_possible_is_drawn_where_it_is_known(view: ReportView) -> None:
    figure = figures.accuracy(view)
    best = [x for x in trace(figure, "best possible").x if x is not None]
    assert best == [b for *_, b in TASKS for _ in range(2)]
    unknown = replace(view, tasks=tuple(replace(t, best_accuracy=None) for t in view.tasks))
    assert "best possible" not in {t.name for t in figures.accuracy(unknown).data}  # type: ignore[union-attr]


def test_answered_ones_are_drawn_apart_only_where_they_differ(view: ReportView) -> None:
    assert len(trace(figures.accuracy(view), "answered ones only").x) == 3  # one model refuses, on three measured tasks


def test_the_null_band_is_the_null_interval_in_points(view: ReportView) -> None:
    figure = figures.spreads(view)
    band = trace(figure, "sampling alone would give (95 %)")
    e = estimate_of(view, "prompt_spread_null", MODELS[0], TASKS[0][0])
    assert e.low is not None
    assert e.high is not None
    assert list(band.x[:3]) == [100 * e.low, 100 * e.high, None]
    assert len(band.x) == 3 * 15


def test_each_wording_is_a_dot_of_its_form(view: ReportView) -> None:
    figure = figures.wordings(view, view.tasks[0])
    assert figure is not None
    dots = {t.name: len(t.x) for t in figure.data if t.mode == "markers"}
    assert dots == {"yes or no": 8 * 4, "A or B, one order": 2 * 4, "A or B, other order": 2 * 4}
    assert any("contain evidence of tumors" in text for t in figure.data if t.mode == "markers" for text in t.customdata)
    headings = [a.text for a in figure.layout.annotations]
    assert headings == ["<b>question: target</b>", "<b>question: abnormal</b>"], "cells are never pooled"


def test_a_long_wording_is_cut_in_the_hover(view: ReportView) -> None:
    first = view.prompts[TASKS[0][0]][0]
    texts = (replace(first, text="word " * 500), *view.prompts[TASKS[0][0]][1:])
    longer = replace(view, prompts={**view.prompts, TASKS[0][0]: texts})
    figure = figures.wordings(longer, longer.tasks[0])
    assert figure is not None
    assert max(len(text) for t in figure.data if t.mode == "markers" for text in t.customdata) < 600


def test_the_heat_map_writes_its_numbers(view: ReportView) -> None:
    figure = figures.silences(view, view.tasks[0])
    assert figure is not None
    (heat,) = figure.data
    assert len(heat.z) == 12
    assert {row[0] for row in heat.text} == {"0"}
    assert all(float(row[3]) > 0 for row in heat.text)
    assert heat.zmax >= 10, "small rates look small"
    scores = factor_charts.prompt_heat(view, view.tasks[0])
    assert scores is not None
    assert list(heat.y) == list(scores.data[0].y), "a wording stands in one place in both maps"


def test_where_every_wording_was_answered_there_is_no_heat_map(view: ReportView) -> None:
    assert figures.silences(view, view.tasks[3]) is None


def test_the_forest_has_the_equivalence_zone_and_both_kinds_of_interval(view: ReportView) -> None:
    figure = figures.pairs(view)
    assert figure is not None
    (zone,) = figure.layout.shapes
    assert (zone.x0, zone.x1) == (-5, 5)
    assert len(trace(figure, "these wordings").x) == 8
    assert len(trace(figure, "any such wordings").x) == 8
    low, high = figure.layout.xaxis.range
    assert low == -high
    assert high > 19


def test_several_bases_of_one_model_have_a_row_each(view: ReportView) -> None:
    found = [e for e in view.estimates if e.measure == "delta_ba_all" and e.by["tuned"] == MODELS[1]]
    more = [replace(e, by={**e.by, "base": "other"}) for e in found]
    figure = figures.pairs(replace(view, estimates=(*view.estimates, *more)))
    assert figure is not None
    assert len(set(trace(figure, "these wordings").y)) == 12


def test_a_perturbed_image_has_no_row(view: ReportView) -> None:
    by = {"model": MODELS[0], "task": TASKS[0][0], "perturbation": "blank"}
    blank = replace(estimate_of(view, "ba_all", MODELS[0], TASKS[0][0]), value=0.01, by=by)
    figure = figures.accuracy(replace(view, estimates=(*view.estimates, blank)))
    assert len(trace(figure, "all questions").x) == 15
