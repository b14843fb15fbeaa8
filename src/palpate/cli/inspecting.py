"""Verbs that look at images before a model does: inspect."""

from __future__ import annotations

from pathlib import Path

import click

from palpate.cli._flags import plainly


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="SOURCE")
@click.option("--task", "tasks", multiple=True, metavar="TASK", help="Of a study, only this task; else the task whose labels hold.")
@click.option("--kind", default="", metavar="KIND", help="Which source reads SOURCE. [default: told by what is there]")
@click.option(
    "--positive", multiple=True, metavar="LABEL", help="A label that means present. [default: those of the built-in tasks]"
)
@click.option("--negative", multiple=True, metavar="LABEL", help="A label that means absent.")
@click.option("--set", "values", multiple=True, metavar="OPTION=VALUE", help="An option of the source, e.g. --set group=patient.")
@click.option("--per-class", type=click.IntRange(1), default=None, help="Look at so many images of each label. [default: all]")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write the card as a page.")
@click.option("--sheet", type=click.Path(path_type=Path), metavar="FILE", help="Also write all images, small, as one PNG: pixels!")
@click.option("--names", is_flag=True, help="Put file names into the JSON and the page: they may name patients.")
@plainly
def inspect(
    source: Path,
    tasks: tuple[str, ...],
    kind: str,
    positive: tuple[str, ...],
    negative: tuple[str, ...],
    values: tuple[str, ...],
    per_class: int | None,
    form: str,
    html: Path | None,
    sheet: Path | None,
    names: bool,
) -> None:
    """Look at images: counts, copies, blanks, shortcuts, and what was left out. SOURCE is a study, a folder or a table."""
    from palpate.cli._flags import key_values
    from palpate.errors import PalpateError
    from palpate.parts import Labels
    from palpate.report.datacard import card_html, contact_sheet, render_card
    from palpate.stages.inspect import built_in_labels, inspect_source, inspect_study, named_json, option_value, written

    if source.suffix.lower() == ".toml" and not kind:
        from palpate.study import Study

        found = inspect_study(Study.load(source, with_models=False), tasks)
    else:
        if bool(positive) != bool(negative):
            raise PalpateError("one of --positive and --negative is missing", expected="both, each as often as needed")
        if len(tasks) > 1:
            raise PalpateError("several tasks for one source", where="--task", expected="one, for its labels")
        labels = Labels(positive, negative) if positive else built_in_labels(tasks[0] if tasks else "")
        options = {key: option_value(value) for key, value in key_values(values, "--set", "group=patient").items()}
        found = [inspect_source(source, kind=kind, options=options, labels=labels, per_class=per_class)]
    if form == "json":
        click.echo(named_json(found, names=names), nl=False)
    else:
        for one in found:
            left_out = [(out.name, out.reason) for out in one.found.left_out]
            click.echo(render_card(one.card, one.found.names, left_out), nl=False)
    if html is not None:
        named = {one.card.task: one.found.names for one in found} if names else {}
        written(html, card_html([one.card for one in found], named).encode("utf-8"))
    if sheet is not None:
        written(sheet, contact_sheet([case for one in found for case in one.found.cases]))


VERBS = (inspect,)
"""Verbs of this file, for the group."""
