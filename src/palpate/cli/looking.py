"""Verbs that look things up: list."""

from __future__ import annotations

import click

from palpate.cli._flags import plainly


@click.command("list")
@click.argument("what", type=click.Choice(["tasks", "models", "prompts", "sources", "perturbations", "readings", "measures"]))
@plainly
def list_(what: str) -> None:
    """List what a study may name."""
    from palpate.catalogue import catalogue
    from palpate.report.tables import render_catalogue

    click.echo(render_catalogue(catalogue(what)), nl=False)


VERBS = (list_,)
