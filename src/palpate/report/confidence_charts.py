"""Charts of question 7: is it less sure where it is wrong, what stays wrong without the unsure, and do its probabilities hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from palpate.nouns import Estimate
from palpate.report import words
from palpate.report.chart_curves import Points, curves, finished, reference
from palpate.report.chart_rows import BLUE, ORANGE, by_task, dots, percent_told, straight, titled
from palpate.report.chart_style import GREY, safe
from palpate.report.view import ReportView, TaskCard

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

KINDS = {"margin": ("by its margin", BLUE, "circle"), "agreement": ("by how far its wordings agree", ORANGE, "diamond-open")}


def abstaining(view: ReportView) -> Figure | None:
    """How often a right answer is more confident than a wrong one, with its interval, beside confidence of no use."""
    import plotly.graph_objects as go

    estimates = words.unperturbed(view.estimates)
    rows, _ = by_task(view, estimates, "auroc_failure")
    found = {kind: by_task(view, estimates, "auroc_failure", confidence=kind)[1] for kind in KINDS}
    drawn = [pair for mine in found.values() for pair in mine]
    if not drawn:
        return None
    figure = go.Figure()
    figure.add_trace(straight([50, 50], [-0.6, rows.length - 0.4], "no use (50 %)", "dash", GREY))
    for kind, shift in (("margin", -0.14), ("agreement", 0.14)):
        name, colour, symbol = KINDS[kind]
        if found[kind]:
            figure.add_trace(dots(found[kind], name, colour, symbol, scale=100, shift=shift, told=percent_told))
    lowest = min(100 * (e.low if e.low is not None else e.value or 0.0) for _, e in drawn)
    figure.update_xaxes(range=[max(-2.0, min(38.0, lowest - 3)), 102])
    rows.name_gaps(figure, drawn)
    return rows.lay(figure, titled("Knows when to abstain?", view, 7), "right answer surer than a wrong, %")


def coverages(view: ReportView, task: TaskCard) -> Figure | None:
    """The risk–coverage curve of each model: what is wrong among the answers it is surest of, more of them further right."""
    found = _curves(view, task)
    if not found:
        return None
    figure = curves(found, _risk_told, scale=100, spread=0.8)
    for _, points in found:  # confidence of no use: the error rate, however few are answered
        rate = 100 * (points[-1][1].value or 0.0)
        trace = reference([8, 102], [rate, rate], "were confidence of no use")
        figure.add_trace(trace.update(line={"dash": "dot", "width": 1}, legendgroup="no use", showlegend=points is found[0][1]))
    top = max(100 * (e.high if e.high is not None else e.value or 0.0) for _, points in found for _, e in points)
    x = {"title": "answered, % of definite answers, surest first", "range": [6, 104], "dtick": 20, "tick0": 0}
    y = {"title": "wrong among them, %", "range": [-0.02 * top, 1.05 * max(top, 5)]}
    return finished(figure, f"{words.titles(view)[task.name]}: what is wrong if the unsure is left to a person", x, y)


def _curves(view: ReportView, task: TaskCard) -> list[tuple[str, Points]]:
    """Model → its points, by the margin or, where there is none, by the agreement of the wordings."""
    cell = next(iter(words.cells(view, task.name)), "")
    mine = words.select(words.unperturbed(view.estimates), "risk_at_coverage", task=task.name, cell=cell)
    found: list[tuple[str, Points]] = []
    for model in view.models:
        for kind in KINDS:
            own = [e for e in mine if e.by["model"] == model.name and e.by.get("confidence") == kind and e.value is not None]
            if own:
                found.append((model.name, sorted(((100 * float(e.by["coverage"]), e) for e in own), key=lambda p: p[0])))
                break
    return found


def _risk_told(e: Estimate) -> str:
    between = words.percent_interval(e)
    surest = f"of the {words.percent(float(e.by['coverage']))} it is surest of"
    return f"{safe(e.by['model'])}<br>{surest}<br>{words.percent(e.value)} wrong{f' ({between})' if between else ''}"


def reliability(view: ReportView, task: TaskCard) -> Figure | None:
    """The reliability curve of each model that gives probabilities: how often the condition is there, where it says how likely."""
    cell = next(iter(words.cells(view, task.name)), "")
    estimates = words.unperturbed(view.estimates)
    said = {_bin(e): e for e in words.select(estimates, "said_in_bin", task=task.name, cell=cell) if e.value is not None}
    found: list[tuple[str, Points]] = []
    for model in view.models:
        mine = words.select(estimates, "present_in_bin", task=task.name, cell=cell, model=model.name)
        own = [(100 * (said[_bin(e)].value or 0.0), e) for e in mine if e.value is not None and _bin(e) in said]
        if own:
            found.append((model.name, sorted(own, key=lambda p: p[0])))
    if not found:
        return None
    figure = curves(found, lambda e: _present_told(e, said[_bin(e)]), scale=100)
    figure.add_trace(reference([0, 100], [0, 100], "probabilities that mean what they say"))
    x = {"title": "probability it gives the condition, %", "range": [-2, 102], "dtick": 20}
    y = {"title": "cases that have it, %", "range": [-2, 102], "dtick": 20}
    return finished(figure, f"{words.titles(view)[task.name]}: do its probabilities mean what they say?", x, y)


def _bin(e: Estimate) -> tuple[str, str]:
    return e.by["model"], e.by.get("bin", "")


def _present_told(e: Estimate, said: Estimate) -> str:
    between = words.percent_interval(e)
    has = f"{words.percent(e.value)} of these cases have it{f' ({between})' if between else ''}"
    return f"{safe(e.by['model'])}<br>it gives {words.percent(said.value)}<br>{has}"
