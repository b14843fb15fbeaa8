"""The report as one self-contained HTML file: opens from disk, needs no network, and runs no script but its own."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING, Any

from palpate.nouns import Estimate
from palpate.report import datacard, words
from palpate.report.charts import Drawn, further_charts, opening_charts
from palpate.report.choice import CAUTION, choices
from palpate.report.comparability import comparability
from palpate.report.findings import Finding, Group, findings, summary
from palpate.report.leads import ABOUT, HEADS, leads
from palpate.report.pictures import pictures
from palpate.report.questions import MEASURED, Question, questions
from palpate.report.view import Example, ExampleAnswer, ReportView

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from plotly.graph_objects import Figure


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart on the page: its element's id, its title, its height in pixels."""

    id: str
    title: str
    height: int


ChartGroups = tuple[tuple[Chart, ...], ...]
"""Charts that stand alone, and those that stand side by side where there is room."""


@dataclass(frozen=True, slots=True)
class Section:
    """One question's section: its charts before and after what was found in words, the table behind, cautions about the tasks."""

    question: Question
    charts: ChartGroups
    more: ChartGroups
    found: tuple[Finding, ...]
    rows: tuple[Estimate, ...]
    cautions: tuple[tuple[str, str, str], ...] = ()


def render_html(view: ReportView) -> str:
    """A whole report. The same view gives the same bytes; everything from models and files is escaped."""
    found = findings(view)
    charts: dict[str, Mapping[str, Any]] = {}
    sections = _sections(view, found, charts)
    library, ours = _plotly(), _text("report.js")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            view=view,
            lines=[*words.in_three_lines(view), *filter(None, [words.left_out(view), datacard.opening(view.data)])],
            left_out=words.left_out(view),
            sections=sections,
            examined=[s.question for s in sections if s.found],
            missing=[s.question for s in sections if not s.found],
            matrix=_matrix(view, found),
            choices=choices(view, found),
            choice_caution=CAUTION,
            leads=leads(view),
            about_leads=ABOUT,
            lead_heads=HEADS,
            tables=_by_task(view, found),
            labels=words.labels(view),
            titles=words.titles(view),
            examples=[_shown(e, view, first=i == 0) for i, e in enumerate(view.examples)],
            rest=[e for e in view.estimates if e.measure not in MEASURED],
            methods=_methods(view),
            definitions=[(n, view.definitions.get(n, "")) for n in dict.fromkeys(e.measure for e in view.estimates)],
            identities={m.name: _fingerprint({**m.identity, **m.environment}) for m in view.models},
            pictures=pictures(view),
            alike=comparability(view),
            how_to_read=words.HOW_TO_READ,
            level=words.level(view),
            became=words.what_became(view),
            duration=words.duration(view.seconds),
            style=_text("report.css"),
            data=_json(charts),
            library=library,
            script=ours,
            policy=_policy(_plotly_source(), ours),
        )
    )


def scriptless(template: str, **values: Any) -> str:
    """A smaller page from one of the templates, in the report's style, that runs no script and fetches nothing."""
    fixed = {"style": _text("report.css"), "policy": _policy().partition("; script-src")[0]}
    return _environment().get_template(template).render(**fixed, **values)


def _sections(view: ReportView, found: Sequence[Finding], charts: dict[str, Mapping[str, Any]]) -> list[Section]:
    first, more = opening_charts(view), further_charts(view)
    titles = words.titles(view)
    cautions = tuple((titles[task.name], cell, text) for task in view.tasks for cell, text in task.cautions.items())
    return [
        Section(
            question=q,
            charts=_groups(charts, q.number, first),
            more=_groups(charts, q.number, more),
            found=tuple(f for f in found if f.question == q.number),
            rows=tuple(e for name in q.measures for e in view.estimates if e.measure == name),
            cautions=cautions if q.number == 1 else (),
        )
        for q in questions(view.thresholds)
    ]


def _groups(charts: dict[str, Mapping[str, Any]], number: int, drawn: Mapping[int, Drawn]) -> ChartGroups:
    return tuple(tuple(_add(charts, f"q{number}", figure) for figure in group) for group in drawn.get(number, ()) if group)


def _add(charts: dict[str, Mapping[str, Any]], prefix: str, figure: Figure) -> Chart:
    """Puts a figure among the page's charts. Its title becomes the page's, where it can wrap."""
    plain = _short(json.loads(figure.to_json()))
    title = html.unescape(figure.layout.title.text)  # escaped for plotly; the template escapes it for the page
    del plain["layout"]["title"]
    identity = f"chart-{prefix}-{len(charts)}"
    charts[identity] = plain
    return Chart(identity, title, int(figure.layout.height))


def _short(value: Any) -> Any:
    """Numbers to six digits: finer ones cannot be seen, and weigh."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list):
        return [_short(v) for v in value]
    return {k: _short(v) for k, v in value.items()} if isinstance(value, dict) else value


def _matrix(view: ReportView, found: Sequence[Finding]) -> list[tuple[str, list[list[Group]]]]:
    """Model → for each examined question, its verdicts with the tasks they hold for."""
    numbers = sorted({f.question for f in found})
    return [(m.name, [summary(found, view, m.name, number) for number in numbers]) for m in view.models]


def _by_task(view: ReportView, found: Sequence[Finding]) -> list[tuple[str, list[tuple[str, list[list[Finding]]]]]]:
    """Task → model → for each examined question, its findings."""
    numbers = sorted({f.question for f in found})
    index: dict[tuple[str, str, int], list[Finding]] = {}
    for f in found:
        index.setdefault((f.task, f.model, f.question), []).append(f)
    return [(t.name, [(m.name, [index.get((t.name, m.name, n), []) for n in numbers]) for m in view.models]) for t in view.tasks]


def _by_measure(rows: Sequence[Estimate]) -> list[tuple[str, list[Estimate]]]:
    """Measure → its estimates, in the order given: a table names a measure once, not in each of a thousand rows."""
    return [(name, list(mine)) for name, mine in groupby(rows, key=lambda e: e.measure)]


def _methods(view: ReportView) -> dict[str, int]:
    """Method → its number in the appendix."""
    return {method: i for i, method in enumerate(dict.fromkeys(e.method for e in view.estimates), start=1)}


@dataclass(frozen=True, slots=True)
class ShownExample:
    """An example laid out: wordings down, models across; and how many of each model's answers were right."""

    example: Example
    picture: str | None
    score: tuple[tuple[str, int, int], ...]
    models: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[ExampleAnswer | None, ...]], ...]
    first: bool


def _shown(example: Example, view: ReportView, *, first: bool) -> ShownExample:
    models = tuple(m for m in (card.name for card in view.models) if any(a.model == m for a in example.answers))
    wordings = {a.prompt: a.question for a in example.answers}
    said = {(a.prompt, a.model): a for a in example.answers}
    closed = {p.name for p in view.prompts.get(example.task, ()) if p.form.closed}
    score = []
    for m in models:
        mine = [a for a in example.answers if a.model == m and a.prompt in closed]
        score.append((m, sum(words.judged(a, example.label)[1] == "right" for a in mine), len(mine)))
    rows = tuple((prompt, text, tuple(said.get((prompt, m)) for m in models)) for prompt, text in wordings.items())
    return ShownExample(example, _picture(example), tuple(score), models, rows, first)


def _picture(example: Example) -> str | None:
    return None if example.png is None else "data:image/png;base64," + base64.b64encode(example.png).decode("ascii")


def _marked(answer: ExampleAnswer) -> tuple[str, str, str]:
    """The answer's text before, in, and after the part its reading rests on."""
    start, end = words.whole_words(answer.text, answer.span)
    return answer.text[:start], answer.text[start:end], answer.text[max(start, end) :]


NUMBERS = re.compile(r"\S*\d(?:–\S*\d\S*| %\S*)(?: %\S*)?")


def _whole(text: str) -> Markup:
    """A sentence whose intervals and per cents do not break over lines. Escapes what it is given."""
    from markupsafe import Markup, escape

    parts, at = [], 0
    for found in NUMBERS.finditer(text):
        parts += [escape(text[at : found.start()]), Markup('<span class="whole">{}</span>').format(found[0])]
        at = found.end()
    return Markup("").join([*parts, escape(text[at:])])


def _fingerprint(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(k), v if isinstance(v, str) else json.dumps(v, sort_keys=True, default=str)) for k, v in facts.items()]


# ---------------------------------------------------------------- one safe page


def _json(value: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(*scripts: str) -> str:
    """A content security policy under which only these very scripts run and nothing is fetched."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode('utf-8')).digest()).decode('ascii')}'" for s in scripts)
    # Plotly writes its style rules at run time, hence unsafe-inline for styles; styles cannot run code.
    fixed = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"{fixed}; script-src {hashes}"


@cache
def _plotly_source() -> str:
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text


@cache
def _plotly() -> str:
    """plotly.js, compressed to two fifths: the page unpacks it, and runs it only if it is the very text the policy names."""
    return base64.b64encode(gzip.compress(_plotly_source().encode("utf-8"), 9, mtime=0)).decode("ascii")


def _text(name: str) -> str:
    return resources.files("palpate.report").joinpath("templates", name).read_text("utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("palpate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: words.plain(value) if type(value) is str else value,  # markup made here is a str of another type
    )
    found.filters.update(
        percent=words.percent,
        possible=words.possible,
        number=words.number,
        bounds=words.bounds,
        of=words.of,
        marked=_marked,
        by_measure=_by_measure,
        signed=words.signed,
        whole=_whole,
    )
    found.globals.update(facts=datacard.facts, sets=datacard.sets, judged=words.judged, count=words.count)
    return found
