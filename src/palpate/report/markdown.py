"""The report as Markdown: the same findings and numbers as the HTML, without pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from palpate.nouns import Estimate
from palpate.report import datacard, words
from palpate.report.choice import CAUTION, choices, told
from palpate.report.comparability import comparability
from palpate.report.findings import Finding, Group, findings, summary
from palpate.report.leads import ABOUT, HEADS, leads
from palpate.report.questions import MEASURED, QUESTIONS, Question, questions
from palpate.report.view import Example, ReportView

NUMBERS = ("estimate", "of", "value", "interval", "images", "groups", "left out", "verdict or reason")


def render_markdown(view: ReportView) -> str:
    """A whole report. Text from models and files is escaped: it can make no markup."""
    found = findings(view)
    opening = [*words.in_three_lines(view), *filter(None, [words.left_out(view), datacard.opening(view.data)])]
    parts = [f"# Palpate: {_inert(view.study_name)}", "", *(f"- {_inert(text)}" for text in opening), ""]
    parts += _choices(view, found)
    parts += _in_short(view, found)
    for question in questions(view.thresholds):
        parts += _section(view, question, [f for f in found if f.question == question.number])
    parts += _examples(view)
    parts += _errors(view)
    parts += ["## Data", "", *_data(view), "", "## Models", "", *_models(view), "", *_alike(view)]
    parts += _methods(view)
    parts += [
        f"Made with Palpate {_inert(view.palpate_version)}, {_inert(view.created)}; {words.duration(view.seconds)} in models."
    ]
    return "\n".join(parts) + "\n"


def table_lines(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, every cell escaped."""
    return _table(heads, rows)


def escaped(text: object) -> str:
    """Text as text, on one line: it can make no markup."""
    return _inert(text)


def _choices(view: ReportView, found: Sequence[Finding]) -> list[str]:
    if len(view.models) < 2 or not (made := choices(view, found)):
        return []
    labels = words.labels(view)
    rows = [(labels[c.task], told(c), "; ".join(f"{m}: {why}" for m, why in c.against) or words.NOTHING) for c in made]
    return ["## Which model for which task?", "", *_table(("task", "best supported", "against the others"), rows), "", CAUTION, ""]


def _in_short(view: ReportView, found: Sequence[Finding]) -> list[str]:
    asked = [q for q in QUESTIONS if any(f.question == q.number for f in found)]
    missing = [q.title for q in QUESTIONS if q not in asked]
    rows = []
    for model in view.models:
        cells = []
        for q in asked:
            groups = summary(found, view, model.name, q.number)
            cells.append(" / ".join(map(_gathered, groups)) or words.NOTHING)
        rows.append((model.name, *cells))
    lines = ["## In short", "", *(_table(("model", *(q.title for q in asked)), rows) if asked else ["Nothing was measured."]), ""]
    rests = "a question left open counts as wrong; where “answered” stands beside it, the verdict rests on that"
    lines += [f"{words.HOW_TO_READ}. Verdicts rest on {words.level(view)} intervals. In the accuracy {rests}.", ""]
    lines += [f"Not examined in this study: {' '.join(missing)}", ""] if missing else []
    if view.conditions:
        held = [(c.held.value, c.condition.text, words.of(c.estimate) if c.estimate else "", c.why) for c in view.conditions]
        lines += ["### Conditions of the study", "", *_table(("held", "condition", "of", "because"), held), ""]
    return lines


def _gathered(group: Group) -> str:
    tasks = ", ".join(name if group.why else f"{name} {number}" for name, number in group.tasks)
    return f"{group.symbol} {group.verdict}: {tasks}" + (f" ({group.why})" if group.why else "")


def _section(view: ReportView, question: Question, found: Sequence[Finding]) -> list[str]:
    rows = [e for name in question.measures for e in view.estimates if e.measure == name]
    lines = [f"## {question.title}", ""]
    if not found:
        some = " Some of its numbers need less, and stand below." if rows else ""
        lines += [f"{words.NOT_EXAMINED.capitalize()}.{f' It takes {question.needs}.' if question.needs else ''}{some}", ""]
        if not rows:
            return lines
    titles = words.titles(view)
    table = [(f.model, titles[f.task], f"{f.symbol} {f.verdict}", f.short, f.sentence) for f in found]
    lines += [question.asks, "", *_table(("model", "task", "verdict", "number", "in words"), table), ""]
    lines += [f"What this cannot say: {question.limits}", ""] if question.limits else []
    if question.number == 1:
        cautions = [(titles[t.name], cell, text) for t in view.tasks for cell, text in t.cautions.items()]
        lines += [text for t, cell, words_ in cautions for text in (f"> {_inert(t)}, “{_inert(cell)}”: {_inert(words_)}", "")]
        lines += [*_ahead(view), *_by_wording(view)]
    lines += [*_table(NUMBERS, (_row(e) for e in rows if "prompt" not in e.by)), ""]
    return lines


def _ahead(view: ReportView) -> list[str]:
    """Every two models of a task."""
    titles = words.titles(view)
    rows = [
        (
            titles[task],
            p.first,
            p.over,
            f"{p.verdict}: {p.why}" if p.why else p.verdict,
            f"{p.lead} ({p.between})",
            p.wrong,
            p.least,
        )
        for task, pairs in leads(view)
        for p in pairs
    ]
    return ["### Which model is ahead of which?", "", ABOUT, "", *_table(("task", *HEADS), rows), ""] if rows else []


def _by_wording(view: ReportView) -> list[str]:
    """Balanced accuracy of each wording: wordings down, models across."""
    lines: list[str] = []
    keys = ("model", "task", "cell", "prompt")
    found = {(e.by["task"], e.by["prompt"], e.by["model"]): e for e in words.select(view.estimates, "ba_all", keys=keys)}
    for task in view.tasks:
        prompts = [
            p.name for p in view.prompts.get(task.name, ()) if any((task.name, p.name, m.name) in found for m in view.models)
        ]
        if not prompts:
            continue
        rows = [(p, *(_short(found.get((task.name, p, m.name))) for m in view.models)) for p in prompts]
        head = f"Balanced accuracy of each wording, {words.titles(view)[task.name]}:"
        lines += [_inert(head), "", *_table(("wording", *(m.name for m in view.models)), rows), ""]
    return [*lines, "Other estimates of single wordings are in estimates.json.", ""] if lines else []


def _short(e: Estimate | None) -> str:
    if e is None or e.value is None:
        return f"{words.NOT_MEASURED}: {e.reason}" if e is not None and e.reason else words.NOTHING
    between = words.bounds(e)
    return words.number(e.value) + (f" ({between})" if between else "")


def _row(e: Estimate) -> tuple[str, ...]:
    value = words.NOT_MEASURED if e.value is None else words.number(e.value)
    return e.measure, words.of(e), value, words.bounds(e), str(e.n_cases), str(e.n_clusters), str(e.n_left_out), words.ruled(e)


def _examples(view: ReportView) -> list[str]:
    lines = ["## In the models' own words", ""]
    titles = words.titles(view)
    for e in view.examples:
        lines += [f"### {_inert(titles[e.task])}, case {_inert(e.case)}: the condition is {'present' if e.label else 'absent'}", ""]
        lines += [f"{_inert(e.why.capitalize())}.", "", *_table(("model", "asked", "answered", "read as", "margin"), _said(e)), ""]
    return lines if view.examples else [*lines, "No examples were kept.", ""]


def _said(example: Example) -> Iterable[tuple[str, ...]]:
    for a in example.answers:
        margin = "" if a.margin is None else f"{a.margin:+.2f}".replace("-", words.MINUS)
        yield a.model, a.question, a.text, " ".join(words.judged(a, example.label)), margin


def _errors(view: ReportView) -> list[str]:
    lines = ["## What went wrong", "", words.what_became(view), ""]
    if view.counts.errors:
        rows = [(cause, str(n)) for cause, n in view.counts.errors.items()]
        lines += ["Errors are no answers: they are left out of every number above.", "", *_table(("cause", "questions"), rows), ""]
    return [*lines, words.left_out(view) or "No image was left out.", ""]


def _data(view: ReportView) -> list[str]:
    heads = ("task", "modality", "condition", "images", "present", "absent", "groups", "left out", "best possible", "source")
    titles = words.titles(view)
    rows = []
    for t in view.tasks:
        counts = (t.n_cases, t.n_positive, t.n_negative, t.n_groups, t.n_left_out)
        source = ". ".join(filter(None, (t.citation, f"Licence: {t.licence}" if t.licence else "")))
        rows.append((titles[t.name], t.modality, t.condition, *map(str, counts), words.possible(t.best_accuracy), source))
    return _table(heads, rows)


def _models(view: ReportView) -> list[str]:
    facts = [{**m.identity, **m.environment} for m in view.models]
    rows = [
        (m.name, m.about, m.lineage, "; ".join(f"{k}: {v}" for k, v in f.items())) for m, f in zip(view.models, facts, strict=True)
    ]
    return _table(("model", "about", "lineage", "fingerprint"), rows)


def _alike(view: ReportView) -> list[str]:
    found = comparability(view)
    if not found:
        return []
    word = {True: "yes", False: "no", None: "–"}
    rows = [(r.what, *(value or "–" for value in r.values), word[r.same]) for r in found.rows]
    warnings = [*(f"- {_inert(w)}" for w in found.warnings), ""] if found.warnings else []
    heads = ("what", *(m.name for m in view.models), "the same")
    return ["## Were the models asked alike?", "", *warnings, *_table(heads, rows), ""]


def _methods(view: ReportView) -> list[str]:
    names = dict.fromkeys(e.measure for e in view.estimates)
    lines = ["## What the numbers are", ""]
    lines += [f"- {_inert(name)}: {_inert(view.definitions.get(name) or 'no definition is given')}" for name in names]
    lines += ["", "How intervals were made:", "", *(f"- {_inert(m)}" for m in dict.fromkeys(e.method for e in view.estimates)), ""]
    rest = [e for e in view.estimates if e.measure not in MEASURED]
    lines += ["### Other estimates", "", *_table(NUMBERS, (_row(e) for e in rest)), ""] if rest else []
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", view.study_toml)), default=0))
    lines += ["## The study", "", f"{fence}toml", words.plain(view.study_toml).rstrip(), fence, ""]
    facts = [(k, v) for k, v in view.environment.items()]
    return [*lines, "## Environment", "", *_table(("what", "which"), facts), ""]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(_inert(head) for head in heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(_inert(cell) for cell in row) + " |" for row in rows]


def _inert(text: object) -> str:
    """Text as text: no table cell, link, image, heading or HTML begins in it, no address in it becomes a link."""
    flat = words.line(text)
    flat = re.sub(r"[\\`*_\[\]<>|&#~@]", lambda found: f"\\{found[0]}", flat)
    return flat.replace("://", "\\://").replace("www.", "www\\.")
