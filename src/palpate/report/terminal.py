"""What a person at the terminal sees: progress while it runs, and a summary that fits 80 columns."""

from __future__ import annotations

import re
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
WIDTH = 80
ACROSS = 4  # tasks side by side: what fits
NAME = 17  # columns of a model's name: with four tasks of 14 and a space each, 78 of 80
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

    ``width``: columns, 80 unless told. Coloured only on a terminal, and never where NO_COLOR is set; symbols and words say it all.
    """
    found = findings(view)
    things: list[Table | Text | str] = [Text(words.line(view.study_name), style="bold")]
    things += [Text(text) for text in words.in_three_lines(view)]
    for question in QUESTIONS:
        mine = [f for f in found if f.question == question.number]
        if not mine:
            continue
        things += [Text(""), Text(_heading(question.number), style="bold")]
        for at in range(0, len(view.tasks), ACROSS):
            things.append(_matrix(view, mine, view.tasks[at : at + ACROSS], best=question.number == 1))
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
    lines = render(*things, width=width or WIDTH).splitlines()
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


def _matrix(view: ReportView, found: Sequence[Finding], tasks: Sequence[TaskCard], *, best: bool) -> Table:
    """Models down, tasks across; each cell a symbol with its verdict over its number."""
    labels = words.labels(view)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    names = [words.line(m.name) for m in view.models] + [f"− {words.line(f.base)}" for f in found if f.base]
    widest = max((cell_len(part) for name in names for part in _wrapped(name).splitlines()), default=0)
    table.add_column("", overflow="fold", min_width=min(widest, NAME), max_width=NAME)
    for task in tasks:
        of_best = f"\nbest {words.possible(task.best_accuracy)}" if best and task.best_accuracy is not None else ""
        table.add_column(Text(labels[task.name] + of_best, style="dim"), overflow="fold", min_width=14)
    for model in view.models:
        mine = [f for f in found if f.model == model.name]
        for base in dict.fromkeys(f.base for f in mine):
            name = _wrapped(words.line(model.name)) + (f"\n{_wrapped(f'− {words.line(base)}')}" if base else "")
            cells = [next((f for f in mine if f.task == t.name and f.base == base), None) for t in tasks]
            table.add_row(Text(name), *map(_cell, cells))
    return table


def _wrapped(name: str) -> str:
    """A name too wide for its column, broken after a hyphen, slash or underscore rather than anywhere."""
    lines = [""]
    for piece in re.findall(r"[^-/_]*[-/_]?", name):
        if lines[-1] and len(lines[-1] + piece) > NAME:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def _cell(f: Finding | None) -> Text:
    if f is None:
        return Text(words.NOTHING)
    told = {1: f"{f.number} {f.between}", 3: f.short}.get(f.question, f"{f.number} ({f.between})" if f.between else f.number)
    also = f"\n{f.also}" if f.also else ""
    return Text.assemble((f"{f.symbol} {f.verdict}", STYLES[f.tone]), "\n", told, also)
