"""Charts of question 5: do the answers come from the image, what is said of nothing, how accuracy falls as images get worse."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from palpate.nouns import Estimate
from palpate.report import words
from palpate.report.chart_curves import curves, finished, reference
from palpate.report.chart_rows import (
    BLUE,
    GREEN,
    HOVER,
    ORANGE,
    PURPLE,
    by_task,
    dots,
    percent_told,
    score_told,
    straight,
    titled,
)
from palpate.report.chart_style import GREY, safe
from palpate.report.view import ReportView, TaskCard

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

QUADRANTS = {
    "ideal": ("steady, and moves with the image", BLUE, ""),
    "fragile": ("unsteady, and moves with the image", "#56B4E9", "/"),
    "dangerous": ("steady, image or not", ORANGE, "."),
    "worst": ("unsteady, image or not", "#D55E00", "x"),
}
"""Quadrant → what it says, colour and pattern of its bar."""
NULL_MARKS = {
    "no_image": ("no image", BLUE, "circle"),
    "blank": ("blank", ORANGE, "diamond"),
    "noise": ("noise", GREEN, "square"),
    "other_modality": ("another modality", PURPLE, "triangle-up"),
}
ROOM = 0.13  # share of a bar's axis that a number written in it needs
LEVEL = re.compile(r"(?P<family>.+)-(?P<severity>\d+)")


def image_moves(view: ReportView) -> Figure | None:
    """The share of answers that change when nothing of the patient is shown, with its interval."""
    import plotly.graph_objects as go

    estimates = words.unperturbed(view.estimates)
    rows, found = by_task(view, estimates, "image_dependence")
    if not found:
        return None
    figure = go.Figure()
    figure.add_trace(straight([0, 0], [-0.6, rows.length - 0.4], "the image makes no difference", "dash", GREY))
    figure.add_trace(dots(found, "answers that change", BLUE, "circle", scale=100, told=percent_told))
    lowest = min(100 * (e.low if e.low is not None else e.value or 0.0) for _, e in found)
    figure.update_xaxes(range=[min(-2.0, lowest - 3), 102])
    rows.name_gaps(figure, found)
    return rows.lay(figure, titled("Looks at the image?", view, 5), "changed without the image, %")


def quadrants(view: ReportView) -> Figure | None:
    """Cases by whether the answer is steady over wordings and whether it moves with the image: a bar of four parts a model."""
    import plotly.graph_objects as go

    estimates = words.unperturbed(view.estimates)
    parts = {name: by_task(view, estimates, "quadrant_share", quadrant=name) for name in QUADRANTS}
    rows = parts["ideal"][0]
    if not any(found for _, found in parts.values()):
        return None
    figure = go.Figure()
    for name, (said, colour, pattern) in QUADRANTS.items():
        found = parts[name][1]
        figure.add_trace(
            go.Bar(
                x=[100 * (e.value or 0.0) for _, e in found],
                y=[r.y for r, _ in found],
                orientation="h",
                width=0.72,
                name=said,
                text=[f"<b>{words.percent(e.value)}</b>" if (e.value or 0.0) >= ROOM else "" for _, e in found],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                textfont={"color": "#ffffff" if colour == BLUE else "#1b1f24", "size": 11},
                customdata=[f"{safe(said)}<br>{percent_told(e)}" for _, e in found],
                hovertemplate=HOVER,
                marker={"color": colour, "pattern": {"shape": pattern, "fgcolor": "#ffffff", "size": 7, "solidity": 0.12}},
            )
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(range=[0, 100])
    rows.name_gaps(figure, parts["ideal"][1])
    title = "Steady because it sees, or because it does not look? Cases by both."
    return rows.lay(figure, title, "cases, %", height=132).update_layout(legend_traceorder="normal")


def nothing_shown(view: ReportView) -> Figure | None:
    """How often the condition is asserted though nothing of the patient is shown, by what is shown instead."""
    import plotly.graph_objects as go

    estimates = words.unperturbed(view.estimates)
    found = {name: by_task(view, estimates, "mirage_rate", null_image=name) for name in NULL_MARKS}
    drawn = {name: mine for name, (_, mine) in found.items() if mine}
    if not drawn:
        return None
    rows = found[next(iter(drawn))][0]
    figure = go.Figure()
    for at, (name, mine) in enumerate(drawn.items()):
        shift = 0.18 * (at - (len(drawn) - 1) / 2)
        said, colour, symbol = NULL_MARKS[name]
        figure.add_trace(dots(mine, said, colour, symbol, scale=100, shift=shift, told=percent_told, size=8))
    figure.update_xaxes(range=[-2, 102])
    every = [pair for mine in drawn.values() for pair in mine]
    rows.name_gaps(figure, every)
    title = "Asserts the condition where nothing can be seen: every such answer is invented."
    return rows.lay(figure, title, "answers that say “present”, %", height=132)


# ---------------------------------------------------------------- images made worse


def slopes(view: ReportView, task: TaskCard) -> list[Figure]:
    """Balanced accuracy by severity, a chart a family of perturbations, a curve a model. Severity 0: the image as it is."""
    cell = next(iter(words.cells(view, task.name)), "")
    mine = [e for e in view.estimates if e.measure == "ba_all" and e.by.get("task") == task.name and e.by.get("cell") == cell]
    plain = [e for e in mine if "prompt" not in e.by and e.value is not None]
    families = dict.fromkeys(e.by["family"] for e in view.estimates if _is_slope(e, task.name, cell))
    return [figure for family in families if (figure := _family(view, task, family, plain)) is not None]


def _is_slope(e: Estimate, task: str, cell: str) -> bool:
    return e.measure == "corruption_slope" and e.by["task"] == task and e.by["cell"] == cell


def _family(view: ReportView, task: TaskCard, family: str, mine: Sequence[Estimate]) -> Figure | None:
    found = []
    for model in view.models:
        points = [(_severity(e, family), e) for e in mine if e.by["model"] == model.name]
        own = sorted(((x, e) for x, e in points if x is not None), key=lambda point: point[0])
        if len(own) > 1:
            found.append((model.name, own))
    if not found:
        return None
    every = [(x, e) for _, points in found for x, e in points]
    top, lowest = max(x for x, _ in every), min(e.low if e.low is not None else e.value or 0.0 for _, e in every)
    figure = curves(found, score_told, spread=0.07)
    figure.add_trace(reference([-0.3, top + 0.3], [0.5, 0.5], "chance (0.50)"))
    x = {"title": "severity (0: as it is)", "range": [-0.3, top + 0.3], "dtick": 1, "fixedrange": True}
    y = {"title": "balanced accuracy", "range": [max(-0.02, min(0.38, lowest - 0.03)), 1.02], "dtick": 0.1}
    return finished(figure, f"{words.labels(view)[task.name]}, {family.replace('_', ' ')}{_fall(view, task, family)}", x, y)


def _severity(e: Estimate, family: str) -> float | None:
    """0 for the image as it is, the severity under this family, None under any other."""
    perturbation = e.by.get("perturbation", "none")
    if perturbation == "none":
        return 0.0
    level = LEVEL.fullmatch(perturbation)
    return float(level["severity"]) if level is not None and level["family"] == family else None


def _fall(view: ReportView, task: TaskCard, family: str) -> str:
    """Whose accuracy falls, by the slopes' verdicts."""
    cell = words.cells(view, task.name)[0]
    mine = [e for e in view.estimates if _is_slope(e, task.name, cell) and e.by["family"] == family]
    falls = [words.line(e.by["model"]) for e in mine if e.verdict == "falls"]
    return f": falls for {', '.join(falls)}" if falls else ": no fall shown"
