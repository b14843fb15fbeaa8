"""How every chart looks, and how text from outside stays text in it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from palpate.report import words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

GREY, GRID = "#7d8590", "rgba(125,133,144,.25)"


def safe(text: str) -> str:
    """Plotly reads a little HTML and its own ``%{…}`` in texts: what comes from outside must stay text."""
    return escape(words.line(text), quote=False).replace("{", "&#123;").replace("$", "&#36;")


def styled(figure: Figure, title: str, height: int) -> Figure:
    """The figure with the report's fonts, margins and title, ``height`` pixels high; changed in place."""
    figure.update_layout(
        title={"text": safe(title), "x": 0, "xref": "paper", "automargin": True, "yref": "container", "font": {"size": 15}},
        height=height,
        margin={"l": 8, "r": 14, "t": 8, "b": 8},
        template={},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12, "color": GREY},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "xanchor": "left", "font": {"size": 12}},
        hoverlabel={"align": "left"},
        hovermode="closest",
    )
    figure.update_xaxes(title_font_size=12, automargin=True, gridcolor=GRID, zeroline=False, title_standoff=8)
    figure.update_yaxes(title_font_size=12, automargin=True, gridcolor=GRID, zeroline=False, title_standoff=8, ticks="")
    return figure
