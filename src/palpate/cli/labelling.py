"""Verbs for people who read answers: label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from palpate.cli._flags import RUN, plainly

if TYPE_CHECKING:
    from palpate.nouns import Outcome
    from palpate.stages.label import Drawn


@click.command()
@RUN
@click.option("--as", "alias", default="reader-1", show_default=True, metavar="ALIAS", help="Who reads: an alias, no name.")
@click.option("--count", "-n", type=click.IntRange(1), default=200, show_default=True, help="Answers in the sample.")
@click.option("--terminal", is_flag=True, help="Read in the terminal instead of a page.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page. [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Print the page's link, open no browser.")
@plainly
def label(run: Path, alias: str, count: int, terminal: bool, port: int, no_browser: bool) -> None:
    """Let a person read a sample of answers, blind, to see how good the machine's reading is."""
    from palpate.results import Results
    from palpate.stages.label import check_alias, draw, record, waiting

    results = Results.open(run)
    check_alias(alias)
    with results.folder.ledger() as ledger:
        sample = draw(results.study, ledger, count)
        left = waiting(sample, ledger, alias)

    def keep(drawn: Drawn, outcome: Outcome) -> None:
        with results.folder.writing(results.study.name, results.study.to_toml()) as book:
            record(book, alias, drawn, outcome)

    if terminal:
        _in_terminal(left, len(sample), keep)
    else:
        _on_a_page(left, len(sample), keep, port, not no_browser)
    with results.folder.ledger() as ledger:
        remaining = len(waiting(sample, ledger, alias))
    click.echo(f"{len(sample) - remaining} of {len(sample)} read by {alias}; `palpate measure {run} reading_quality` compares")


def _in_terminal(left: list[Drawn], total: int, keep: Callable[[Drawn, Outcome], None]) -> None:
    from palpate.report.words import plain
    from palpate.stages.label import CHOICES, means

    keys = {key: outcome for key, outcome, _ in CHOICES}
    menu = "\n".join(f"  {key}  {about}" for key, _, about in CHOICES) + "\n  s  later\n  q  stop here"
    queue = list(left)
    while queue:
        now = queue[0]
        click.echo(f"\n{'─' * 72}\n{total - len(queue)} of {total} read\n\nQuestion: {plain(now.prompt.text)}")
        click.echo(
            f"Condition: {plain(now.condition)}. {plain(means(now.prompt))}\n\nAnswer: {plain(now.text) or '(nothing)'}\n\n{menu}"
        )
        said = click.prompt("The answer", type=click.Choice([*keys, "s", "q"]), show_choices=False)
        if said == "q":
            return
        if said == "s":
            queue.append(queue.pop(0))
            continue
        keep(now, keys[said])
        queue.pop(0)


def _on_a_page(left: list[Drawn], total: int, keep: Callable[[Drawn, Outcome], None], port: int, browser: bool) -> None:
    from contextlib import nullcontext

    from palpate.serve.browser import opened
    from palpate.serve.label import LabelPage
    from palpate.serve.local import LocalServer

    page = LabelPage(left, total, keep, lambda: server.stop())
    with LocalServer(page, port=port) as server:
        click.echo(f"read here, Ctrl-C ends: {server.link}")
        with opened(server.link) if browser else nullcontext():
            try:
                server.serve()
            except KeyboardInterrupt:
                click.echo("stopped: what was read is kept", err=True)


VERBS = (label,)
