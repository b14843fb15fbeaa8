"""What charts of rows under headings are made of: rows, dots with intervals, bands, lines, and the words a chart shows.

Rows are grouped under headings and named on the axis, so the charts read the same on a phone as on a wide screen and need no
colour to be understood. Colours are Okabe and Ito's (2008), told apart by colour-blind readers; shapes differ too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from palpate.nouns import Estimate
from palpate.report import words
from palpate.report.chart_style import safe, styled
from palpate.report.findings import findings, tally
from palpate.report.view import ReportView

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
BAND = "rgba(125,133,144,.38)"
ROW = 26  # pixels of a row of a dot plot
LONGEST = 32  # characters of a name on a chart
HOVER = "%{customdata}<extra></extra>"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a dot plot: where it is, its name, and whose it is."""

    y: float
    name: str
    group: str
    key: str


class Rows:
    """Rows under headings, from the top."""

    def __init__(
        self, groups: Iterable[tuple[str, Sequence[str]]], *, names: dict[str, str] | None = None, headed: bool = True
    ) -> None:
        self.rows: list[Row] = []
        self.headings: list[tuple[float, str]] = []
        at = 0.0
        for group, keys in groups:
            if headed:
                self.headings.append((at + 0.15, (names or {}).get(group, group)))
                at += 1
            for key in keys:
                self.rows.append(Row(at, key, group, key))
                at += 1
        self.length = at

    def name_gaps(self, figure: Figure, drawn: Drawn) -> None:
        """Says in the chart where a row has no number."""
        have = {row.y for row, _ in drawn}
        for row in self.rows:
            if row.y not in have:
                text = f"<i>{words.NOT_MEASURED}</i>"
                figure.add_annotation(
                    x=0, xref="paper", xanchor="left", y=row.y, text=text, showarrow=False, font_size=11, xshift=2
                )

    def lay(self, figure: Figure, title: str, x: str, height: int = 112) -> Figure:
        """Names on the axis, headings over their rows, the height that fits."""
        for y, text in self.headings:
            figure.add_annotation(
                x=0,
                xref="paper",
                xanchor="left",
                y=y,
                text=f"<b>{short_name(text)}</b>",
                showarrow=False,
                font={"size": 13},
                xshift=2,
            )
        figure.update_yaxes(
            tickvals=[r.y for r in self.rows],
            ticktext=[short_name(r.name) for r in self.rows],
            range=[self.length - 0.4, -0.6],
            fixedrange=True,
            title=None,
            showgrid=False,
        )
        figure.update_xaxes(title=x)
        return styled(figure, title, round(height + ROW * self.length))


# ---------------------------------------------------------------- traces

Drawn = Sequence[tuple[Row, Estimate]]


def by_task(view: ReportView, estimates: Sequence[Estimate], measure: str, **by: str) -> tuple[Rows, list[tuple[Row, Estimate]]]:
    """Rows of all models under each task with closed questions, and the measure's defined estimates on them."""
    tasks = [t.name for t in view.tasks if words.cells(view, t.name)]
    rows = Rows([(t, [m.name for m in view.models]) for t in tasks], names=words.labels(view))
    mine = [e for e in estimates if e.measure == measure]
    found = []
    for row in rows.rows:
        e = words.one(mine, measure, model=row.key, task=row.group, cell=words.cells(view, row.group)[0], **by)
        if e is not None and e.value is not None:
            found.append((row, e))
    return rows, found


def dots(
    drawn: Drawn,
    name: str,
    colour: str,
    symbol: str,
    *,
    scale: float = 1.0,
    shift: float = 0.0,
    told: Any = None,
    texts: Sequence[str] | None = None,
    bars: bool = True,
    size: int = 10,
    line: float = 2,
) -> Any:
    """One marker a row at the estimate's value, with its interval unless ``bars`` is False."""
    import plotly.graph_objects as go

    return go.Scatter(
        x=[scale * (e.value or 0.0) for _, e in drawn],
        y=[r.y + shift for r, _ in drawn],
        error_x=error_bars([e for _, e in drawn], scale) if bars else None,
        mode="markers",
        name=name,
        customdata=list(texts) if texts is not None else [told(e) for _, e in drawn],
        hovertemplate=HOVER,
        marker={"color": colour, "symbol": symbol, "size": size, "line": {"width": line if symbol.endswith("open") else 0}},
    )


def bands(drawn: Drawn, name: str, scale: float, ends: Sequence[tuple[float | None, float | None]]) -> Any:
    """A grey bar from one end to the other, one a row."""
    import plotly.graph_objects as go

    x: list[float | None] = []
    y: list[float | None] = []
    for (row, _), (low, high) in zip(drawn, ends, strict=True):
        if low is not None and high is not None:
            x += [scale * low, scale * high, None]
            y += [row.y, row.y, None]
    return go.Scatter(x=x, y=y, mode="lines", name=name, line={"color": BAND, "width": 15}, hoverinfo="skip")


def straight(x: Sequence[float | None], y: Sequence[float | None], name: str, dash: str, colour: str) -> Any:
    """A line for reference, without hover."""
    import plotly.graph_objects as go

    return go.Scatter(
        x=list(x), y=list(y), mode="lines", name=name, line={"color": colour, "width": 2, "dash": dash}, hoverinfo="skip"
    )


def error_bars(estimates: Sequence[Estimate], scale: float) -> dict[str, object]:
    """Intervals as plotly's error bars; nothing where an estimate has none."""
    above = [scale * (e.high - e.value) if e.high is not None and e.value is not None else 0.0 for e in estimates]
    below = [scale * (e.value - e.low) if e.low is not None and e.value is not None else 0.0 for e in estimates]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.6, "width": 4}


# ---------------------------------------------------------------- words on charts


def score_told(e: Estimate) -> str:
    """What hovering shows of a score."""
    return hover(words.score(e.value), words.interval(e), e)


def points_told(e: Estimate) -> str:
    """What hovering shows of points."""
    signed = e.measure.startswith("delta")
    return hover(f"{words.points(e.value, signed=signed)} points", words.points_interval(e, signed=signed), e)


def percent_told(e: Estimate) -> str:
    """What hovering shows of a rate."""
    return hover(words.percent(e.value), words.percent_interval(e), e)


def hover(value: str, between: str, e: Estimate) -> str:
    """Whose it is, the number with its interval and verdict, and how many images it rests on."""
    bounds = f" ({between})" if between else ""
    verdict = f", {safe(e.verdict)}" if e.verdict else ""
    return f"{safe(e.by.get('model') or e.by.get('tuned') or '')}<br>{value}{bounds}{verdict}<br>{words.count(e.n_cases, 'image')}"


def asked(e: Estimate, text: str) -> str:
    """The same with the wording asked, cut where it is long."""
    short = " ".join(text.split())
    lines = wrap(short if len(short) <= 300 else short[:299] + "…", 60)
    return f"{score_told(e)}<br><b>{safe(e.by['prompt'])}</b><br>{'<br>'.join(safe(part) for part in lines)}"


def short_name(text: str) -> str:
    """A name on an axis or over a group: safe, and no longer than leaves the chart room."""
    short = words.line(text)
    return safe(short if len(short) <= LONGEST else short[: LONGEST - 1] + "…")


def titled(question: str, view: ReportView, number: int) -> str:
    """The question and what was found: a chart's title."""
    counted = tally(findings(view), number)
    return f"{question} {counted[0].upper()}{counted[1:]}" if counted else question
