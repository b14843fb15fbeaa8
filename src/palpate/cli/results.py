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
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--where", multiple=True, metavar="KEY=VALUE", help="Only about this group, e.g. --where model=mine.")
@click.argument("numbers", nargs=-1, type=click.IntRange(1, 7), metavar="[1-7]...")
@plainly
def questions(run: Path, form: str, where: tuple[str, ...], numbers: tuple[int, ...]) -> None:
    """What a run says to the seven questions: a verdict each, its number, what no effect would give, what could be found."""
    from palpate.report.tables import render_conclusions
    from palpate.results import Results
    from palpate.store.folder import conclusions_json

    found = Results.open(run).questions(*numbers, where=key_values(where))
    click.echo(conclusions_json(found) if form == "json" else render_conclusions(found), nl=False)


@click.command()
@RUN
@click.option("--out", type=click.Path(path_type=Path), help="Write the HTML here. [default: RUN/report.html]")
@click.option("--with-images/--without-images", "images", default=None, help="Show example cases' images. [default: the study's]")
@plainly
def report(run: Path, out: Path | None, images: bool | None) -> None:
    """Write the report again, as HTML and as Markdown."""
    from palpate.results import Results

    click.echo(Results.open(run).report(out, images=images))


@click.command()
@RUN
@click.option("--condition", "texts", multiple=True, metavar="TEXT", help="One more condition, e.g. 'ba_all.low >= 0.8'.")
@click.option("--conditions", "files", multiple=True, type=click.Path(path_type=Path), metavar="FILE.toml", help="More of them.")
@click.option("--only", is_flag=True, help="Leave the study's own conditions out.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Also write JUnit XML here.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@plainly
def gate(run: Path, texts: tuple[str, ...], files: tuple[Path, ...], only: bool, junit: Path | None, form: str) -> None:
    """Hold a run to the conditions of its study: exit 0 pass, 1 fail, 2 not evaluable.

    A condition compares value, low, high or verdict of an estimate: 'prompt_spread.high <= 0.05 for task=pneumonia_cxr'.
    """
    from palpate.conditions import load_conditions, parse_condition
    from palpate.report.tables import render_gate
    from palpate.results import Results
    from palpate.store.folder import RunFolder

    given = [condition for file in files for condition in load_conditions(file)]
    given += [parse_condition(text, "--condition") for text in texts]
    verdict = Results.open(run).gate(given, only=only)
    if junit is not None:
        RunFolder(junit.parent).write(junit.name, verdict.to_junit())
    click.echo(verdict.to_json() if form == "json" else render_gate(verdict.results, verdict.run.note), nl=False)
    sys.exit(verdict.exit_code)


@click.command()
@RUN
@click.argument("key", required=False)
@click.option(
    "--where", multiple=True, metavar="NAME=VALUE", help="List such answers only, e.g. outcome=wrong; as often as needed."
)
@click.option("--flips", is_flag=True, help="List answers that other words turned into the opposite.")
@click.option("--disagree", is_flag=True, help="List answers that two readings, or a person, read differently.")
@click.option("--count", "-n", type=click.IntRange(1, 1000), default=20, show_default=True, help="Answers in the list.")
@plainly
def show(run: Path, key: str | None, where: tuple[str, ...], flips: bool, disagree: bool, count: int) -> None:
    """Show one trial: what was asked, every attempt, every reading. KEY may be shortened while it is unique.

    Without KEY it lists answers with their keys. NAME in --where is model, task, outcome (right, wrong, unread, positive, negative,
    hedge, refuse-policy, …), label (1, 0), form, cell, prompt, factor (name=value), perturbation or status.
    """
    from palpate.report.tables import render_answers, render_trial
    from palpate.results import Results
    from palpate.store.browsing import wanted_from

    results = Results.open(run)
    if key is not None:
        click.echo(render_trial(results.trial(key)), nl=False)
        return
    wanted = wanted_from(key_values(where, such="outcome=wrong"), flips=flips, disagree=disagree)
    click.echo(render_answers(results.answers(wanted, count), str(run)), nl=False)


@click.command()
@click.argument("before", type=click.Path(path_type=Path), metavar="A")
@click.argument("after", type=click.Path(path_type=Path), metavar="B")
@click.option("--match", "pairs", multiple=True, metavar="OLD=NEW", help="A model of A and its successor in B.")
@click.option(
    "--condition", "texts", multiple=True, metavar="TEXT", help="Hold the change to this, e.g. 'pair.verdict != \"worse\"'."
)
@click.option("--all", "every", is_flag=True, help="Every difference, not only accuracy and refusals.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "markdown", "html"]),
    default="table",
    show_default=True,
    help="As what.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it here.")
@plainly
def compare(
    before: Path, after: Path, pairs: tuple[str, ...], texts: tuple[str, ...], every: bool, form: str, out: Path | None
) -> None:
    """Say what changed from run A to run B: paired, on the images and wordings both asked, with verdicts.

    With conditions it ends as the gate does: exit 0 pass, 1 fail, 2 not evaluable.
    """
    from palpate.conditions import parse_condition
    from palpate.report import compared
    from palpate.report.tables import render_gate
    from palpate.results import compare_runs
    from palpate.stages.gate import exit_code, gate
    from palpate.store.folder import RunFolder

    conditions = [parse_condition(text, "--condition") for text in texts]
    found = compare_runs(before, after, key_values(pairs, "--match", "old=new"))
    writers = {"json": compared.comparison_json, "markdown": compared.comparison_markdown, "html": compared.comparison_html}
    text = compared.render_comparison(found, every=every) if form == "table" else writers[form](found)
    if out is not None:
        click.echo(RunFolder(out.parent).write(out.name, text))
    else:
        click.echo(text, nl=False)
    if conditions:
        held = gate(conditions, found.estimates)
        click.echo(render_gate(held), nl=False, err=form != "table")
        sys.exit(exit_code(held))


VERBS = (measure, questions, report, gate, compare, show)
