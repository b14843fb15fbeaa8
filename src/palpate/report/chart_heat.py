"""Heat maps whose numbers are written in them, so that no colour needs to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from palpate.report.chart_rows import HOVER, short_name
from palpate.report.chart_style import styled
from palpate.report.view import ReportView

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CELL = 24  # pixels of a row
Shades = Sequence[tuple[float, str]]
SHADES: Shades = ((0.0, "rgba(0,114,178,0)"), (1.0, "rgba(0,114,178,.6)"))
"""From nothing to much. See-through, so that text stays legible on light and dark."""
EITHER_WAY: Shades = ((0.0, "rgba(213,94,0,.6)"), (0.5, "rgba(125,133,144,0)"), (1.0, "rgba(0,114,178,.6)"))
"""From the one direction over nothing to the other."""


def heat_map(
    view: ReportView,
    rows: Sequence[str],
    cells: Sequence[Sequence[tuple[float | None, str, str]]],
    *,
    title: str,
    columns: str,
    down: str,
    ends: tuple[float, float],
    shades: Shades = SHADES,
) -> Figure:
    """Rows down, models across; each of ``cells`` is its number, the text written in it, and the (safe) text of hovering."""
    import plotly.graph_objects as go

    figure = go.Figure(
        go.Heatmap(
            z=[[z for z, _, _ in row] for row in cells],
            x=list(range(len(view.models))),
            y=list(range(len(rows))),
            text=[[text for _, text, _ in row] for row in cells],
            texttemplate="%{text}",
            textfont={"size": 11},
            customdata=[[told for _, _, told in row] for row in cells],
            hovertemplate=HOVER,
            zmin=ends[0],
            zmax=ends[1],
            colorscale=[list(shade) for shade in shades],
            showscale=False,
            xgap=2,
            ygap=2,
        )
    )
    models = [short_name(m.name).replace("-", "-<br>", 1) for m in view.models]
    figure.update_xaxes(title=columns, tickvals=list(range(len(models))), ticktext=models, showgrid=False, fixedrange=True)
    figure.update_yaxes(
        title=down,
        tickvals=list(range(len(rows))),
        ticktext=[short_name(n) for n in rows],
        autorange="reversed",
        showgrid=False,
        fixedrange=True,
    )
    return styled(figure, title, 120 + CELL * len(rows))
