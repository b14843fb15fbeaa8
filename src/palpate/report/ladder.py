"""The chart of the information ladder: a model on a task, from the pixels down to the answer; where it falls, knowledge is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from palpate.nouns import Estimate
from palpate.report import words
from palpate.report.bottleneck import Bottleneck, bottleneck
from palpate.report.chart_style import GREY, styled
from palpate.report.view import ReportView, TaskCard

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

STAGES = {
    "metadata": "colours alone",
    "vision": "vision tower,<br>its best layer",
    "read": "the layer<br>handed on",
    "projector": "projector",
    "image": "language model,<br>at the image",
    "last": "language model,<br>at the question",
    "margin": "odds of<br>yes and no",
    "text": "answer given",
    "description": "description,<br>read by another",
}
"""Stage → what its row is called, in the order information flows. The first is for comparison: nothing flows from it."""
BESIDE = ("metadata", "description")
"""Stages that nothing flows through: what needs no looking, and what others make of what the model describes."""
PARTS = (
    ("sees", "vision", "read"),
    ("passes on", "projector", "projector"),
    ("thinks", "image", "last"),
    ("says", "margin", "text"),
)
"""What the stages from one to another do, written into them."""
BLUE, LOSS = "#0072B2", "#D55E00"
ROW, HEIGHT = 44, 92
LEFT, RIGHT = 0.36, 1.03  # of the axis, where no interval begins further left
HOVER = "%{customdata}<extra></extra>"
By = dict[str, Estimate]


def ladders(view: ReportView) -> list[Figure]:
    """One chart per task and model whose stages were probed, on the task's main question."""
    return [figure for task in view.tasks for model in view.models if (figure := ladder(view, task, model.name)) is not None]


def ladder(view: ReportView, task: TaskCard, model: str) -> Figure | None:
    """Balanced accuracy of every stage, from the image down to the answer, the largest loss marked. None without stages."""
    import plotly.graph_objects as go

    asked = [p for p in view.prompts.get(task.name, ()) if p.form.closed]
    cell = next(iter(words.cells(view, task.name)), "")
    estimates = words.unperturbed(view.estimates)
    mine = words.select(estimates, "ladder_ba", model=model, task=task.name, cell=cell)
    found = {e.by["stage"]: e for e in mine if e.by["stage"] in STAGES and e.value is not None}
    stages = [s for s in STAGES if s in found]
    if len(stages) < 2:
        return None
    lost = bottleneck(estimates, model, task.name, cell, next((p.name for p in asked if p.cell == cell), ""))
    figure = go.Figure([_chance(len(stages)), *_walk(found, stages)])
    _name_parts(figure, stages)
    if lost is not None and lost.step is not None:
        _mark(figure, lost, found, stages)
    told = "" if lost is None else f": {lost.told}"
    figure.update_yaxes(
        tickvals=list(range(len(stages))),
        ticktext=[STAGES[s] for s in stages],
        range=[len(stages) - 0.4, -0.75],
        fixedrange=True,
        showgrid=False,
    )
    figure.update_xaxes(
        title="balanced accuracy (1: always right)",
        range=[_left(found), RIGHT],
        dtick=0.1,
        fixedrange=True,
    )
    titled = styled(figure, f"{words.line(model)} on {words.labels(view)[task.name]}{told}.", HEIGHT + ROW * len(stages))
    return titled.update_layout(showlegend=False)


def _walk(found: By, stages: list[str]) -> list[Any]:
    """The stages as dots with their intervals, joined where information flows from one to the next."""
    import plotly.graph_objects as go

    flows = [s for s in stages if s not in BESIDE]
    dots = []
    kinds = (
        (["metadata"], "circle-open", GREY, "markers"),
        (flows, "circle", BLUE, "lines+markers"),
        (["description"], "diamond", BLUE, "markers"),
    )
    for names, mark, colour, mode in kinds:
        shown = [found[s] for s in names if s in found]
        if not shown:
            continue
        value = [e.value or 0.0 for e in shown]
        dots.append(
            go.Scatter(
                x=value,
                y=[stages.index(e.by["stage"]) for e in shown],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [(e.high if e.high is not None else v) - v for e, v in zip(shown, value, strict=True)],
                    "arrayminus": [v - (e.low if e.low is not None else v) for e, v in zip(shown, value, strict=True)],
                    "thickness": 1.3,
                    "width": 4,
                },
                mode=mode,
                customdata=[_hover(e) for e in shown],
                hovertemplate=HOVER,
                line={"color": colour, "width": 2},
                marker={"color": colour, "symbol": mark, "size": 10},
            )
        )
    return dots


def _mark(figure: Figure, lost: Bottleneck, found: By, stages: list[str]) -> None:
    """The largest loss: a thick line along its step, with its size and what kind of loss it is."""
    import plotly.graph_objects as go

    assert lost.step is not None
    assert lost.loss is not None
    if any(s not in found for s in lost.step):
        return
    x, y = [found[s].value or 0.0 for s in lost.step], [stages.index(s) for s in lost.step]
    line = {"color": LOSS, "width": 7}
    figure.add_trace(go.Scatter(x=x, y=y, mode="lines", name="largest loss", line=line, opacity=0.6, hoverinfo="skip"))
    text = f"<b>{words.MINUS}{words.in_points(lost.loss.value)}</b><br>lost here"
    room = min(x) - _left(found) > 0.25  # on the left of the step, where the line does not go, unless it is too near the edge
    figure.add_annotation(
        x=min(x) if room else max(x),
        y=sum(y) / 2,
        xanchor="right" if room else "left",
        xshift=-14 if room else 14,
        text=text,
        align="right" if room else "left",
        showarrow=False,
        font={"color": LOSS, "size": 12},
    )


def _name_parts(figure: Figure, stages: list[str]) -> None:
    """A faint band behind every other part of the model, and its name at the left."""
    for at, (name, first, last) in enumerate(PARTS):
        rows = [i for i, s in enumerate(stages) if s in list(STAGES)[list(STAGES).index(first) : list(STAGES).index(last) + 1]]
        if not rows:
            continue
        if at % 2 == 0:
            figure.add_shape(
                type="rect",
                xref="paper",
                x0=0,
                x1=1,
                y0=rows[0] - 0.5,
                y1=rows[-1] + 0.5,
                fillcolor=GREY,
                opacity=0.1,
                line_width=0,
                layer="below",
            )
        figure.add_annotation(
            xref="paper", x=0, xanchor="left", y=rows[0] - 0.32, text=f"<i>{name}</i>", showarrow=False, font_size=11, xshift=2
        )


def _left(found: By) -> float:
    """Where the axis begins: further left where an interval does, as of answers left open."""
    return max(-0.02, min(LEFT, *(e.low - 0.03 for e in found.values() if e.low is not None), LEFT))


def _chance(count: int) -> Any:
    import plotly.graph_objects as go

    style = {"color": GREY, "width": 2, "dash": "dash"}
    at = {"x": [0.5, 0.5], "y": [-0.45, count - 0.5], "text": ["guessing", ""], "textposition": "top center"}
    return go.Scatter(**at, mode="lines+text", name="guessing (0.50)", line=style, textfont_size=11, hoverinfo="skip")


def _hover(e: Estimate) -> str:
    between = words.interval(e)
    bounds = f" ({between})" if between else ""
    return f"{STAGES[e.by['stage']].replace('<br>', ' ')}: {words.score(e.value)}{bounds}<br>{words.count(e.n_cases, 'image')}"
