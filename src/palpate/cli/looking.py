"""Verbs that look things up and look things over: list, check."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from palpate.cli._flags import RUN, plainly


@click.command("list")
@click.argument("what", type=click.Choice(["tasks", "models", "prompts", "sources", "perturbations", "readings", "measures"]))
@plainly
def list_(what: str) -> None:
    """List what a study may name."""
    from palpate.catalogue import catalogue
    from palpate.report.tables import render_catalogue

    click.echo(render_catalogue(catalogue(what)), nl=False)


@click.command()
@RUN
@click.option("--salvage", type=click.Path(path_type=Path), metavar="NEW", help="Save what is whole into this new run folder.")
@plainly
def check(run: Path, salvage: Path | None) -> None:
    """Check that a run is whole: every page, reference, key and seal of its ledger. Exit 0 whole, 1 damaged."""
    from palpate.report.tables import render_check, render_salvaged
    from palpate.results import check_run, salvage_run

    if salvage is not None:
        click.echo(render_salvaged(salvage_run(run, salvage), str(salvage)), nl=False)
        run = salvage
    checked = check_run(run)
    click.echo(render_check(checked), nl=False)
    sys.exit(0 if checked.whole else 1)


VERBS = (list_, check)
