"""What a person at the terminal sees: progress while it runs, and a summary that fits 80 columns."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from palpate.nouns import Tally
from palpate.report import words
from palpate.report.tables import render
from palpate.report.view import ReportView
from palpate.report.words import Finding

PLAIN_SECONDS = 10.0  # between two lines of progress where the output is no terminal


@contextmanager
def progress(*, quiet: bool = False, file: IO[str] | None = None) -> Iterator[Callable[[Tally], None]]:
    """Something to tell the tally to: a live bar with rate and time left on a terminal, plain lines elsewhere, silence if quiet."""
    stream = file or sys.stderr
    if quiet:
        yield lambda tally: None
    elif stream.isatty():
        with _bar(stream) as advance:
            yield advance
    else:
        yield _lines(stream)


@contextmanager
def _bar(stream: IO[str]) -> Iterator[Callable[[Tally], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[errors]}"),
    )
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("asking", total=None, rate="", errors="")
        pace = _Pace()

        def advance(tally: Tally) -> None:
            errors = f"{tally.errors} errors" if tally.errors else ""
            rate = pace.words(tally)
            bar.update(task, total=tally.total, completed=tally.done, description=tally.model, rate=rate, errors=errors)

        yield advance


def _lines(stream: IO[str]) -> Callable[[Tally], None]:
    pace, last, ended = _Pace(), time.monotonic(), False

    def advance(tally: Tally) -> None:
        nonlocal last, ended
        now = time.monotonic()
        if now - last >= PLAIN_SECONDS or (tally.done >= tally.total and not ended):
            last, ended = now, tally.done >= tally.total
            errors = f", {tally.errors} errors" if tally.errors else ""
            stream.write(f"{tally.model}: {tally.done:,} of {tally.total:,}, {pace.words(tally)}{errors}\n")
            stream.flush()

    return advance


class _Pace:
    """Answers per second, of those asked in this run."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def words(self, tally: Tally) -> str:
        return f"{(tally.done - tally.reused) / max(time.monotonic() - self.started, 1e-9):.0f}/s"


def render_summary(view: ReportView, report: str = "", *, width: int | None = None) -> str:
    """The run in one screen: what was examined, one line per model and task, the pairs, and where the report is."""
    head: list[Table | Text | str] = [
        Text(f"{view.study_name}", style="bold"),
        *(Text(line) for line in words.in_three_lines(view)),
    ]
    found = words.findings(view)
    for task in view.tasks:
        best = f" – best possible {task.best_accuracy:.3g}" if task.best_accuracy else ""
        head += [Text(""), Text(f"{task.title}{best}", style="bold"), _task_table(view, task.name, found)]
    pairs = [f for f in found if f.question == 4]
    if pairs:
        head += [Text(""), Text("Did tuning help?", style="bold"), _pair_table(view, pairs)]
    head += [
        Text(""),
        Text("BA balanced accuracy, unanswered counted wrong (chance 0.50) · wording: spread in points, noise removed"),
    ]
    if view.counts.errors:
        causes = "; ".join(f"{cause}: {count}" for cause, count in view.counts.errors.items())
        head.append(Text(f"errors, counted apart: {causes}"))
    if report:
        head.append(Text(f"report: {report}"))
    return render(*head, width=width or 80)


def _task_table(view: ReportView, task: str, found: list[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column, justify in (
        ("model", "left"),
        ("BA", "right"),
        ("interval", "left"),
        ("", "left"),
        ("wording", "left"),
        ("refuses", "right"),
    ):
        table.add_column(column, justify="right" if justify == "right" else "left")
    names = words.cells(view, task)
    for model in view.models:
        mine = {f.question: f for f in found if f.model == model.name and f.task == task}
        if not names or 1 not in mine:
            continue
        by = {"model": model.name, "task": task, "cell": names[0]}
        accuracy, spread = words.one(view.estimates, "ba_all", **by), words.one(view.estimates, "prompt_spread", **by)
        refusal = words.one(view.estimates, "refusal_rate", **by)
        table.add_row(
            Text(model.name),
            words.score(accuracy.value) if accuracy else "–",
            words.interval(accuracy) if accuracy else "",
            f"{mine[1].symbol} {mine[1].verdict}",
            f"{words.points(spread.value if spread else None)} {mine[2].symbol} {mine[2].verdict}",
            words.percent(refusal.value if refusal else None),
        )
    return table


def _pair_table(view: ReportView, pairs: list[Finding]) -> Table:
    titles = {task.name: task.condition for task in view.tasks}
    table = Table(box=None, pad_edge=False, show_header=False)
    for f in pairs:
        table.add_row(f"{f.symbol} {f.verdict}", Text(f"{f.model}, {titles[f.task]}: {f.sentence}"))
    return table
