"""Charts from estimates alone: each returns a plotly Figure, or None where there is nothing to draw. No HTML here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from palpate.nouns import Form
from palpate.report import words
from palpate.report.chart_heat import heat_map
from palpate.report.chart_rows import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    Row,
    Rows,
    asked,
    bands,
    by_task,
    dots,
    percent_told,
    points_told,
    score_told,
    straight,
    titled,
)
from palpate.report.chart_style import GREY, safe
from palpate.report.factor_charts import in_order
from palpate.report.view import ReportView, TaskCard

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FORM_MARKS = {Form.YES_NO: (BLUE, "circle"), Form.AB: (ORANGE, "diamond"), Form.BA: (GREEN, "square")}


def accuracy(view: ReportView) -> Figure | None:
    """Balanced accuracy of every model on every task's main question: intervals, the chance line, the best possible."""
    import plotly.graph_objects as go

    estimates = words.unperturbed(view.estimates)
    rows, whole = by_task(view, estimates, "ba_all")
    if not whole:
        return None
    answered = by_task(view, estimates, "ba_answered")[1]
    apart = [(r, e) for r, e in answered for s, f in whole if s.y == r.y and abs((e.value or 0.0) - (f.value or 0.0)) >= 0.005]
    figure = go.Figure()
    figure.add_trace(straight([0.5, 0.5], [-0.6, rows.length - 0.4], "chance (0.50)", "dash", GREY))
    best: tuple[list[float | None], list[float | None]] = ([], [])
    for task in view.tasks:
        mine = [r.y for r in rows.rows if r.group == task.name]
        if mine and task.best_accuracy is not None:
            best[0].extend((task.best_accuracy, task.best_accuracy, None))
            best[1].extend((mine[0] - 0.45, mine[-1] + 0.45, None))
    if best[0]:
        figure.add_trace(straight(*best, "best possible", "solid", GREEN))
    figure.add_trace(dots(whole, "all questions", BLUE, "circle", told=score_told))
    if apart:
        figure.add_trace(dots(apart, "answered ones only", ORANGE, "diamond-open", shift=0.24, told=score_told))
    lowest = min(e.low if e.low is not None else e.value or 0.0 for _, e in [*whole, *apart])
    figure.update_xaxes(range=[max(-0.02, min(0.38, lowest - 0.03)), 1.02], dtick=0.1)
    rows.name_gaps(figure, whole)
    return rows.lay(figure, titled("Better than chance?", view, 1), "balanced accuracy, 0 to 1")


def spreads(view: ReportView) -> Figure | None:
    """The spread that wording makes, with its interval, beside the plain spread and the band that sampling alone gives."""
    import plotly.graph_objects as go

    estimates = words.unperturbed(view.estimates)
    rows, corrected = by_task(view, estimates, "prompt_spread")
    if not corrected:
        return None
    naive = [(r, e) for r, e in by_task(view, estimates, "prompt_spread_naive")[1] if any(s.y == r.y for s, _ in corrected)]
    null = [(r, e) for r, e in by_task(view, estimates, "prompt_spread_null")[1] if any(s.y == r.y for s, _ in corrected)]
    figure = go.Figure()
    figure.add_trace(bands(null, "sampling alone would give (95 %)", 100, [(e.low, e.high) for _, e in null]))
    figure.add_trace(dots(naive, "seen", PURPLE, "line-ns-open", scale=100, told=points_told, size=14, line=3))
    figure.add_trace(dots(corrected, "made by the wording", BLUE, "circle", scale=100, told=points_told))
    top = max([100 * (e.high or e.value or 0.0) for _, e in [*corrected, *null, *naive]] + [5.0])
    figure.update_xaxes(range=[-0.02 * top, 1.04 * top])
    rows.name_gaps(figure, corrected)
    return rows.lay(figure, titled("Depends on the wording?", view, 2), "spread (sd), points")


def wordings(view: ReportView, task: TaskCard) -> Figure | None:
    """Each wording's balanced accuracy: a row a model, a group an intent cell; the band is where no effect would scatter them."""
    import plotly.graph_objects as go

    estimates = [e for e in words.unperturbed(view.estimates) if e.by.get("task") == task.name]
    each = {
        (c, m.name): [
            e
            for e in words.select(estimates, "ba_all", keys=("model", "task", "cell", "prompt"), model=m.name, cell=c)
            if e.value is not None
        ]
        for c in words.cells(view, task.name)
        for m in view.models
    }
    names = list(dict.fromkeys(c for (c, _), found in each.items() if found))
    if not names:
        return None
    rows = Rows([(c, [m.name for m in view.models if each[c, m.name]]) for c in names], names={c: f"question: {c}" for c in names})
    figure = go.Figure()
    widest = []
    for row in rows.rows:
        by = {"model": row.key, "task": task.name, "cell": row.group}
        mean, null = words.one(estimates, "ba_all", **by), words.one(estimates, "prompt_range_null", **by)
        if mean is not None and mean.value is not None and null is not None and null.high is not None:
            widest.append((row, null, (mean.value - null.high / 2, mean.value + null.high / 2)))
    figure.add_trace(bands([(r, e) for r, e, _ in widest], "widest if wording made no difference", 1, [b for *_, b in widest]))
    figure.add_trace(straight([0.5, 0.5], [-0.6, rows.length - 0.4], "chance (0.50)", "dash", GREY))
    prompts = {p.name: p for p in view.prompts[task.name]}
    for form, (colour, symbol) in FORM_MARKS.items():
        drawn = [
            (r, e)
            for r in rows.rows
            for e in each[r.group, r.key]
            if e.by["prompt"] in prompts and prompts[e.by["prompt"]].form is form
        ]
        if drawn:
            texts = [asked(e, prompts[e.by["prompt"]].text) for _, e in drawn]
            figure.add_trace(dots(drawn, words.FORMS[form], colour, symbol, bars=False, texts=texts, size=9))
    values = [e.value or 0.0 for found in each.values() for e in found]
    figure.update_xaxes(range=[max(-0.02, min(0.38, min(values) - 0.05)), 1.02], dtick=0.1)
    title = f"{words.titles(view)[task.name]}: each dot is one wording"
    return rows.lay(figure, title, "balanced accuracy, 0 to 1", height=132)


def refusals(view: ReportView) -> Figure | None:
    """Questions without a definite answer, where the condition is present and where it is absent."""
    import plotly.graph_objects as go

    estimates = words.unperturbed(view.estimates)
    rows, present = by_task(view, estimates, "no_answer_rate", **{"class": "positive"})
    absent = by_task(view, estimates, "no_answer_rate", **{"class": "negative"})[1]
    if not present and not absent:
        return None
    figure = go.Figure()
    for found, name, colour, symbol, shift in (
        (present, "condition present", ORANGE, "diamond", -0.15),
        (absent, "condition absent", BLUE, "circle", 0.15),
    ):
        figure.add_trace(dots(found, name, colour, symbol, scale=100, shift=shift, told=percent_told))
    top = max([100 * (e.high if e.high is not None else e.value or 0.0) for _, e in [*present, *absent]] + [5.0])
    figure.update_xaxes(range=[-0.02 * top, min(102.0, 1.05 * top)])
    rows.name_gaps(figure, [*present, *absent])
    return rows.lay(figure, titled("Refuses?", view, 3), "no definite answer, %")


def silences(view: ReportView, task: TaskCard) -> Figure | None:
    """How often each wording got no definite answer: a row a wording, a column a model. None where every one always did."""
    estimates = [e for e in words.unperturbed(view.estimates) if e.by.get("task") == task.name]
    names = [p.name for p in in_order(view, task, (p for p in view.prompts.get(task.name, ()) if p.form.closed))]
    keys = ("model", "task", "cell", "prompt")
    rates = {(e.by["prompt"], e.by["model"]): e.value for e in words.select(estimates, "no_answer_rate", keys=keys)}
    if not any(rates.values()):
        return None
    top = max([10.0, *(100 * v for v in rates.values() if v is not None)])
    cells = [[_silence(m.name, p, rates.get((p, m.name))) for m in view.models] for p in names]
    title = f"{words.titles(view)[task.name]}: no definite answer, by wording"
    return heat_map(view, names, cells, title=title, columns="model (% of questions)", down="wording", ends=(0, top))


def _silence(model: str, prompt: str, rate: float | None) -> tuple[float | None, str, str]:
    told = f"{safe(model)}, {safe(prompt)}: {words.percent(rate)} without a definite answer"
    return None if rate is None else 100 * rate, words.percent(rate).replace(" %", ""), told


def pairs(view: ReportView) -> Figure | None:
    """Tuned minus base on the same images and wordings: a forest plot with the zone that counts as no difference."""
    import plotly.graph_objects as go

    estimates = words.unperturbed(view.estimates)
    found = {}
    for task in view.tasks:
        for cell in words.cells(view, task.name)[:1]:
            mine = words.select(estimates, "delta_ba_all", task=task.name, cell=cell)
            found[task.name] = [e for e in mine if e.value is not None]
    if not any(found.values()):
        return None
    rows = Rows(
        [(t, [f"{e.by['tuned']} − {e.by['base']}" for e in mine]) for t, mine in found.items() if mine], names=words.labels(view)
    )
    drawn = list(zip(rows.rows, [e for mine in found.values() for e in mine], strict=True))
    rows.rows = [Row(r.y, e.by["tuned"], r.group, r.key) for r, e in drawn]
    wider = [
        (r, w) for r, e in drawn for w in [words.one(estimates, "delta_ba_all_over_wordings", **e.by)] if w and w.value is not None
    ]
    figure = go.Figure()
    zone = 100 * view.thresholds.equivalence
    figure.add_vrect(x0=-zone, x1=zone, fillcolor=GREY, opacity=0.18, line_width=0, layer="below")
    figure.add_trace(straight([0, 0], [-0.6, rows.length - 0.4], f"equal (grey: ±{zone:g} points)", "dash", GREY))
    figure.add_trace(dots(drawn, "these wordings", BLUE, "square", scale=100, told=points_told))
    if wider:
        figure.add_trace(dots(wider, "any such wordings", ORANGE, "square-open", scale=100, shift=0.24, told=points_told))
    ends = [100 * abs(x) for _, e in [*drawn, *wider] for x in (e.low, e.high, e.value) if x is not None]
    reach = 1.06 * max([*ends, 2 * zone])
    figure.update_xaxes(range=[-reach, reach])
    return rows.lay(figure, titled("Did tuning help? Tuned minus base.", view, 4), "balanced accuracy, points")
