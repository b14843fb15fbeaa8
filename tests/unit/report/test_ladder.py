"""The ladder's chart: a walk down the stages for each model, the loss marked where it is, and no text that becomes markup."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from palpate.nouns import Estimate
from palpate.report.html import render_html
from palpate.report.ladder import PARTS, RIGHT, STAGES, ladder, ladders
from palpate.report.view import ReportView
from synthetic_report import HOSTILE

MAIN = [s for s in STAGES if s != "description"]


def of(measure: str, by: dict[str, str], value: float, verdict: str | None = None) -> Estimate:
    return Estimate(measure, by, value, value - 0.05, value + 0.05, 0.95, "probe", 150, 150, verdict=verdict)


def estimates(model: str, task: str, values: list[float], lost: str = "") -> list[Estimate]:
    by = {"model": model, "task": task, "cell": "target"}
    found = [of("ladder_ba", {**by, "stage": s}, v) for s, v in zip(MAIN, values, strict=True)]
    found.append(Estimate("ladder_ba", {**by, "stage": "vision-03"}, 0.99, 0.98, 1.0, 0.95, "probe", 150, 150))
    found.append(of("ladder_gain", {**by, "stage": "read"}, 0.3, "sees"))
    for first, second in pairwise(MAIN[1:]):
        step = f"{first}>{second}"
        value = values[MAIN.index(first)] - values[MAIN.index(second)]
        word = "bottleneck" if step == lost else "no loss shown"
        found.append(of("ladder_loss", {**by, "step": step}, value, word))
    return found


@pytest.fixture
def laddered(view: ReportView) -> ReportView:
    task = view.tasks[0].name
    first, second = (m.name for m in view.models[:2])
    more = [
        *estimates(first, task, [0.55, 0.85, 0.86, 0.84, 0.6, 0.6, 0.59, 0.58], "projector>image"),
        *estimates(second, task, [0.55, 0.8, 0.8, 0.8, 0.8, 0.79, 0.8, 0.28]),
    ]
    return replace(view, estimates=(*view.estimates, *more))


def test_a_chart_per_model_walks_down_the_main_stages(laddered: ReportView) -> None:
    charts = ladders(laddered)
    assert len(charts) == 2
    (walk,) = (t for t in charts[0].data if t.mode == "lines+markers")
    assert list(walk.x) == [0.85, 0.86, 0.84, 0.6, 0.6, 0.59, 0.58]  # single layers are in the table, not in the chart
    assert list(walk.y) == list(range(1, 8))
    (colours,) = (t for t in charts[0].data if t.mode == "markers")  # for comparison: no line leads from it
    assert (list(colours.x), list(colours.y)) == ([0.55], [0])
    axis = charts[0].layout.yaxis
    assert axis.ticktext == tuple(STAGES[s] for s in MAIN)
    assert axis.range[0] > axis.range[1]  # the image above, the answer below
    assert charts[0].layout.xaxis.title.text.startswith("balanced accuracy")


def test_it_says_where_guessing_is_and_what_each_part_does(laddered: ReportView) -> None:
    chart = ladders(laddered)[0]
    (chance,) = (t for t in chart.data if t.name == "guessing (0.50)")
    assert set(chance.x) == {0.5}
    assert "guessing" in chance.text
    told = [a.text for a in chart.layout.annotations]
    assert all(f"<i>{name}</i>" in told for name, _, _ in PARTS)
    assert all(first in STAGES and last in STAGES for _, first, last in PARTS)


def test_the_largest_loss_is_marked_with_its_size_and_its_kind(laddered: ReportView) -> None:
    chart = ladders(laddered)[0]
    (mark,) = (t for t in chart.data if t.name == "largest loss")
    assert list(mark.x) == [0.84, 0.6]
    assert list(mark.y) == [MAIN.index("projector"), MAIN.index("image")]
    assert any("−24 points" in a.text and "lost here" in a.text for a in chart.layout.annotations)
    assert "lost in the language model" in chart.layout.title.text
    assert "−24 points, a loss of representation" in chart.layout.title.text


def test_where_nothing_is_lost_the_title_says_so_and_the_axis_reaches_every_interval(laddered: ReportView) -> None:
    chart = ladders(laddered)[1]
    assert "no step is shown to lose it" in chart.layout.title.text
    assert not any(t.name == "largest loss" for t in chart.data)
    assert chart.layout.xaxis.range == pytest.approx((0.2, RIGHT))  # the answer's interval begins at 0.23


def test_a_marked_step_whose_stage_has_no_number_is_told_and_not_drawn(view: ReportView) -> None:
    task, model = view.tasks[0].name, view.models[0].name
    found = estimates(model, task, [0.5, 0.8, 0.8, 0.8, 0.5, 0.5, 0.5, 0.5], "projector>image")
    kept = [e for e in found if (e.measure, e.by.get("stage")) != ("ladder_ba", "image")]
    chart = ladder(replace(view, estimates=tuple(kept)), view.tasks[0], model)
    assert chart is not None
    assert "lost in the language model" in chart.layout.title.text
    assert not any(t.name == "largest loss" for t in chart.data)


def test_no_stages_no_chart(view: ReportView) -> None:
    bare = replace(view, estimates=tuple(e for e in view.estimates if not e.measure.startswith("ladder")))
    assert ladders(bare) == []
    assert ladder(replace(bare, prompts={}), view.tasks[0], view.models[0].name) is None


def test_a_name_cannot_become_markup(laddered: ReportView) -> None:
    for text in HOSTILE[:6]:
        old = laddered.models[0].name
        named = replace(
            laddered,
            models=(replace(laddered.models[0], name=text), *laddered.models[1:]),
            estimates=tuple(replace(e, by={**e.by, "model": text}) if e.by.get("model") == old else e for e in laddered.estimates),
        )
        shown = ladders(named)[0].to_json()
        assert "<script" not in shown
        assert "<img" not in shown


def test_the_page_has_the_charts_under_their_question_side_by_side(laddered: ReportView) -> None:
    page = render_html(laddered)
    section = page[page.index('id="q6"') : page.index('id="q7"')]
    assert section.count('id="chart-q6-') == 2
    assert section.index('<div class="heats') < section.index('id="chart-q6-')
    assert "lost in the language model" in section
