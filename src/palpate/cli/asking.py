"""Verbs that make a run: demo, init, plan, run, ask, read."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from palpate.cli._flags import (
    ADDRESS,
    EXECUTOR,
    OUT,
    QUIET,
    RUN,
    STUDY,
    WORKERS,
    announce,
    as_started,
    asked_where,
    default_out,
    finishing,
    key_values,
    note_unasked,
    plainly,
    run_study,
    warn,
    warn_of_faults,
)


@click.command()
@OUT
@click.option("--per-class", type=click.IntRange(2), default=None, help="Images per class and task. [default: the demo's]")
@WORKERS
@QUIET
@plainly
def demo(out: Path | None, per_class: int | None, workers: int | None, quiet: bool) -> None:
    """Examine the four bundled models on the four phantom tasks: offline, no GPU, one to two minutes."""
    from palpate.studies import demo_study

    run_study(asked_where(demo_study(per_class), workers), out or Path("runs/demo"), quiet)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("study.toml"), metavar="[FILE]")
@plainly
def init(file: Path) -> None:
    """Write a commented study file to start from."""
    from palpate.studies import write_template

    write_template(file)
    click.echo(f"wrote {file}; edit it, then: {as_started()} plan {shlex.quote(str(file))}")


@click.command()
@STUDY
@OUT
@click.option("--pilot", type=click.Path(path_type=Path), metavar="RUN", help="A small run that says how answers will be.")
@click.option("--assume", "given", multiple=True, metavar="KEY=VALUE", help="Suppose this of the answers, e.g. discordance=0.2.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@plainly
def plan(study: Path, out: Path | None, pilot: Path | None, given: tuple[str, ...], form: str) -> None:
    """Say what a study asks, what it takes, and what differences it could show. Runs no model."""
    from palpate.results import plan_summary
    from palpate.study import Study

    loaded = Study.load(study)
    assumed = key_values(given, "--assume", "discordance=0.2")
    summary = plan_summary(loaded, out or default_out(loaded.name), pilot=pilot, assume=assumed)
    click.echo(summary.to_json() if form == "json" else f"{summary}\n", nl=False)


@click.command()
@STUDY
@OUT
@WORKERS
@EXECUTOR
@ADDRESS
@QUIET
@plainly
def run(study: Path, out: Path | None, workers: int | None, executor: str | None, address: str | None, quiet: bool) -> None:
    """Run a whole study: ask, read, measure, report. Run it again and it goes on where it stopped."""
    from palpate.study import Study

    loaded = asked_where(Study.load(study), workers, executor, address)
    run_study(loaded, out or default_out(loaded.name), quiet)


@click.command()
@STUDY
@OUT
@WORKERS
@EXECUTOR
@ADDRESS
@QUIET
@plainly
def ask(study: Path, out: Path | None, workers: int | None, executor: str | None, address: str | None, quiet: bool) -> None:
    """Only ask: put the study's open questions to its models."""
    from palpate import pipeline
    from palpate.report.terminal import progress
    from palpate.store.folder import RunFolder
    from palpate.study import Study

    loaded = asked_where(Study.load(study), workers, executor, address)
    folder = RunFolder(out or default_out(loaded.name))
    planned = pipeline.prepared(loaded, folder.path)
    announce(planned, folder.path, quiet=True)
    with progress(quiet=quiet) as advance:
        done = pipeline.ask(planned, folder, advance, warn_of_faults, finishing(), warn)
    click.echo(f"{done.done} of {done.total} asked, {done.reused} of them before, {done.errors} ended as errors: {folder.path}")
    note_unasked(done)


@click.command()
@RUN
@QUIET
@plainly
def read(run: Path, quiet: bool) -> None:
    """Only read: turn answers that are not read yet into outcomes. Needs no model but the judges that the study names."""
    from palpate.report.terminal import progress
    from palpate.results import Results

    results = Results.open(run)
    with progress(quiet=quiet) as advance:
        count = results.read(advance)
    click.echo(f"{count} answers read")
    for name, left in results.unread().items():
        click.echo(f"note: {left} answers are not read by {name!r}; `palpate read {run}` asks again", err=True)


VERBS = (demo, init, plan, run, ask, read)
