"""Curves, a model each: told apart by colour, marker and dash, with the interval of every point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from palpate.nouns import Estimate
from palpate.report.chart_rows import HOVER, error_bars, short_name, straight
from palpate.report.chart_style import GREY, styled

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MARKS = (
    ("#0072B2", "circle", "solid"),
    ("#E69F00", "diamond", "dash"),
    ("#009E73", "square", "dot"),
    ("#CC79A7", "triangle-up", "dashdot"),
    ("#D55E00", "x", "solid"),
    ("#56B4E9", "star", "dash"),
)
"""Colour (Okabe and Ito 2008), marker and dash of each model in turn."""
HEIGHT = 330
Points = Sequence[tuple[float, Estimate]]


def curves(
    found: Sequence[tuple[str, Points]], told: Callable[[Estimate], str], *, scale: float = 1.0, spread: float = 0.0
) -> Figure:
    """A curve for each (model, its points (x, estimate)), set ``spread`` apart so that no interval hides another."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for at, (model, points) in enumerate(found):
        colour, symbol, dash = MARKS[at % len(MARKS)]
        aside = spread * (at - (len(found) - 1) / 2)
        figure.add_trace(
            go.Scatter(
                x=[x + aside for x, _ in points],
                y=[scale * (e.value or 0.0) for _, e in points],
                error_y=error_bars([e for _, e in points], scale) | {"thickness": 1.1, "width": 2},
                mode="lines+markers",
                name=short_name(model),
                customdata=[told(e) for _, e in points],
                hovertemplate=HOVER,
                line={"color": colour, "width": 2, "dash": dash},
                marker={"color": colour, "symbol": symbol, "size": 8},
            )
        )
    return figure


def reference(x: Sequence[float], y: Sequence[float], name: str) -> Any:
    """A line to read the curves against."""
    return straight(x, y, name, "longdash", GREY)


def finished(figure: Figure, title: str, x: dict[str, Any], y: dict[str, Any], height: int = HEIGHT) -> Figure:
    """The figure with its axes and title, in the report's style."""
    figure.update_xaxes(**x)
    figure.update_yaxes(**y)
    return styled(figure, title, height)
