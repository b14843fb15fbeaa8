"""Verbs that give a run's contents to other programs: export."""

from __future__ import annotations

from pathlib import Path

import click

from palpate.cli._flags import RUN, plainly

WHAT = ("trials", "readings", "estimates", "tables")


@click.command()
@RUN
@click.argument("what", nargs=-1, type=click.Choice(WHAT), metavar="[WHAT]...")
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to. [default: RUN/export]")
@click.option("--format", "form", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True, help="Of the rows.")
@click.option(
    "--with-text", is_flag=True, help="Also the questions and the models' own words, which may repeat what an image shows."
)
@click.option(
    "--partition/--no-partition",
    default=None,
    help="Trials as a folder of Parquet files. [default: of over two million]",
)
@plainly
def export(run: Path, what: tuple[str, ...], out: Path | None, form: str, with_text: bool, partition: bool | None) -> None:
    """Write a run for other programs: WHAT is trials, readings, estimates, tables (for a paper), or all where none is named."""
    from palpate.results import Results

    target = out or run / "export"
    for path, count in Results.open(run).export(what or WHAT, target, form=form, with_text=with_text, partition=partition):
        click.echo(f"{path}: {count:,} {'row' if count == 1 else 'rows'}")


VERBS = (export,)
