"""The command line: flags and exit codes. Each verb calls one function of the library.

Exit codes: 0 done (or the gate passes), 1 the gate fails, 2 the user can put it right (or the gate could not be
evaluated), 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palpate import __version__
from palpate.errors import PalpateError

if TYPE_CHECKING:
    from palpate.stages.plan import Plan
    from palpate.study import Study

RUN = click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
STUDY = click.argument("study", type=click.Path(path_type=Path), metavar="STUDY.toml")
OUT = click.option("--out", type=click.Path(path_type=Path), metavar="RUN", help="Run folder. [default: runs/<study name>]")
QUIET = click.option("--quiet", "-q", is_flag=True, help="Print results and errors only.")
WORKERS = click.option("--workers", type=click.IntRange(1, 1024), help="Processes side by side. [default: the study's]")


def _plainly(verb: Callable[..., Any]) -> Callable[..., Any]:
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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="palpate")
def main() -> None:
    """Press on a medical vision-language model and see where it gives.

    A study (one TOML file) names models, tasks and wordings; a run is a folder that holds every answer and the report.
    """


@main.command()
@OUT
@click.option("--per-class", type=click.IntRange(2), default=None, help="Images per class and task. [default: the demo's]")
@WORKERS
@QUIET
@_plainly
def demo(out: Path | None, per_class: int | None, workers: int | None, quiet: bool) -> None:
    """Examine the four bundled models on the four phantom tasks: offline, no GPU, about a minute."""
    from palpate.studies import demo_study

    _run(demo_study(per_class), out or Path("runs/demo"), workers, quiet)


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("study.toml"), metavar="[FILE]")
@_plainly
def init(file: Path) -> None:
    """Write a commented study file to start from."""
    from palpate.studies import write_template

    write_template(file)
    click.echo(f"wrote {file}; edit it, then: palpate plan {file}")


@main.command()
@STUDY
@OUT
@_plainly
def plan(study: Path, out: Path | None) -> None:
    """Say what a study would ask, and what is answered already. Runs no model."""
    from palpate.report.tables import render_plan
    from palpate.results import plan_summary
    from palpate.study import Study

    loaded = Study.load(study)
    click.echo(render_plan(plan_summary(loaded, out or _default_out(loaded.name))), nl=False)


@main.command()
@STUDY
@OUT
@WORKERS
@QUIET
@_plainly
def run(study: Path, out: Path | None, workers: int | None, quiet: bool) -> None:
    """Run a whole study: ask, read, measure, report. Run it again and it goes on where it stopped."""
    from palpate.study import Study

    loaded = Study.load(study)
    _run(loaded, out or _default_out(loaded.name), workers, quiet)


@main.command("import")
@click.argument("answers", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="ANSWERS...")
@OUT
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "own", "lmms-eval", "inspect", "vlmevalkit"]),
    default="auto",
    show_default=True,
    help="What wrote the files; lmms-eval stands for lm-evaluation-harness too.",
)
@click.option("--set", "values", multiple=True, metavar="COLUMN=VALUE", help="Give every row this value, e.g. --set form=yes-no.")
@click.option(
    "--map", "fields", multiple=True, metavar="COLUMN=FIELD", help="Take a column from a field, e.g. --map group=doc.patient."
)
@click.option("--pair", "pairs", multiple=True, nargs=2, metavar="BASE TUNED", help="Two models to compare.")
@click.option("--skip-unfit", is_flag=True, help="Leave out questions that have not two answers.")
@click.option("--salt", default="", metavar="TEXT", help="Secret that keys the hashes of case and patient names.")
@click.option("--keep-ids", is_flag=True, help="Keep the names of cases and patients as they are.")
@click.option("--name", metavar="NAME", help="The study's name. [default: the first file's]")
@_plainly
def import_(
    answers: tuple[Path, ...],
    out: Path | None,
    form: str,
    values: tuple[str, ...],
    fields: tuple[str, ...],
    pairs: tuple[tuple[str, str], ...],
    skip_unfit: bool,
    salt: str,
    keep_ids: bool,
    name: str | None,
) -> None:
    """Make a run of answers that were made elsewhere: CSV, JSON lines, Parquet, or another program's logs."""
    from palpate import pipeline
    from palpate.imports.answers import read_answers
    from palpate.imports.rows import Fill
    from palpate.report.terminal import render_summary
    from palpate.stages.importing import Naming

    fill = Fill(_pairs(values, "--set", "form=yes-no"), _pairs(fields, "--map", "group=doc.patient"))
    given = read_answers(answers, given=form, fill=fill, skip_unfit=skip_unfit)
    called = name or answers[0].stem
    naming = Naming(salt, keep_ids)
    results = pipeline.import_answers(answers, out or _default_out(called), given, naming=naming, name=called, pairs=pairs)
    for note in given.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{len(given.answers):,} answers imported, {given.n_errors:,} of them errors: {results.folder.path}", err=True)
    click.echo(render_summary(results.view(), str(results.folder.path / "report.html")), nl=False)


@main.command()
@STUDY
@OUT
@WORKERS
@QUIET
@_plainly
def ask(study: Path, out: Path | None, workers: int | None, quiet: bool) -> None:
    """Only ask: put the study's open questions to its models."""
    from palpate import pipeline
    from palpate.report.terminal import progress
    from palpate.stages.plan import plan as make_plan
    from palpate.store.folder import RunFolder
    from palpate.study import Study

    loaded = _with_workers(Study.load(study), workers)
    folder = RunFolder(out or _default_out(loaded.name))
    planned = make_plan(loaded)
    with progress(quiet=quiet) as advance:
        done = pipeline.ask(planned, folder, advance)
    click.echo(f"{done.done} of {done.total} asked, {done.reused} of them before, {done.errors} ended as errors: {folder.path}")


@main.command()
@RUN
@_plainly
def read(run: Path) -> None:
    """Only read: turn answers that are not read yet into outcomes. Needs no model."""
    from palpate.results import Results

    click.echo(f"{Results.open(run).read()} answers read")


@main.command()
@RUN
@click.argument("measures", nargs=-1, metavar="[MEASURE]...")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option(
    "--by", multiple=True, metavar="KEY", help="Keep estimates grouped by exactly these keys, e.g. --by model --by task --by cell."
)
@click.option("--where", multiple=True, metavar="KEY=VALUE", help="Keep estimates of this group only.")
@_plainly
def measure(run: Path, measures: tuple[str, ...], form: str, by: tuple[str, ...], where: tuple[str, ...]) -> None:
    """Measure a run again. Needs no model; MEASURE may be a measure or one of its estimates (all where none is named)."""
    from palpate.report.tables import render_estimates
    from palpate.results import Results
    from palpate.store.folder import estimates_json

    found = Results.open(run).measure(*measures, by=by or None, where=_pairs(where))
    click.echo(estimates_json(found) if form == "json" else render_estimates(found), nl=False)


@main.command()
@RUN
@click.option("--out", type=click.Path(path_type=Path), help="Write the HTML here. [default: RUN/report.html]")
@_plainly
def report(run: Path, out: Path | None) -> None:
    """Write the report again, as HTML and as Markdown."""
    from palpate.results import Results

    click.echo(Results.open(run).report(out))


@main.command()
@RUN
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@_plainly
def gate(run: Path, form: str) -> None:
    """Hold a run to the conditions of its study: exit 0 pass, 1 fail, 2 not evaluable."""
    from palpate.report.tables import render_gate
    from palpate.results import Results

    verdict = Results.open(run).gate()
    click.echo(verdict.to_json() if form == "json" else render_gate(verdict.results), nl=False)
    sys.exit(verdict.exit_code)


@main.command()
@RUN
@click.argument("key")
@_plainly
def show(run: Path, key: str) -> None:
    """Show one trial: what was asked, every attempt, every reading. KEY may be shortened while it is unique."""
    from palpate.report.tables import render_trial
    from palpate.results import Results

    click.echo(render_trial(Results.open(run).trial(key)), nl=False)


@main.command("list")
@click.argument("what", type=click.Choice(["tasks", "models", "prompts", "sources", "perturbations", "readings", "measures"]))
@_plainly
def list_(what: str) -> None:
    """List what a study may name."""
    from palpate.catalogue import catalogue
    from palpate.report.tables import render_catalogue

    click.echo(render_catalogue(catalogue(what)), nl=False)


def _default_out(name: str) -> Path:
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".") or "study"
    return Path("runs") / safe


def _pairs(texts: tuple[str, ...], where: str = "--where", such: str = "model=phantom-llava") -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise PalpateError(f"{text!r} has no key or no value", where=where, expected=f"KEY=VALUE, e.g. {such}")
        found[key] = value
    return found


def _with_workers(study: Study, workers: int | None) -> Study:
    from dataclasses import replace

    return study if workers is None else replace(study, ask=replace(study.ask, workers=workers))


def _run(study: Study, out: Path, workers: int | None, quiet: bool) -> None:
    from palpate import pipeline
    from palpate.report.tables import render_plan
    from palpate.report.terminal import progress, render_summary
    from palpate.results import planned_summary

    def say(planned: Plan) -> None:
        if not quiet:
            click.echo(render_plan(planned_summary(planned, out)), err=True, nl=False)

    with progress(quiet=quiet) as advance:
        results = pipeline.run(_with_workers(study, workers), out, on_plan=say, on_progress=advance)
    click.echo(render_summary(results.view(), str(results.folder.path / "report.html")), nl=False)
