"""Charts from estimates alone. Each returns a plotly Figure, or None where there is nothing to show; no HTML here.

Colours are Okabe and Ito's, told apart by colour-blind readers; models differ in marker shape too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from palpate.nouns import Estimate
from palpate.report.view import ReportView, TaskCard
from palpate.report.words import cells, one, points, score, select

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
MARKERS = ("circle", "diamond", "square", "triangle-up", "cross", "star", "pentagon", "hexagon")
GREY = "#8a8f98"
EQUIVALENCE = 0.05  # the zone within which a difference counts as none (METHODS D2: ±5 points)
MARGINS = {"l": 12, "r": 16, "t": 12, "b": 12}


def accuracy(view: ReportView) -> Figure | None:
    """Balanced accuracy of every model on every task's main question, with intervals, the chance line and the best possible."""
    import plotly.graph_objects as go

    rows = [t for t in view.tasks if cells(view, t.name)]
    if not rows:
        return None
    figure = go.Figure()
    for m, model in enumerate(view.models):
        found = [
            (i, one(view.estimates, "ba_all", model=model.name, task=t.name, cell=cells(view, t.name)[0]))
            for i, t in enumerate(rows)
        ]
        drawn = [(i, e) for i, e in found if e is not None and e.value is not None]
        figure.add_trace(
            go.Scatter(
                x=[i + _offset(m, len(view.models)) for i, _ in drawn],
                y=[e.value for _, e in drawn],
                error_y=_bars([e for _, e in drawn]),
                name=_safe(model.name),
                customdata=[f"{_safe(rows[i].title)}: {_told(e)}" for i, e in drawn],
                hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
                mode="markers",
                marker=_marker(m),
            )
        )
    for i, task in enumerate(rows):
        if task.best_accuracy is not None:
            figure.add_shape(
                type="line",
                x0=i - 0.42,
                x1=i + 0.42,
                y0=task.best_accuracy,
                y1=task.best_accuracy,
                line={"color": GREY, "width": 2},
            )
            figure.add_annotation(
                x=i, y=task.best_accuracy, text=f"best possible {task.best_accuracy:.3g}", showarrow=False, yshift=9, font_size=11
            )
    figure.add_hline(y=0.5, line_dash="dash", line_color=GREY)
    figure.add_annotation(x=1, xref="paper", y=0.5, text="chance", showarrow=False, yshift=8, xanchor="right", font_size=11)
    figure.update_xaxes(
        tickvals=list(range(len(rows))), ticktext=[_wrapped(t.title) for t in rows], range=[-0.55, len(rows) - 0.45]
    )
    figure.update_yaxes(title="balanced accuracy (unanswered counted wrong)", range=[0, 1.06], dtick=0.1)
    return _styled(figure, 430)


def wordings(view: ReportView, task: TaskCard) -> Figure | None:
    """Each wording's balanced accuracy, one row a model; the grey band: where they would fall if wording made no difference."""
    import plotly.graph_objects as go

    names = cells(view, task.name)
    if not names:
        return None
    figure = go.Figure()
    texts = {p.name: p.text.replace("\n", " / ") for p in view.prompts[task.name]}
    for m, model in enumerate(view.models):
        by = {"model": model.name, "task": task.name, "cell": names[0]}
        each = [e for e in select(view.estimates, "ba_all", keys=("model", "task", "cell", "prompt"), **by) if e.value is not None]
        mean, null = one(view.estimates, "ba_all", **by), one(view.estimates, "prompt_range_null", **by)
        if not each or mean is None or mean.value is None:
            continue
        if null is not None and null.high is not None:
            band = [mean.value - null.high / 2, mean.value + null.high / 2]
            figure.add_trace(
                go.Scatter(
                    x=band,
                    y=[m, m],
                    mode="lines",
                    line={"color": "rgba(138,143,152,.35)", "width": 18},
                    name="if wording made no difference (95 %)",
                    showlegend=m == 0,
                    legendgroup="null",
                    hovertemplate=f"95 % of ranges under no wording effect: {points(null.high)} points<extra></extra>",
                )
            )
        figure.add_trace(
            go.Scatter(
                x=[e.value for e in each],
                y=[m] * len(each),
                mode="markers",
                name=_safe(model.name),
                showlegend=False,
                customdata=[f"{_safe(e.by['prompt'])}: {_told(e)}<br>“{_safe(texts.get(e.by['prompt'], ''))}”" for e in each],
                hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
                marker={**_marker(m), "opacity": 0.85, "line": {"width": 1, "color": "#fff"}},
            )
        )
    figure.add_vline(x=0.5, line_dash="dash", line_color=GREY)
    drawn = [v for trace in figure.data for v in trace.x]
    span = [min([0.45, *(v - 0.03 for v in drawn)]), max([0.55, *(v + 0.03 for v in drawn)])]
    figure.update_xaxes(title="balanced accuracy of one wording (dashed: chance)", range=span, dtick=0.1)
    figure.update_yaxes(
        tickvals=list(range(len(view.models))), ticktext=[_safe(m.name) for m in view.models], range=[len(view.models) - 0.4, -0.6]
    )
    return _styled(figure, 110 + 46 * len(view.models))


def spreads(view: ReportView) -> Figure | None:
    """Prompt spread after noise correction with its interval, beside the uncorrected spread and its null, per model and task."""
    import plotly.graph_objects as go

    rows: list[tuple[str, Estimate, Estimate | None, Estimate | None]] = []
    for task in view.tasks:
        for model in view.models:
            for cell in cells(view, task.name)[:1]:
                by = {"model": model.name, "task": task.name, "cell": cell}
                spread = one(view.estimates, "prompt_spread", **by)
                if spread is not None and spread.value is not None:
                    label = f"{_safe(task.condition)} · {_safe(model.name)}"
                    rows.append(
                        (
                            label,
                            spread,
                            one(view.estimates, "prompt_spread_naive", **by),
                            one(view.estimates, "prompt_spread_null", **by),
                        )
                    )
    if not rows:
        return None
    at = list(range(len(rows)))
    figure = go.Figure()
    for i, (_, _, _, null) in enumerate(rows):
        if null is not None and null.low is not None and null.high is not None:
            figure.add_shape(
                type="rect",
                x0=100 * null.low,
                x1=100 * null.high,
                y0=i - 0.3,
                y1=i + 0.3,
                fillcolor=GREY,
                opacity=0.3,
                line_width=0,
            )
    naive = [(i, n.value) for i, (_, _, n, _) in enumerate(rows) if n is not None and n.value is not None]
    figure.add_trace(
        go.Scatter(
            x=[100 * v for _, v in naive],
            y=[i for i, _ in naive],
            mode="markers",
            name="uncorrected",
            marker={"symbol": "line-ns-open", "size": 13, "color": GREY, "line": {"width": 2}},
            hovertemplate="uncorrected %{x:.1f} points<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[100 * (e.value or 0.0) for _, e, _, _ in rows],
            y=at,
            error_x=_bars([e for _, e, _, _ in rows], 100),
            mode="markers",
            name="noise removed, with interval",
            marker={"symbol": "circle", "size": 9, "color": COLOURS[0]},
            customdata=[e.verdict or "" for _, e, _, _ in rows],
            hovertemplate="%{x:.1f} points: %{customdata}<extra></extra>",
        )
    )
    figure.update_xaxes(
        title="spread over wordings, points of balanced accuracy (grey: what no wording effect gives)", rangemode="tozero"
    )
    figure.update_yaxes(tickvals=at, ticktext=[label for label, *_ in rows], range=[len(rows) - 0.4, -0.6])
    return _styled(figure, 130 + 24 * len(rows))


def refusals(view: ReportView) -> Figure | None:
    """How often each wording got no definite answer: one row a model and task, one column a wording."""
    import plotly.graph_objects as go

    columns = list(dict.fromkeys(p.name for t in view.tasks for p in view.prompts[t.name] if p.form.closed))
    labels, values = [], []
    for task in view.tasks:
        for model in view.models:
            found = {
                e.by["prompt"]: e.value
                for e in select(
                    view.estimates, "no_answer_rate", keys=("model", "task", "cell", "prompt"), model=model.name, task=task.name
                )
            }
            if any(v is not None for v in found.values()):
                labels.append(f"{_safe(task.condition)} · {_safe(model.name)}")
                values.append([None if found.get(c) is None else 100 * (found[c] or 0.0) for c in columns])
    if not labels:
        return None
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[_safe(c) for c in columns],
            y=labels,
            zmin=0,
            zmax=100,
            colorscale=[[0, "rgba(0,114,178,.06)"], [1, "rgb(0,60,110)"]],
            colorbar={"title": {"text": "no answer, %", "side": "right"}, "thickness": 12},
            hovertemplate="%{y}<br>%{x}: %{z:.1f} % without a definite answer<extra></extra>",
            xgap=1,
            ygap=1,
        )
    )
    figure.update_xaxes(title="wording", tickangle=-40)
    figure.update_yaxes(autorange="reversed")
    return _styled(figure, max(260, 170 + 24 * len(labels)))


def pairs(view: ReportView) -> Figure | None:
    """Tuned minus base on the same images and wordings: a forest plot with the zone that counts as no difference."""
    import plotly.graph_objects as go

    titles = {t.name: t.condition for t in view.tasks}
    rows = [
        e
        for e in select(view.estimates, "delta_ba_all")
        if e.value is not None and e.by.get("cell") == (cells(view, e.by["task"]) or [""])[0]
    ]
    if not rows:
        return None
    figure = go.Figure(
        go.Scatter(
            x=[100 * (e.value or 0.0) for e in rows],
            y=list(range(len(rows))),
            error_x=_bars(rows, 100),
            mode="markers",
            marker={"size": 10, "color": COLOURS[0], "symbol": "square"},
            customdata=[e.verdict or "" for e in rows],
            hovertemplate="%{x:+.1f} points: %{customdata}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_vrect(x0=-100 * EQUIVALENCE, x1=100 * EQUIVALENCE, fillcolor=GREY, opacity=0.2, line_width=0)
    figure.add_vline(x=0, line_color=GREY)
    figure.update_xaxes(title="tuned minus base, points of balanced accuracy (grey: counts as equivalent)")
    ticks = [f"{_safe(titles.get(e.by['task'], e.by['task']))} · {_safe(e.by['tuned'])}" for e in rows]
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=ticks, range=[len(rows) - 0.4, -0.6])
    return _styled(figure, 110 + 30 * len(rows))


def _offset(number: int, of: int) -> float:
    return 0.0 if of == 1 else (number - (of - 1) / 2) * min(0.18, 0.7 / of)


def _marker(number: int) -> dict[str, object]:
    return {"color": COLOURS[number % len(COLOURS)], "symbol": MARKERS[number % len(MARKERS)], "size": 10}


def _bars(estimates: Sequence[Estimate], scale: float = 1.0) -> dict[str, object]:
    above = [scale * (e.high - e.value) if e.high is not None and e.value is not None else 0.0 for e in estimates]
    below = [scale * (e.value - e.low) if e.low is not None and e.value is not None else 0.0 for e in estimates]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.5, "width": 4}


def _told(e: Estimate) -> str:
    bounds = f" ({e.low:.2f}–{e.high:.2f})" if e.low is not None and e.high is not None else ""
    return f"{score(e.value)}{bounds}" + (f", {_safe(e.verdict)}" if e.verdict else "")


def _safe(text: str) -> str:
    """Plotly reads a little HTML in its texts: what comes from outside must stay text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _wrapped(text: str, width: int = 18) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(_safe(line) for line in lines)


def _styled(figure: Figure, height: int) -> Figure:
    figure.update_layout(
        height=height,
        margin=MARGINS,
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13, "color": GREY},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        hoverlabel={"align": "left"},
    )
    figure.update_xaxes(automargin=True, gridcolor="rgba(138,143,152,.25)", zeroline=False, title_standoff=10)
    figure.update_yaxes(automargin=True, gridcolor="rgba(138,143,152,.25)", zeroline=False, title_standoff=10)
    return figure
