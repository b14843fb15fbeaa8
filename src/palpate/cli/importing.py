"""Verbs that bring answers in: import."""

from __future__ import annotations

from pathlib import Path

import click

from palpate.cli._flags import OUT, default_out, key_values, plainly


@click.command("import")
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
@plainly
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

    fill = Fill(key_values(values, "--set", "form=yes-no"), key_values(fields, "--map", "group=doc.patient"))
    given = read_answers(answers, given=form, fill=fill, skip_unfit=skip_unfit)
    called = name or answers[0].stem
    naming = Naming(salt, keep_ids)
    results = pipeline.import_answers(answers, out or default_out(called), given, naming=naming, name=called, pairs=pairs)
    for note in given.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{len(given.answers):,} answers imported, {given.n_errors:,} of them errors: {results.folder.path}", err=True)
    click.echo(render_summary(results.view(), str(results.folder.path / "report.html")), nl=False)


VERBS = (import_,)
