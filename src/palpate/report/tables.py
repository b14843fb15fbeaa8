"""Plain tables for the terminal: plans, estimates, conditions, single trials and lists."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from palpate.nouns import ConditionResult, Estimate, Held, Reading, Response, Status, Trial
from palpate.questions import TITLES, Conclusion
from palpate.report import words
from palpate.report.view import ExampleAnswer
from palpate.spending import Sending
from palpate.store.integrity import Checked
from palpate.store.salvage import Salvaged
from palpate.store.shown import ShownAnswer

if TYPE_CHECKING:
    from palpate.report.planned import Outlook


@dataclass(frozen=True, slots=True)
class TrialHistory:
    """One trial with everything recorded about it."""

    trial: Trial
    label: int
    responses: tuple[Response, ...]
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class FoundAnswers:
    """Answers of a certain kind: how many there are, and some of them, each with its case's reference label."""

    total: int
    answers: tuple[tuple[ShownAnswer, int], ...]
    read_by: str  # the primary reading's name


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """What a study asks, in numbers."""

    study: str
    models: tuple[str, ...]
    tasks: tuple[tuple[str, int, int, int, int, int], ...]  # name, images, positive, groups, prompts, left out
    trials: int
    blocks: int
    answered: int
    out: str = ""  # the run folder looked into, if any
    sendings: tuple[Sending, ...] = ()  # what would go to served models
    outlook: Outlook | None = None  # what it takes and can show, where that was asked for
    diagnoses: int = 0  # readings of descriptions, controls included
    lacks: tuple[str, ...] = ()  # what it needs and is not installed here
    install: str = ""  # the line that brings it

    def __str__(self) -> str:
        from palpate.report.planned import render_outlook

        shown = render_plan(self)
        return (shown if self.outlook is None else f"{shown}\n{render_outlook(self.outlook)}").rstrip()

    def to_json(self) -> str:
        """Machine-readable: the same numbers, unrounded."""
        heads = ("task", "images", "positive", "groups", "prompts", "left_out")
        tasks = [dict(zip(heads, row, strict=True)) for row in self.tasks]
        return json.dumps({**asdict(self), "tasks": tasks}, indent=1, allow_nan=False) + "\n"


KEY = 12  # digits of a trial's key: unique but in a ledger of millions
LETTERS = 60  # of an answer in a list
SYMBOL = {Held.PASS: "✓ pass", Held.FAIL: "✗ fail", Held.NOT_EVALUABLE: "? not evaluable"}


def render(*things: Table | Text | Padding | str, width: int | None = None) -> str:
    """Rich renderables as text: as wide as the terminal, coloured only where it is one (and NO_COLOR is not set)."""
    buffer = io.StringIO()
    columns = width or _width()
    console = Console(file=buffer, width=columns, force_terminal=sys.stdout.isatty() or None, highlight=False)
    for thing in things:
        console.print(thing)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().split("\n")[:-1])


def plain_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table without lines; ``right``: the columns of numbers."""
    return _table(*columns, right=right)


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def render_plan(plan: PlanSummary) -> str:
    """What a study asks: tasks with their images, patients and prompts; trials in all, and answered ones."""
    table = _table(
        "task", "images", "positive", "groups", "prompts", "left out", right=("images", "positive", "groups", "prompts", "left out")
    )
    for name, *numbers in plan.tasks:
        table.add_row(Text(name), *map(str, numbers))
    left = plan.trials - plan.answered
    closing = f"{plan.trials:,} questions ({words.count(len(plan.models), 'model')}, {words.count(plan.blocks, 'image')} shown)"
    closing += f"; {plan.answered:,} answered in {plan.out}, {left:,} to ask." if plan.out else "."
    if plan.diagnoses:
        closing += f" From the descriptions among the answers readers make {words.count(plan.diagnoses, 'diagnosis', 'diagnoses')}."
    left_out = sum(row[-1] for row in plan.tasks)
    named = f"{plan.out or 'the run folder'}/cases.csv names them and says why, once it has run."
    notes = [Text(f"{left_out} {'file was' if left_out == 1 else 'files were'} left out; {named}")] if left_out else []
    notes += [Text(words.sending(s), style="bold" if s.remote else "") for s in plan.sendings]
    if plan.lacks:
        lacking = f"Not installed here: {words.line('; '.join(plan.lacks))}. Before `palpate run`: {plan.install}"
        notes.append(Text(lacking, style="bold"))
    return render(Text(f"Study {plan.study}: {', '.join(plan.models)}"), table, *notes, Text(closing))


def render_estimates(estimates: Iterable[Estimate]) -> str:
    """One line per estimate, or two where the terminal is narrow; an undefined one shows its reason."""
    heads, rows = ("estimate", "of", "value", "interval", "cases", "groups", "verdict"), []
    for e in estimates:
        interval = f"{e.low:.3f} – {e.high:.3f}" if e.low is not None and e.high is not None else ""
        value = "–" if e.value is None else f"{e.value:.3f}"
        of = ", ".join(f"{k}={v}" for k, v in e.by.items())
        rows.append((e.measure, of, value, interval, str(e.n_cases), str(e.n_clusters), words.ruled(e)))
    return render(*fitting_rows(heads, rows, right=("value", "cases", "groups"), of=2, says=6))


def render_conclusions(conclusions: Iterable[Conclusion]) -> str:
    """By question: the verdict on each model or pair, its number and interval, what no effect would give, what could be found."""
    parts: list[Table | Text | Padding | str] = []
    for question, group in groupby(conclusions, key=lambda c: c.question):
        rows: list[tuple[str, ...]] = []
        silent: list[Text] = []
        for c in group:
            of, e = ", ".join(v for k, v in c.by.items() if k != "relation"), c.estimate
            if e is None or e.value is None:
                silent.append(Text(f"{of}: {c.verdict}: {c.why}" if of else f"{c.verdict}: {c.why}"))
                continue
            interval = f"{e.low:.3f} – {e.high:.3f}" if e.low is not None and e.high is not None else ""
            find = "" if c.mde is None else f"{c.mde:.3f}"
            rows.append((of, c.verdict, e.measure, f"{e.value:.3f}", interval, _null(c.null), find))
            silent += [Text(f"{of}: {c.verdict}: {c.why}")] if c.why else []
        parts += [
            Text(TITLES[question], style="bold"),
            *fitting_rows(CONCLUDED, rows, right=("value", "would find")),
            *silent,
            Text(""),
        ]
    return render(*parts)


CONCLUDED = ("of", "verdict", "estimate", "value", "interval", "no effect", "would find")


def fitting_rows(
    heads: Sequence[str], rows: Sequence[tuple[str, ...]], *, right: Sequence[str] = (), of: int = 1, says: int = 1
) -> Iterator[Table | Text | Padding]:
    """A table where the terminal is wide enough for whole words; else two lines a row.

    The first line is what the row is about (its first ``of`` cells) and what it says (cell ``says``), the second the others.
    """
    table = _table(*heads, right=right)
    for row in rows:
        table.add_row(*(Text(words.line(cell)) for cell in row))
    console = Console(width=10_000)
    if not rows or table.__rich_measure__(console, console.options).maximum <= _width():
        yield from [table] if rows else []
        return
    for row in rows:
        about = ", ".join(cell for cell in row[:of] if cell)
        yield Text(words.line(f"{about}: {row[says]}" if row[says] else about))
        told: list[str] = []
        for at, (head, cell) in enumerate(zip(heads, row, strict=True)):
            if at < of or at == says or not cell:
                continue
            if head == "value" and told:
                told[-1] += f" {cell}"
            else:
                told.append(cell if head in UNNAMED else f"{head} {cell}")
        yield Padding(Text(words.line("; ".join(told))), (0, 0, 0, 2), expand=False)


UNNAMED = ("estimate", "because")  # what they are can be seen


def _width() -> int:
    return shutil.get_terminal_size((100, 24)).columns


def _null(null: float | Estimate | None) -> str:
    if isinstance(null, Estimate):
        if null.value is None:
            return ""
        return f"{null.value:.3f}" + (
            f" ({null.low:.3f} – {null.high:.3f})" if null.low is not None and null.high is not None else ""
        )
    return "" if null is None else f"{null:g}"


def render_gate(results: Sequence[ConditionResult], note: str = "") -> str:
    """Every condition with its symbol, what it was held against, and why; below, what is to be known of the run."""
    below = [Text(words.line(f"note: {note}"))] if note else []
    if not results:
        how = 'add [gate] conditions = ["ba_all.low >= 0.8"] to the study, or give one with --condition'
        return f"no condition is named: {how}\n" + (render(*below) if below else "")
    rows = []
    for r in results:
        of = ", ".join(f"{k}={v}" for k, v in r.estimate.by.items()) if r.estimate else ""
        rows.append((SYMBOL[r.held], r.condition.text, of, r.why))
    return render(*fitting_rows(("", "condition", "of", "because"), rows), *below)


def render_trial(history: TrialHistory) -> str:
    """One trial: the question, then every attempt with its readings."""
    t = history.trial
    lines = [
        f"trial {t.key}",
        f"{t.model} · {t.task} · {t.case} · {t.perturbation} · repeat {t.repeat}",
        f"the condition is {'present' if history.label else 'absent'}",
        f"asked ({t.prompt.name}, {t.prompt.form}, “yes” or A asserts {t.prompt.polarity}):",
        *(f"  | {line}" for line in t.prompt.text.splitlines()),
    ]
    for r in history.responses:
        a = r.answer
        lines.append(f"attempt {r.attempt}: {a.status}" + (f" – {a.error}" if a.error else ""))
        lines += [f"  > {line}" for line in a.text.splitlines()]
        if a.margin is not None and a.mass is not None:
            lines.append(f"  margin {a.margin:+.3f} (log odds for the condition), answer mass {a.mass:.3f}")
        for reading in history.readings:
            if reading.attempt == r.attempt:
                quoted = f" from “{a.text[slice(*reading.span)]}”" if reading.span else ""
                lines.append(f"  read as {reading.outcome} by {reading.by} ({reading.rule}){quoted}")
    return render(*(Text(line) for line in lines))


def render_answers(found: FoundAnswers, run: str) -> str:
    """Answers by case and model, with the keys by which `palpate show` tells all about one."""
    if not found.answers:
        return render(Text("no answer is like that"))
    parts: list[Table | Text | str] = []
    for heading, group in groupby(found.answers, key=_of_case):
        parts.append(Text(heading, style="bold"))
        for a, label in group:
            outcome = next((r.outcome for r in a.readings if r.by == found.read_by), None)
            symbol, word = words.judged(ExampleAnswer(a.model, a.prompt.name, "", "", outcome), label)
            said = f"no answer: {a.error}" if a.status is Status.ERROR else a.text
            parts.append(_columns((a.key[:KEY], KEY), (f"{symbol} {word}", 19), (a.prompt.name, 20), (said, LETTERS)))
    if found.total > len(found.answers):
        parts.append(Text(f"{found.total:,} answers are like that; these are {len(found.answers):,}."))
    return render(*parts, Text(f"All about one: palpate show {run} {found.answers[0][0].key[:KEY]}"))


def _columns(*cells: tuple[str, int]) -> Text:
    """One line: texts cut or filled to so many columns each."""
    line = Text()
    for text, width in cells:
        cell = Text(words.line(text))
        cell.truncate(width, overflow="ellipsis", pad=True)
        line.append_text(cell).append("  ")
    line.rstrip()
    line.truncate(_width(), overflow="ellipsis")
    return line


def _of_case(answer: tuple[ShownAnswer, int]) -> str:
    a, label = answer
    change = "" if a.perturbation.name == "none" else f", {a.perturbation}"
    return f"{words.line(a.case)}{change}, {words.line(a.model)}: the condition is {'present' if label else 'absent'}"


def render_catalogue(rows: Sequence[tuple[str, str]]) -> str:
    """Names and what they are."""
    table = _table("name", "what it is")
    for name, about in rows:
        table.add_row(Text(name), Text(about))
    return render(table)


def render_check(checked: Checked) -> str:
    """What a ledger holds, and every kind of damage with the first places."""
    counts = ", ".join(f"{checked.rows[t]:,} {noun}" for t, noun in COUNTED.items() if t in checked.rows)
    lines = [f"{checked.path}: {counts}" if counts else str(checked.path)]
    if checked.whole:
        lines.append("✓ whole: every page, reference, key and seal was checked")
    for damage in checked.damage:
        places = "; ".join(damage.places) + (" …" if damage.count > len(damage.places) else "")
        lines.append(f"✗ {damage.kind} ({damage.count:,}): {places}")
    if not checked.whole:
        lines.append(
            "keep the file; `palpate check RUN --salvage NEW` saves what is whole, and `palpate run STUDY --out NEW` asks the rest"
        )
    return render(*(Text(line) for line in lines))


COUNTED = {"response": "responses", "reading": "readings", "case_": "cases", "prompt": "prompts", "model": "models"}


def render_salvaged(found: Salvaged, out: str) -> str:
    """What was saved, and what could be read but was not whole."""
    kept = ", ".join(f"{found.kept[t]:,} {noun}" for t, noun in COUNTED.items())
    dropped = ", ".join(f"{found.dropped[t]:,} {noun}" for t, noun in COUNTED.items() if found.dropped[t])
    lines = [
        f"{out}: saved {kept}",
        f"left behind because not whole: {dropped or 'none'}; what lay on broken pages cannot be counted",
    ]
    return render(*(Text(line) for line in lines))
