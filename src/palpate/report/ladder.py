"""The chart of the information ladder: one line per model, from the pixels to the answer; where it falls, the knowledge is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from palpate.nouns import Estimate
from palpate.report import words
from palpate.report.chart_style import GREY, safe, styled
from palpate.report.view import ReportView, TaskCard

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

STAGES = {
    "metadata": "colours<br>alone",
    "vision": "vision<br>tower",
    "read": "its layer<br>that is read",
    "projector": "projector",
    "image": "language<br>model, image",
    "last": "language<br>model, question",
    "margin": "odds of<br>yes and no",
    "text": "answer<br>given",
    "description": "description,<br>read",
}
"""Stage → what it is called under the chart, in the order information flows."""
MARKS = (("#0072B2", "circle"), ("#E69F00", "diamond"), ("#009E73", "square"), ("#CC79A7", "cross"), ("#56B4E9", "star"))
LOSS, HEIGHT = "#D55E00", 420
HOVER = "%{customdata}<extra></extra>"


def ladder(view: ReportView, task: TaskCard) -> Figure | None:
    """Balanced accuracy of every stage on the task's main question, each model's largest loss marked. None without stages."""
    import plotly.graph_objects as go

    estimates = [e for e in words.unperturbed(view.estimates) if e.by.get("task") == task.name]
    by_model: dict[str, dict[str, Estimate]] = {}
    for cell in words.cells(view, task.name)[:1]:
        for e in words.select(estimates, "ladder_ba", cell=cell):
            if e.by["stage"] in STAGES and e.value is not None:
                by_model.setdefault(e.by["model"], {})[e.by["stage"]] = e
    models = [m.name for m in view.models if m.name in by_model]
    stages = [s for s in STAGES if any(s in by_model[m] for m in models)]
    if len(stages) < 2:
        return None
    figure = go.Figure()
    figure.add_trace(_chance(len(stages)))
    for at, model in enumerate(models):
        figure.add_trace(_line(model, by_model[model], stages, at, len(models)))
    lost = [e for e in words.select(estimates, "ladder_loss") if e.verdict == "bottleneck" and e.by["model"] in models]
    for e in lost:
        _mark(figure, e, by_model[e.by["model"]], stages, models)
    title = f"{words.titles(view)[task.name]}: what each stage knows. {_told(lost, models)}"
    figure.update_xaxes(
        title="from the image to the answer",
        tickvals=list(range(len(stages))),
        ticktext=[STAGES[s] for s in stages],
        fixedrange=True,
    )
    figure.update_yaxes(title="balanced accuracy", range=[0.38, 1.02], dtick=0.1, fixedrange=True)
    return styled(figure, title, HEIGHT)


def _told(lost: list[Estimate], models: list[str]) -> str:
    """What the chart's title says was found."""
    if not lost:
        return "No step is shown to lose it."
    named = "; ".join(f"{e.by['model']} loses {words.points(e.value)} points at the marked step" for e in lost)
    rest = len(models) - len({e.by["model"] for e in lost})
    return named + (f"; {rest} without a step shown." if rest else ".")


def _line(model: str, found: dict[str, Estimate], stages: list[str], at: int, count: int) -> Any:
    import plotly.graph_objects as go

    colour, symbol = MARKS[at % len(MARKS)]
    shown = [(i + 0.06 * (at - (count - 1) / 2), found[s]) for i, s in enumerate(stages) if s in found]
    return go.Scatter(
        x=[x for x, _ in shown],
        y=[e.value for _, e in shown],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [(e.high or e.value or 0.0) - (e.value or 0.0) for _, e in shown],
            "arrayminus": [(e.value or 0.0) - (e.low if e.low is not None else e.value or 0.0) for _, e in shown],
            "thickness": 1.2,
            "width": 3,
        },
        mode="lines+markers",
        name=safe(model),
        customdata=[_hover(model, e) for _, e in shown],
        hovertemplate=HOVER,
        line={"color": colour, "width": 2},
        marker={"color": colour, "symbol": symbol, "size": 9},
    )


def _mark(figure: Figure, e: Estimate, found: dict[str, Estimate], stages: list[str], models: list[str]) -> None:
    """The largest loss: a thick red line along its step, with its size."""
    import plotly.graph_objects as go

    first, second = e.by["step"].split(">")
    ends = [(s, found.get(s)) for s in (first, second)]
    if any(end is None for _, end in ends):
        return
    shift = 0.06 * (models.index(e.by["model"]) - (len(models) - 1) / 2)
    x = [stages.index(s) + shift for s, _ in ends]
    y = [end.value or 0.0 for _, end in ends if end is not None]
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            name="largest loss",
            line={"color": LOSS, "width": 6},
            opacity=0.55,
            hoverinfo="skip",
            showlegend=False,
        )
    )
    text = f"<b>−{words.points(e.value)} points</b>"
    figure.add_annotation(x=sum(x) / 2, y=sum(y) / 2, text=text, showarrow=False, font={"color": LOSS, "size": 12}, xshift=34)


def _chance(count: int) -> Any:
    import plotly.graph_objects as go

    style = {"color": GREY, "width": 2, "dash": "dash"}
    return go.Scatter(x=[-0.4, count - 0.6], y=[0.5, 0.5], mode="lines", name="guessing (0.50)", line=style, hoverinfo="skip")


def _hover(model: str, e: Estimate) -> str:
    stage = STAGES[e.by["stage"]].replace("<br>", " ")
    between = words.interval(e)
    bounds = f" ({between})" if between else ""
    return f"{safe(model)}<br>{stage}: {words.score(e.value)}{bounds}<br>{words.count(e.n_cases, 'image')}"
