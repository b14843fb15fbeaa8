"""Verbs over a run: measure, report, gate, show."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from palpate.cli._flags import RUN, key_values, plainly


@click.command()
@RUN
@click.argument("measures", nargs=-1, metavar="[MEASURE]...")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option(
    "--by", multiple=True, metavar="KEY", help="Keep estimates grouped by exactly these keys, e.g. --by model --by task --by cell."
)
@click.option("--where", multiple=True, metavar="KEY=VALUE", help="Keep estimates of this group only.")
@plainly
def measure(run: Path, measures: tuple[str, ...], form: str, by: tuple[str, ...], where: tuple[str, ...]) -> None:
    """Measure a run again. Needs no model; MEASURE may be a measure or one of its estimates (all where none is named)."""
    from palpate.report.tables import render_estimates
    from palpate.results import Results
    from palpate.store.folder import estimates_json

    found = Results.open(run).measure(*measures, by=by or None, where=key_values(where))
    click.echo(estimates_json(found) if form == "json" else render_estimates(found), nl=False)


@click.command()
@RUN
@click.option("--out", type=click.Path(path_type=Path), help="Write the HTML here. [default: RUN/report.html]")
@plainly
def report(run: Path, out: Path | None) -> None:
    """Write the report again, as HTML and as Markdown."""
    from palpate.results import Results

    click.echo(Results.open(run).report(out))


@click.command()
@RUN
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@plainly
def gate(run: Path, form: str) -> None:
    """Hold a run to the conditions of its study: exit 0 pass, 1 fail, 2 not evaluable."""
    from palpate.report.tables import render_gate
    from palpate.results import Results

    verdict = Results.open(run).gate()
    click.echo(verdict.to_json() if form == "json" else render_gate(verdict.results), nl=False)
    sys.exit(verdict.exit_code)


@click.command()
@RUN
@click.argument("key")
@plainly
def show(run: Path, key: str) -> None:
    """Show one trial: what was asked, every attempt, every reading. KEY may be shortened while it is unique."""
    from palpate.report.tables import render_trial
    from palpate.results import Results

    click.echo(render_trial(Results.open(run).trial(key)), nl=False)


VERBS = (measure, report, gate, show)
