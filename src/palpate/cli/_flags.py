"""What the verbs share: common flags, faults shown plainly, and the run behind `demo` and `run`."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palpate.errors import PalpateError

if TYPE_CHECKING:
    from palpate.inspection.card import DataCard
    from palpate.nouns import Tally
    from palpate.stages.plan import Plan
    from palpate.study import Study

RUN = click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
STUDY = click.argument("study", type=click.Path(path_type=Path), metavar="STUDY.toml")
OUT = click.option("--out", type=click.Path(path_type=Path), metavar="RUN", help="Run folder. [default: runs/<study name>]")
QUIET = click.option("--quiet", "-q", is_flag=True, help="Print results and errors only.")
WORKERS = click.option("--workers", type=click.IntRange(1, 1024), help="Processes side by side. [default: the study's]")
EXECUTOR = click.option(
    "--executor", type=click.Choice(["local", "ray"]), help="Ask on this machine, or on a Ray cluster. [default: the study's]"
)
ADDRESS = click.option("--address", metavar="HOST:PORT", help="Of the Ray cluster, or auto. [default: one on this machine]")


def plainly(verb: Callable[..., Any]) -> Callable[..., Any]:
    """A fault the user can put right is one message on stderr and exit 2: no traceback."""

    @wraps(verb)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return verb(*args, **kwargs)
        except PalpateError as fault:
            click.echo(f"palpate: {fault}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("\nstopped: what was answered is kept; the same command goes on from there", err=True)
            sys.exit(130)
        except BrokenPipeError:  # the reader of our output, `head` say, has gone
            sys.stderr.close()
            sys.exit(0)

    return wrapped


@contextmanager
def finishing() -> Iterator[Callable[[], bool]]:
    """While it is entered, the first Ctrl-C lets what is under way be finished and kept; the second stops at once.

    Gives whether Ctrl-C was pressed: never outside the main thread, where Python hears no signal, nor where it is ignored.
    """
    pressed = False
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield lambda: False
        return

    def hear(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        click.echo("\nfinishing the images under way, then it stops; Ctrl-C again stops at once", err=True)

    before = signal.signal(signal.SIGINT, hear)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def default_out(name: str) -> Path:
    """The run folder of a study that names none."""
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".") or "study"
    return Path("runs") / safe


def key_values(texts: tuple[str, ...], where: str = "--where", such: str = "model=phantom-llava") -> dict[str, str]:
    """KEY=VALUE texts as a mapping. ``where``: the flag they were given to, for the error."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise PalpateError(f"{text!r} has no key or no value", where=where, expected=f"KEY=VALUE, e.g. {such}")
        found[key] = value
    return found


def asked_where(study: Study, workers: int | None, executor: str | None = None, address: str | None = None) -> Study:
    """The study with the command line's word on where models are asked, as far as one is given; an address means Ray."""
    from dataclasses import replace

    if executor == "local" and address is not None:
        raise PalpateError("is of a Ray cluster, and the executor is local", where="--address", hint="--executor ray")
    given: dict[str, Any] = {
        "workers": workers,
        "executor": executor or ("ray" if address is not None else None),
        "address": address,
    }
    return replace(study, ask=replace(study.ask, **{name: value for name, value in given.items() if value is not None}))


def announce(planned: Plan, out: Path, quiet: bool) -> None:
    """What is about to be asked; quietly, only what leaves this machine: that is never left unsaid."""
    from palpate.report import words
    from palpate.report.tables import render_plan
    from palpate.results import planned_summary

    summary = planned_summary(planned, out)
    if not quiet:
        click.echo(render_plan(summary), err=True, nl=False)
    for sending in summary.sendings if quiet else ():
        if sending.remote:
            click.echo(words.sending(sending), err=True)


def note_unasked(tally: Tally) -> None:
    """Say what a spent budget has left unasked, and how to go on."""
    if tally.unasked:
        click.echo(
            f"the budget is spent: {tally.unasked:,} of {tally.total:,} questions were not asked; "
            "to go on, raise [budget] in the study file and run the same command again",
            err=True,
        )


def warn(told: str) -> None:
    """Say on stderr, quiet or not, what a person has to know."""
    click.echo(f"warning: {told}", err=True)


def warn_of_faults(cards: tuple[DataCard, ...]) -> None:
    """Say on stderr, quiet or not, what is wrong with the images."""
    from palpate.stages.inspect import warnings_of

    for told in warnings_of(cards):
        warn(told)


def run_study(study: Study, out: Path, quiet: bool) -> None:
    """Run a study and say how it went: the plan before, progress on the way, a summary after."""
    from palpate import pipeline
    from palpate.report.terminal import progress, render_summary

    last: list[Tally] = []

    with progress(quiet=quiet) as advance:

        def tell(tally: Tally) -> None:
            last[:] = [tally]
            advance(tally)

        results = pipeline.run(
            study,
            out,
            on_plan=lambda planned: announce(planned, out, quiet),
            on_progress=tell,
            on_cards=warn_of_faults,
            on_note=warn,
            stopping=finishing(),
        )
    for tally in last:
        note_unasked(tally)
    click.echo(render_summary(results.view(), str(results.folder.path / "report.html")), nl=False)
    if not quiet:
        where = shlex.quote(str(results.folder.path))
        click.echo(f"every answer, with its image: {as_started()} view {where}", err=True)


def as_started() -> str:
    """What to type for this program: ``palpate`` where PATH leads to it, else what started it, from here where that is shorter."""
    script, found = Path(sys.argv[0]), shutil.which("palpate")
    if script.name == "__main__.py":
        return "palpate" if found else f"{shlex.quote(sys.executable)} -m palpate"
    if script.stem != "palpate" or (found and Path(found).resolve() == script.resolve()):
        return "palpate"
    whole, here = script.absolute(), Path.cwd()
    near = str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)
    typed = near if len(Path(near).parts) > 1 else f"./{near}"  # a bare name would be looked for on PATH
    return shlex.quote(min(typed, str(script), key=len) if len(script.parts) > 1 else typed)
