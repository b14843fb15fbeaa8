"""What a person at the terminal sees: progress while it runs, and a summary as wide as the terminal."""

from __future__ import annotations

import math
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from palpate.nouns import ConditionResult, Tally
from palpate.report import words
from palpate.report.findings import Finding, findings, unmeasured
from palpate.report.questions import QUESTIONS
from palpate.report.tables import render
from palpate.report.view import ReportView, TaskCard

PLAIN_SECONDS = 10.0  # between two lines of progress where the output is no terminal
WIDTH = 80  # columns where the output is no terminal and COLUMNS is not set
NAME = 17  # columns of a model's name before a task gives way to it: with four tasks of 14 and a space each, 77 of 80
LEAST = 14  # columns of a task: the commonest verdicts whole; a longer word of its name is folded
RESTS = (
    "The first number counts a question left open as wrong. “answered” is the accuracy without those, with its interval: "
    "the verdict rests on that."
)
STYLES = {"good": "green", "bad": "red", "even": "blue", "open": "yellow"}

# ---------------------------------------------------------------- while it runs


@contextmanager
def progress(*, quiet: bool = False, file: IO[str] | None = None) -> Iterator[Callable[[Tally], None]]:
    """Something to tell the tally to: a live bar on a terminal, a plain line now and then elsewhere, silence if quiet.

    Both tell the rate, the time left, what it has cost and the errors so far; and until a model's first answers are there, what it
    is doing.
    """
    stream = file or sys.stderr
    if quiet:
        yield lambda tally: None
    elif stream.isatty():
        with _bar(stream) as advance:
            yield advance
    else:
        with _lines(stream) as advance:
            yield advance


@contextmanager
def _bar(stream: IO[str]) -> Iterator[Callable[[Tally], None]]:
    columns = (
        SpinnerColumn("line"),  # turns while a model loads: something is going on
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TextColumn("{task.fields[errors]}", style="red"),
    )
    bar, pace = Progress(*columns, console=Console(file=stream), transient=True), _Pace()
    task = bar.add_task("asking", total=None, pace="", errors="")
    try:

        def advance(tally: Tally) -> None:
            name = words.line(tally.model).replace("[", "\\[")  # a model's name is no markup
            told = tally.doing or pace.told(tally)
            bar.update(task, total=tally.total, completed=tally.done, description=name, pace=told, errors=_errors(tally))
            bar.start()  # not before: what is said of the plan would stand in the bar's line

        yield advance
    finally:
        bar.stop()


@contextmanager
def _lines(stream: IO[str]) -> Iterator[Callable[[Tally], None]]:
    """The last tally is written whenever it came: a run that stopped ends with how far it got."""
    pace, last, ended, said = _Pace(), time.monotonic(), False, ("", "")
    unsaid: Tally | None = None

    def write(tally: Tally, *told: str) -> None:
        stream.write(f"{words.line(tally.model)}: {', '.join(filter(None, told))}\n")
        stream.flush()

    def advance(tally: Tally) -> None:
        nonlocal last, ended, said, unsaid
        now, unsaid = time.monotonic(), None
        if tally.doing:
            if said != (tally.model, tally.doing):
                last, said = now, (tally.model, tally.doing)
                write(tally, tally.doing)
        elif now - last >= PLAIN_SECONDS or (tally.done >= tally.total and not ended):
            last, ended = now, tally.done >= tally.total
            write(tally, _asked(tally), pace.told(tally), _errors(tally))
        elif not ended:
            unsaid = tally

    try:
        yield advance
    finally:
        if unsaid is not None:
            write(unsaid, _asked(unsaid), *_spent(unsaid), _errors(unsaid))


def _asked(tally: Tally) -> str:
    return f"{tally.done:,} of {tally.total:,} asked"


def _spent(tally: Tally) -> list[str]:
    return [words.amount(money, currency) for currency, money in tally.money]


def _errors(tally: Tally) -> str:
    return words.count(tally.errors, "error") if tally.errors else ""


class _Pace:
    """Answers per second, of those asked in this run: what was answered before costs no time."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def rate(self, tally: Tally) -> float:
        """Answers per second so far."""
        return max(tally.done - tally.reused, 0) / max(time.monotonic() - self.started, 1e-9)

    def told(self, tally: Tally) -> str:
        """The rate, the time left at that rate, and the money of all sittings."""
        rate, left = self.rate(tally), tally.total - tally.done
        each = next((f"{rate * s:.0f}/{unit}" for s, unit in ((1, "s"), (60, "min")) if rate * s >= 0.95), f"{rate * 3600:.0f}/h")
        told = [each] if rate > 0 else []
        told += [f"{words.duration(left / rate)} left"] if rate > 0 and left > 0 else []
        return ", ".join([*told, *_spent(tally)])


# ---------------------------------------------------------------- when it has run


def render_summary(view: ReportView, report: str = "", *, width: int | None = None) -> str:
    """The run on one screen: what was examined, one matrix of models and tasks per question, what went wrong, where the report is.

    ``width``: columns, unless told the terminal's (COLUMNS, where set), 80 where there is none. Nothing is cropped: what is too
    wide goes onto more lines, and tasks that do not fit side by side into further tables. Coloured only on a terminal, and never
    where NO_COLOR is set; symbols and words say it all.
    """
    found, width = findings(view), width or shutil.get_terminal_size((WIDTH, 24)).columns
    things: list[Table | Text | str] = [Text(words.line(view.study_name), style="bold")]
    things += [Text(text) for text in words.in_three_lines(view)]
    for question in QUESTIONS:
        mine = [f for f in found if f.question == question.number]
        if not mine:
            continue
        things += [Text(""), Text(_heading(question.number), style="bold")]
        things += [Text(RESTS, style="dim")] if any(f.also for f in mine) else []
        things += [part for table in _matrices(view, mine, width) for part in (Text(""), table)][1:]
    things += [Text(f"not measured, {n} of {len(found)} verdicts: {why}", style="yellow") for why, n in unmeasured(found)]
    missing = [q.title for q in QUESTIONS if not any(f.question == q.number for f in found)]
    things += [Text(""), Text(words.HOW_TO_READ, style="dim")]
    beside = sum(bool(f.note) for f in found)
    things += (
        [Text(f"{words.count(beside, 'interval')} by itself would show an effect; after Holm's correction: not.")] if beside else []
    )
    things += [Text(f"Not examined: {' '.join(missing)}", style="dim")] if missing else []
    things += [Text(f"error, {n:,} times: {words.line(cause)}", style="red") for cause, n in view.counts.errors.items()]
    things += [Text(left) for left in [words.left_out(view)] if left]
    things += [Text(f"{words.line(c.model)}: {words.spent(c)}") for c in view.costs]
    things += [Text(_held(c)) for c in view.conditions]
    things += [Text(f"report: {report}", overflow="fold")] if report else []
    lines = render(*things, width=width).splitlines()
    return "\n".join(text.rstrip() for text in lines) + "\n"


def _held(result: ConditionResult) -> str:
    of = ", ".join(words.line(v) for v in result.estimate.by.values()) if result.estimate else ""
    return f"{result.held.value}: {words.line(result.condition.text)}{f' ({of})' if of else ''} – {words.line(result.why)}"


def _heading(number: int) -> str:
    return {
        1: "Better than chance? Balanced accuracy and interval; 0.50 is guessing",
        2: "Depends on the wording? Spread in points of accuracy, sampling noise removed",
        3: "Refuses? Questions without a definite answer",
        4: "Did tuning help? Tuned minus base, points of balanced accuracy",
    }.get(number, next(q.title for q in QUESTIONS if q.number == number))


def _matrices(view: ReportView, found: Sequence[Finding], width: int) -> list[Table]:
    """One question's models down, its tasks across: in as few tables as hold every word and every interval whole."""
    labels, names = words.labels(view), _names(view, found)
    columns = [_Column(task, labels[task.name], [f for f in found if f.task == task.name]) for task in view.tasks]
    widest = max((cell_len(part) for _, _, name in names for part in _wrapped(name, NAME).splitlines()), default=1)
    first = min(widest, NAME, max(width // 2, 1))
    for tables in range(1, len(columns) + 1):
        across = math.ceil(len(columns) / tables)  # of 4 that do not fit: 2 and 2
        parts = [columns[at : at + across] for at in range(0, len(columns), across)]
        if across == 1 or all(first + sum(1 + c.least for c in part) <= width for part in parts):
            return [_matrix(names, part, first, width) for part in parts]
    return []


def _matrix(names: Sequence[tuple[str, str, str]], columns: Sequence[_Column], first: int, width: int) -> Table:
    """The tasks side by side. Every width is set: rich, given least widths to keep, crops what they put beyond the terminal."""
    widths = [max(1, min(c.least, width - first - 1)) for c in columns]
    for goal in ([c.whole for c in columns], [c.wide for c in columns]):
        for spare in range(width - first - sum(1 + w for w in widths), 0, -1):
            lacking = [at for at, w in enumerate(widths) if w < goal[at]]
            if lacking:
                widths[lacking[spare % len(lacking)]] += 1
    left = width - sum(1 + w for w in widths)
    first = max(first, min(left, max((cell_len(part) for _, _, name in names for part in name.splitlines()), default=0)))
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", overflow="fold", width=first)
    for column, wide in zip(columns, widths, strict=True):
        table.add_column(Text(column.head, style="dim"), overflow="fold", width=wide)
    for model, base, name in names:
        table.add_row(Text(_wrapped(name, first)), *(c.cell(model, base, w) for c, w in zip(columns, widths, strict=True)))
    return table


def _names(view: ReportView, found: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """(model, base, what its row is called) of every row; the base stands on a line of its own."""
    pairs = ((m.name, base) for m in view.models for base in dict.fromkeys(f.base for f in found if f.model == m.name))
    return [(model, base, words.line(model) + (f"\n− {words.line(base)}" if base else "")) for model, base in pairs]


def _wrapped(name: str, width: int) -> str:
    """A name too wide for its column, broken after a hyphen, slash or underscore rather than anywhere."""
    lines = []
    for whole in name.splitlines():
        lines.append("")
        for piece in re.findall(r"[^-/_]*[-/_]?", whole):
            if lines[-1] and cell_len(lines[-1] + piece) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines)


class _Column:
    """One task's verdicts on one question, and how many columns of the terminal they take.

    ``least``: no word of a verdict, no number and no interval is broken. ``whole``: an interval stands beside its number.
    ``wide``: so do a verdict's words, and those of the task's name.
    """

    def __init__(self, task: TaskCard, label: str, found: Sequence[Finding]) -> None:
        best = any(f.question == 1 for f in found) and task.best_accuracy is not None
        self.head = f"{label}\nbest {words.possible(task.best_accuracy)}" if best else label
        self.found = {(f.model, f.base): f for f in reversed(found)}
        labels = max(map(cell_len, label.split()), default=1)  # by its longest word
        verdicts = [f"{f.symbol} {f.verdict}" for f in found]
        pieces = [piece for verdict in verdicts for piece in (verdict[:2] + verdict[2:].split(" ")[0], *verdict[2:].split(" "))]
        numbers = [numbers for f in found for numbers in _numbers(f)]
        pieces += [piece for parts in numbers for piece in parts]
        self.least = max([LEAST, *map(cell_len, pieces)])
        self.whole = max([self.least, labels, *(cell_len(" ".join(parts)) for parts in numbers)])
        self.wide = max([self.whole, cell_len(label), *map(cell_len, verdicts)])

    def cell(self, model: str, base: str, width: int) -> Text:
        """A symbol with its verdict over its numbers; an interval below its number where both do not fit beside each other."""
        f = self.found.get((model, base))
        if f is None:
            return Text(words.NOTHING)
        lines = [(" " if cell_len(" ".join(parts)) <= width else "\n").join(parts) for parts in _numbers(f)]
        return Text.assemble((f"{f.symbol} {f.verdict}", STYLES[f.tone]), "\n", "\n".join(lines))


def _numbers(f: Finding) -> list[tuple[str, ...]]:
    """Each number of a finding with its interval, if it has one."""
    if f.question == 3:
        return [(f.short,)]
    between = f.between if f.question == 1 or not f.between else f"({f.between})"
    return [tuple(filter(None, parts)) for parts in ((f.number, between), (f.also, f.also_between)) if parts[0]]
