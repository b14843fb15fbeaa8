"""The report as Markdown: the same findings and numbers as the HTML, without pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from palpate.nouns import Estimate
from palpate.report import words
from palpate.report.view import ReportView


def render_markdown(view: ReportView) -> str:
    """A whole report. Text from models and files is escaped: it can make no markup."""
    parts = [f"# {_inert(view.study_name)}", "", *(f"- {_inert(line)}" for line in words.in_three_lines(view)), ""]
    parts += _findings(view)
    parts += _numbers(view)
    parts += _errors(view)
    parts += ["## Data", "", *_data(view), "", "## Models", "", *_models(view), ""]
    parts += ["## What the numbers are", "", *(f"- `{name}`: {_inert(text)}" for name, text in _used(view)), ""]
    parts += ["## The study", "", "```toml", view.study_toml.replace("```", "` ` `").rstrip(), "```", ""]
    parts += [f"Made with Palpate {view.palpate_version}, {view.created}."]
    return "\n".join(parts) + "\n"


def _findings(view: ReportView) -> list[str]:
    found = words.findings(view)
    titles = {t.name: t.title for t in view.tasks}
    lines: list[str] = []
    for number, question in words.QUESTIONS.items():
        mine = [f for f in found if f.question == number]
        lines += [f"## {question}", ""]
        if not mine:
            lines += [f"{words.NOT_EXAMINED.capitalize()}.", ""]
            continue
        rows = [(f.model, titles[f.task], f"{f.symbol} {f.verdict}", f.sentence) for f in mine]
        lines += [*_table(("model", "task", "verdict", "in words"), rows), ""]
    for task in view.tasks:
        lines += [f"> {_inert(task.title)}, “{_inert(cell)}”: {_inert(text)}" for cell, text in task.cautions.items()]
    return [*lines, ""]


def _numbers(view: ReportView) -> list[str]:
    rows = [_row(e) for e in view.estimates if "prompt" not in e.by]
    heads = ("estimate", "of", "value", "interval", "images", "groups", "left out", "verdict or reason")
    return ["## All estimates over wordings", "", *_table(heads, rows), ""]


def _row(e: Estimate) -> tuple[str, ...]:
    of = ", ".join(f"{k} {v}" for k, v in e.by.items())
    bounds = f"{e.low:.3f} to {e.high:.3f}" if e.low is not None and e.high is not None else ""
    value = "not measured" if e.value is None else f"{e.value:.3f}"
    return e.measure, of, value, bounds, str(e.n_cases), str(e.n_clusters), str(e.n_left_out), e.verdict or e.reason or ""


def _errors(view: ReportView) -> list[str]:
    if not view.counts.errors:
        return []
    rows = [(cause, str(count)) for cause, count in view.counts.errors.items()]
    return ["## Errors (never counted as answers)", "", *_table(("cause", "trials"), rows), ""]


def _data(view: ReportView) -> list[str]:
    heads = ("task", "modality", "condition", "images", "present", "absent", "groups", "left out", "best possible")
    rows = [
        (
            *(
                t.title,
                t.modality,
                t.condition,
                str(t.n_cases),
                str(t.n_positive),
                str(t.n_negative),
                str(t.n_groups),
                str(t.n_left_out),
            ),
            f"{t.best_accuracy:.3g}" if t.best_accuracy else "unknown",
        )
        for t in view.tasks
    ]
    return _table(heads, rows)


def _models(view: ReportView) -> list[str]:
    rows = [(m.name, m.about, m.lineage, "; ".join(f"{k}: {v}" for k, v in m.identity.items())) for m in view.models]
    return _table(("model", "about", "lineage", "identity"), rows)


def _used(view: ReportView) -> list[tuple[str, str]]:
    names = dict.fromkeys(e.measure for e in view.estimates)
    return [(name, view.definitions[name]) for name in names if name in view.definitions]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(_inert(cell) for cell in row) + " |" for row in rows]


def _inert(text: str) -> str:
    """Text as text: no table cell, link, image or HTML begins in it."""
    flat = " ".join(str(text).split())
    for mark in "\\`*_[]<>|":
        flat = flat.replace(mark, f"\\{mark}")
    return flat
