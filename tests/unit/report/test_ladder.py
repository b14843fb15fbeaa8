"""The ladder's chart: a line per model, the loss marked where it is, and no text that becomes markup."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from palpate.nouns import Estimate
from palpate.report.html import render_html
from palpate.report.ladder import STAGES, ladder
from palpate.report.view import ReportView
from synthetic_report import HOSTILE

MAIN = [s for s in STAGES if s != "description"]


def of(measure: str, by: dict[str, str], value: float, verdict: str | None = None) -> Estimate:
    return Estimate(measure, by, value, value - 0.05, value + 0.05, 0.95, "probe", 150, 150, verdict=verdict)


def estimates(model: str, task: str, values: list[float], lost: str = "") -> list[Estimate]:
    by = {"model": model, "task": task, "cell": "target"}
    found = [of("ladder_ba", {**by, "stage": s}, v) for s, v in zip(MAIN, values, strict=True)]
    found.append(Estimate("ladder_ba", {**by, "stage": "vision-03"}, 0.99, 0.98, 1.0, 0.95, "probe", 150, 150))
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
        *estimates(second, task, [0.55, 0.8, 0.8, 0.8, 0.8, 0.79, 0.8, 0.78]),
    ]
    return replace(view, estimates=(*view.estimates, *more))


def test_one_line_per_model_through_the_main_stages(laddered: ReportView) -> None:
    figure = ladder(laddered, laddered.tasks[0])
    assert figure is not None
    lines = [t for t in figure.data if t.mode == "lines+markers"]
    assert [t.name for t in lines] == [m.name for m in laddered.models[:2]]
    assert all(len(t.x) == len(MAIN) for t in lines)  # single layers are in the table, not in the chart
    assert list(lines[0].y) == [0.55, 0.85, 0.86, 0.84, 0.6, 0.6, 0.59, 0.58]
    assert len({t.marker.symbol for t in lines}) == len({t.line.color for t in lines}) == 2
    assert figure.layout.xaxis.ticktext[0] == "colours<br>alone"
    assert figure.layout.yaxis.range == (0.38, 1.02)


def test_the_largest_loss_is_marked_with_its_size(laddered: ReportView) -> None:
    figure = ladder(laddered, laddered.tasks[0])
    assert figure is not None
    (mark,) = (t for t in figure.data if t.name == "largest loss")
    assert list(mark.y) == [0.84, 0.6]
    assert [round(x) for x in mark.x] == [MAIN.index("projector"), MAIN.index("image")]
    assert any("−24 points" in a.text for a in figure.layout.annotations)
    assert "loses 24 points at the marked step; 1 without a step shown." in figure.layout.title.text


def test_where_nothing_is_lost_the_title_says_so(view: ReportView) -> None:
    task = view.tasks[0].name
    flat = replace(view, estimates=tuple(estimates(view.models[0].name, task, [0.5] + [0.8] * 7)))
    figure = ladder(flat, view.tasks[0])
    assert figure is not None
    assert "No step is shown to lose it." in figure.layout.title.text
    assert not figure.layout.annotations


def test_no_stages_no_chart(view: ReportView) -> None:
    bare = replace(view, estimates=tuple(e for e in view.estimates if not e.measure.startswith("ladder")))
    assert ladder(bare, view.tasks[0]) is None


def test_a_name_cannot_become_markup(laddered: ReportView) -> None:
    for text in HOSTILE[:6]:
        old = laddered.models[0].name
        named = replace(
            laddered,
            models=(replace(laddered.models[0], name=text), *laddered.models[1:]),
            estimates=tuple(replace(e, by={**e.by, "model": text}) if e.by.get("model") == old else e for e in laddered.estimates),
        )
        figure = ladder(named, named.tasks[0])
        assert figure is not None
        shown = figure.to_json()
        assert "<script" not in shown
        assert "<img" not in shown


def test_the_page_has_the_chart_under_its_question(laddered: ReportView) -> None:
    page = render_html(laddered)
    assert "chart-q6-" in page
    assert "what each stage knows" in page
