"""The report as one self-contained HTML file: opens from disk, needs no network, and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from palpate.nouns import Estimate
from palpate.report import figures, words
from palpate.report.view import Example, ReportView

if TYPE_CHECKING:
    from jinja2 import Environment
    from plotly.graph_objects import Figure


def render_html(view: ReportView) -> str:
    """A whole report. The same view gives the same bytes; everything from models and files is escaped."""
    plotly, ours = _plotly(), _text("report.js")
    charts: dict[str, Figure] = {}
    page = _environment().get_template("report.html.j2")
    return page.render(
        view=view,
        lines=words.in_three_lines(view),
        questions=words.QUESTIONS,
        asked=[q for q in words.QUESTIONS if any(f.question == q for f in words.findings(view))],
        matrix=_matrix(view),
        findings=words.findings(view),
        titles={t.name: t.title for t in view.tasks},
        charts=_charts(view, charts),
        wordings=[(task, _add(charts, f"wordings-{task.name}", figures.wordings(view, task))) for task in view.tasks],
        examples=[(e, _picture(e)) for e in view.examples],
        tables=_tables(view),
        definitions=[(n, view.definitions[n]) for n in dict.fromkeys(e.measure for e in view.estimates) if n in view.definitions],
        identities={m.name: {k: _shown(v) for k, v in {**m.identity, **m.environment}.items()} for m in view.models},
        level=words.level(view),
        not_examined=words.NOT_EXAMINED,
        style=_text("report.css"),
        data=_json({name: json.loads(chart.to_json()) for name, chart in charts.items()}),
        plotly=plotly,
        script=ours,
        policy=_policy(plotly, ours),
    )


def _charts(view: ReportView, charts: dict[str, Figure]) -> dict[str, str | None]:
    """Chart name → its element's id, None where there is nothing to show."""
    drawn = {
        "accuracy": figures.accuracy(view),
        "spreads": figures.spreads(view),
        "refusals": figures.refusals(view),
        "pairs": figures.pairs(view),
    }
    return {name: _add(charts, name, chart) for name, chart in drawn.items()}


def _add(charts: dict[str, Figure], name: str, chart: Figure | None) -> str | None:
    if chart is None:
        return None
    identity = f"chart-{len(charts)}-{''.join(c if c.isalnum() else '-' for c in name)}"
    charts[identity] = chart
    return identity


def _matrix(view: ReportView) -> list[tuple[str, list[list[words.Finding]]]]:
    """Model → for each question, its findings over the tasks."""
    found = words.findings(view)
    asked = [q for q in words.QUESTIONS if any(f.question == q for f in found)]
    return [(m.name, [[f for f in found if f.model == m.name and f.question == q] for q in asked]) for m in view.models]


def _tables(view: ReportView) -> dict[str, list[Estimate]]:
    """The table behind each chart."""
    e = view.estimates
    return {
        "accuracy": [
            *words.select(e, "ba_all", keys=("model", "task", "cell")),
            *words.select(e, "ba_answered", keys=("model", "task", "cell")),
        ],
        "wordings": words.select(e, "ba_all", keys=("model", "task", "cell", "prompt")),
        "spreads": [
            x
            for n in ("prompt_spread", "prompt_spread_naive", "prompt_spread_null", "prompt_effect_p", "flip_rate")
            for x in words.select(e, n)
        ],
        "refusals": [
            x for n in ("refusal_rate", "no_answer_rate") for x in words.select(e, n, keys=("model", "task", "cell", "class"))
        ]
        + words.select(e, "refusal_difference", keys=("model", "task", "cell")),
        "pairs": [
            x
            for n in ("delta_ba_all", "delta_ba_all_over_wordings", "delta_ba_all_mde", "delta_coverage")
            for x in words.select(e, n)
        ],
    }


def _picture(example: Example) -> str | None:
    return None if example.png is None else "data:image/png;base64," + base64.b64encode(example.png).decode("ascii")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _json(value: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or open a comment."""
    return json.dumps(value, sort_keys=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(*scripts: str) -> str:
    """A content security policy under which only these very scripts run and nothing is fetched."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode('utf-8')).digest()).decode('ascii')}'" for s in scripts)
    # Plotly writes its style rules at run time, hence unsafe-inline for styles; styles cannot run code.
    fixed = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    return f"{fixed}; script-src {hashes}"


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text


def _text(name: str) -> str:
    return resources.files("palpate.report").joinpath("templates", name).read_text("utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("palpate.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters.update(score=words.score, percent=words.percent, number=_number, bounds=_bounds, of=_of)
    return found


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _bounds(e: Estimate) -> str:
    return f"{e.low:.3f} – {e.high:.3f}" if e.low is not None and e.high is not None else ""


def _of(e: Estimate) -> str:
    return " · ".join(e.by.values())
