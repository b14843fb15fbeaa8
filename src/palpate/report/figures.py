"""Charts from estimates alone: each returns a plotly Figure, or None where there is nothing to draw. No HTML here.

Rows are grouped under headings and named on the axis, so the charts read the same on a phone as on a wide screen and need no
colour to be understood. Colours are Okabe and Ito's (2008), told apart by colour-blind readers; shapes differ too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from palpate.nouns import Estimate, Form
from palpate.report import words
from palpate.report.chart_style import GREY, safe, styled
from palpate.report.findings import findings, tally
from palpate.report.view import ReportView, TaskCard

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
BAND = "rgba(125,133,144,.38)"
SHADES = ((0.0, "rgba(0,114,178,0)"), (1.0, "rgba(0,114,178,.6)"))  # see-through, so that text stays legible on light and dark
EQUIVALENCE = 5.0  # points within which a difference counts as none (METHODS D2)
FORM_MARKS = {Form.YES_NO: (BLUE, "circle"), Form.AB: (ORANGE, "diamond"), Form.BA: (GREEN, "square")}
ROW, CELL = 26, 24  # pixels of a row of a dot plot, of a heat map
LONGEST = 32  # characters of a name on a chart
HOVER = "%{customdata}<extra></extra>"


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a dot plot: where it is, its name, and whose it is."""

    y: float
    name: str
    group: str
    key: str


class _Rows:
    """Rows under headings, from the top."""

    def __init__(
        self, groups: Iterable[tuple[str, Sequence[str]]], *, names: dict[str, str] | None = None, headed: bool = True
    ) -> None:
        self.rows: list[_Row] = []
        self.headings: list[tuple[float, str]] = []
        at = 0.0
        for group, keys in groups:
            if headed:
                self.headings.append((at + 0.15, (names or {}).get(group, group)))
                at += 1
            for key in keys:
                self.rows.append(_Row(at, key, group, key))
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
                x=0, xref="paper", xanchor="left", y=y, text=f"<b>{_name(text)}</b>", showarrow=False, font={"size": 13}, xshift=2
            )
        figure.update_yaxes(
            tickvals=[r.y for r in self.rows],
            ticktext=[_name(r.name) for r in self.rows],
            range=[self.length - 0.4, -0.6],
            fixedrange=True,
            title=None,
            showgrid=False,
        )
        figure.update_xaxes(title=x)
        return styled(figure, title, round(height + ROW * self.length))


def accuracy(view: ReportView) -> Figure | None:
    """Balanced accuracy of every model on every task's main question: intervals, the chance line, the best possible."""
    import plotly.graph_objects as go

    estimates = words.unperturbed(view.estimates)
    rows, whole = _by_task(view, estimates, "ba_all")
    if not whole:
        return None
    answered = _by_task(view, estimates, "ba_answered")[1]
    apart = [(r, e) for r, e in answered for s, f in whole if s.y == r.y and abs((e.value or 0.0) - (f.value or 0.0)) >= 0.005]
    figure = go.Figure()
    figure.add_trace(_line([0.5, 0.5], [-0.6, rows.length - 0.4], "chance (0.50)", "dash", GREY))
    best: tuple[list[float | None], list[float | None]] = ([], [])
    for task in view.tasks:
        mine = [r.y for r in rows.rows if r.group == task.name]
        if mine and task.best_accuracy is not None:
            best[0].extend((task.best_accuracy, task.best_accuracy, None))
            best[1].extend((mine[0] - 0.45, mine[-1] + 0.45, None))
    if best[0]:
        figure.add_trace(_line(*best, "best possible", "solid", GREEN))
    figure.add_trace(_dots(whole, "all questions", BLUE, "circle", told=_told))
    if apart:
        figure.add_trace(_dots(apart, "answered ones only", ORANGE, "diamond-open", shift=0.24, told=_told))
    lowest = min(e.low if e.low is not None else e.value or 0.0 for _, e in [*whole, *apart])
    figure.update_xaxes(range=[max(-0.02, min(0.38, lowest - 0.03)), 1.02], dtick=0.1)
    rows.name_gaps(figure, whole)
    return rows.lay(figure, _title("Better than chance?", view, 1), "balanced accuracy, 0 to 1")


def spreads(view: ReportView) -> Figure | None:
    """The spread that wording makes, with its interval, beside the plain spread and the band that sampling alone gives."""
    import plotly.graph_objects as go

    estimates = words.unperturbed(view.estimates)
    rows, corrected = _by_task(view, estimates, "prompt_spread")
    if not corrected:
        return None
    naive = [(r, e) for r, e in _by_task(view, estimates, "prompt_spread_naive")[1] if any(s.y == r.y for s, _ in corrected)]
    null = [(r, e) for r, e in _by_task(view, estimates, "prompt_spread_null")[1] if any(s.y == r.y for s, _ in corrected)]
    figure = go.Figure()
    figure.add_trace(_bands(null, "sampling alone would give (95 %)", 100, [(e.low, e.high) for _, e in null]))
    figure.add_trace(_dots(naive, "seen", PURPLE, "line-ns-open", scale=100, told=_points_told, size=14, line=3))
    figure.add_trace(_dots(corrected, "made by the wording", BLUE, "circle", scale=100, told=_points_told))
    top = max([100 * (e.high or e.value or 0.0) for _, e in [*corrected, *null, *naive]] + [5.0])
    figure.update_xaxes(range=[-0.02 * top, 1.04 * top])
    rows.name_gaps(figure, corrected)
    return rows.lay(figure, _title("Depends on the wording?", view, 2), "spread (sd), points")


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
    rows = _Rows([(c, [m.name for m in view.models if each[c, m.name]]) for c in names], names={c: f"question: {c}" for c in names})
    figure = go.Figure()
    bands = []
    for row in rows.rows:
        by = {"model": row.key, "task": task.name, "cell": row.group}
        mean, null = words.one(estimates, "ba_all", **by), words.one(estimates, "prompt_range_null", **by)
        if mean is not None and mean.value is not None and null is not None and null.high is not None:
            bands.append((row, null, (mean.value - null.high / 2, mean.value + null.high / 2)))
    figure.add_trace(_bands([(r, e) for r, e, _ in bands], "widest if wording made no difference", 1, [b for *_, b in bands]))
    figure.add_trace(_line([0.5, 0.5], [-0.6, rows.length - 0.4], "chance (0.50)", "dash", GREY))
    prompts = {p.name: p for p in view.prompts[task.name]}
    for form, (colour, symbol) in FORM_MARKS.items():
        drawn = [
            (r, e)
            for r in rows.rows
            for e in each[r.group, r.key]
            if e.by["prompt"] in prompts and prompts[e.by["prompt"]].form is form
        ]
        if drawn:
            texts = [_asked(e, prompts[e.by["prompt"]].text) for _, e in drawn]
            figure.add_trace(_dots(drawn, words.FORMS[form], colour, symbol, bars=False, texts=texts, size=9))
    values = [e.value or 0.0 for found in each.values() for e in found]
    figure.update_xaxes(range=[max(-0.02, min(0.38, min(values) - 0.05)), 1.02], dtick=0.1)
    title = f"{words.titles(view)[task.name]}: each dot is one wording"
    return rows.lay(figure, title, "balanced accuracy, 0 to 1", height=132)


def refusals(view: ReportView) -> Figure | None:
    """Questions without a definite answer, where the condition is present and where it is absent."""
    import plotly.graph_objects as go

    estimates = words.unperturbed(view.estimates)
    rows, present = _by_task(view, estimates, "no_answer_rate", **{"class": "positive"})
    absent = _by_task(view, estimates, "no_answer_rate", **{"class": "negative"})[1]
    if not present and not absent:
        return None
    figure = go.Figure()
    for found, name, colour, symbol, shift in (
        (present, "condition present", ORANGE, "diamond", -0.15),
        (absent, "condition absent", BLUE, "circle", 0.15),
    ):
        figure.add_trace(_dots(found, name, colour, symbol, scale=100, shift=shift, told=_percent_told))
    top = max([100 * (e.high if e.high is not None else e.value or 0.0) for _, e in [*present, *absent]] + [5.0])
    figure.update_xaxes(range=[-0.02 * top, min(102.0, 1.05 * top)])
    rows.name_gaps(figure, [*present, *absent])
    return rows.lay(figure, _title("Refuses?", view, 3), "no definite answer, %")


def silences(view: ReportView, task: TaskCard) -> Figure | None:
    """How often each wording got no definite answer: a row a wording, a column a model. None where every one always did."""
    import plotly.graph_objects as go

    estimates = [e for e in words.unperturbed(view.estimates) if e.by.get("task") == task.name]
    names = [p.name for p in view.prompts.get(task.name, ()) if p.form.closed]
    keys = ("model", "task", "cell", "prompt")
    rates = {(e.by["prompt"], e.by["model"]): e.value for e in words.select(estimates, "no_answer_rate", keys=keys)}
    if not any(rates.values()):
        return None
    z = [[None if (rate := rates.get((p, m.name))) is None else 100 * rate for m in view.models] for p in names]
    top = max([10.0, *(v for row in z for v in row if v is not None)])
    figure = go.Figure(
        go.Heatmap(
            z=z,
            x=list(range(len(view.models))),
            y=list(range(len(names))),
            text=[[words.NOTHING if v is None else words.percent(v / 100).replace(" %", "") for v in row] for row in z],
            texttemplate="%{text}",
            textfont={"size": 11},
            customdata=[
                [
                    f"{safe(m.name)}, {safe(p)}: {words.percent(rates.get((p, m.name)))} without a definite answer"
                    for m in view.models
                ]
                for p in names
            ],
            hovertemplate=HOVER,
            zmin=0,
            zmax=top,
            colorscale=[list(shade) for shade in SHADES],
            showscale=False,
            xgap=2,
            ygap=2,
        )
    )
    models = [_name(m.name).replace("-", "-<br>", 1) for m in view.models]
    figure.update_xaxes(
        title="model (% of questions)", tickvals=list(range(len(models))), ticktext=models, showgrid=False, fixedrange=True
    )
    figure.update_yaxes(
        title="wording",
        tickvals=list(range(len(names))),
        ticktext=[_name(n) for n in names],
        autorange="reversed",
        showgrid=False,
        fixedrange=True,
    )
    title = f"{words.titles(view)[task.name]}: no definite answer, by wording"
    return styled(figure, title, 120 + CELL * len(names))


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
    rows = _Rows(
        [(t, [f"{e.by['tuned']} − {e.by['base']}" for e in mine]) for t, mine in found.items() if mine], names=words.labels(view)
    )
    drawn = list(zip(rows.rows, [e for mine in found.values() for e in mine], strict=True))
    rows.rows = [_Row(r.y, e.by["tuned"], r.group, r.key) for r, e in drawn]
    wider = [
        (r, w) for r, e in drawn for w in [words.one(estimates, "delta_ba_all_over_wordings", **e.by)] if w and w.value is not None
    ]
    figure = go.Figure()
    figure.add_vrect(x0=-EQUIVALENCE, x1=EQUIVALENCE, fillcolor=GREY, opacity=0.18, line_width=0, layer="below")
    figure.add_trace(_line([0, 0], [-0.6, rows.length - 0.4], "equal (grey: ±5 points)", "dash", GREY))
    figure.add_trace(_dots(drawn, "these wordings", BLUE, "square", scale=100, told=_points_told))
    if wider:
        figure.add_trace(_dots(wider, "any such wordings", ORANGE, "square-open", scale=100, shift=0.24, told=_points_told))
    ends = [100 * abs(x) for _, e in [*drawn, *wider] for x in (e.low, e.high, e.value) if x is not None]
    reach = 1.06 * max([*ends, 10.0])
    figure.update_xaxes(range=[-reach, reach])
    return rows.lay(figure, _title("Did tuning help? Tuned minus base.", view, 4), "balanced accuracy, points")


# ---------------------------------------------------------------- traces

Drawn = Sequence[tuple[_Row, Estimate]]


def _by_task(view: ReportView, estimates: Sequence[Estimate], measure: str, **by: str) -> tuple[_Rows, list[tuple[_Row, Estimate]]]:
    """Rows of all models under each task with closed questions, and the measure's defined estimates on them."""
    tasks = [t.name for t in view.tasks if words.cells(view, t.name)]
    rows = _Rows([(t, [m.name for m in view.models]) for t in tasks], names=words.labels(view))
    mine = [e for e in estimates if e.measure == measure]
    found = []
    for row in rows.rows:
        e = words.one(mine, measure, model=row.key, task=row.group, cell=words.cells(view, row.group)[0], **by)
        if e is not None and e.value is not None:
            found.append((row, e))
    return rows, found


def _dots(
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
    import plotly.graph_objects as go

    return go.Scatter(
        x=[scale * (e.value or 0.0) for _, e in drawn],
        y=[r.y + shift for r, _ in drawn],
        error_x=_bars([e for _, e in drawn], scale) if bars else None,
        mode="markers",
        name=name,
        customdata=list(texts) if texts is not None else [told(e) for _, e in drawn],
        hovertemplate=HOVER,
        marker={"color": colour, "symbol": symbol, "size": size, "line": {"width": line if symbol.endswith("open") else 0}},
    )


def _bands(drawn: Drawn, name: str, scale: float, ends: Sequence[tuple[float | None, float | None]]) -> Any:
    import plotly.graph_objects as go

    x: list[float | None] = []
    y: list[float | None] = []
    for (row, _), (low, high) in zip(drawn, ends, strict=True):
        if low is not None and high is not None:
            x += [scale * low, scale * high, None]
            y += [row.y, row.y, None]
    return go.Scatter(x=x, y=y, mode="lines", name=name, line={"color": BAND, "width": 15}, hoverinfo="skip")


def _line(x: Sequence[float | None], y: Sequence[float | None], name: str, dash: str, colour: str) -> Any:
    import plotly.graph_objects as go

    return go.Scatter(
        x=list(x), y=list(y), mode="lines", name=name, line={"color": colour, "width": 2, "dash": dash}, hoverinfo="skip"
    )


def _bars(estimates: Sequence[Estimate], scale: float) -> dict[str, object]:
    above = [scale * (e.high - e.value) if e.high is not None and e.value is not None else 0.0 for e in estimates]
    below = [scale * (e.value - e.low) if e.low is not None and e.value is not None else 0.0 for e in estimates]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.6, "width": 4}


# ---------------------------------------------------------------- words on charts


def _told(e: Estimate) -> str:
    return _hover(words.score(e.value), words.interval(e), e)


def _points_told(e: Estimate) -> str:
    signed = e.measure.startswith("delta")
    return _hover(f"{words.points(e.value, signed=signed)} points", words.points_interval(e, signed=signed), e)


def _percent_told(e: Estimate) -> str:
    return _hover(words.percent(e.value), words.percent_interval(e), e)


def _hover(value: str, between: str, e: Estimate) -> str:
    bounds = f" ({between})" if between else ""
    verdict = f", {safe(e.verdict)}" if e.verdict else ""
    return f"{safe(e.by.get('model') or e.by.get('tuned') or '')}<br>{value}{bounds}{verdict}<br>{words.count(e.n_cases, 'image')}"


def _asked(e: Estimate, text: str) -> str:
    short = " ".join(text.split())
    lines = wrap(short if len(short) <= 300 else short[:299] + "…", 60)
    return f"{_told(e)}<br><b>{safe(e.by['prompt'])}</b><br>{'<br>'.join(safe(part) for part in lines)}"


def _name(text: str) -> str:
    """A name on an axis or over a group: safe, and no longer than leaves the chart room."""
    short = words.line(text)
    return safe(short if len(short) <= LONGEST else short[: LONGEST - 1] + "…")


def _title(question: str, view: ReportView, number: int) -> str:
    told = tally(findings(view), number)
    return f"{question} {told[0].upper()}{told[1:]}" if told else question
