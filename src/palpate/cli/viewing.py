"""Verbs that let a person look inside a run: view."""

from __future__ import annotations

from pathlib import Path

import click

from palpate.cli._flags import RUN, plainly


@click.command()
@RUN
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page. [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Print the page's link, open no browser.")
@plainly
def view(run: Path, port: int, no_browser: bool) -> None:
    """Look inside a run on a page of this machine, also while it is running: every image, question, answer and reading.

    A person can read a sample of answers there too, blind: the page of `palpate label`.
    """
    from contextlib import nullcontext

    from palpate.results import Results
    from palpate.serve.browser import opened
    from palpate.serve.local import LocalServer
    from palpate.serve.view import ViewPage

    page = ViewPage(Results.open(run))
    with LocalServer(page, port=port) as server:
        click.echo(f"look here, Ctrl-C ends: {server.link}")
        with nullcontext() if no_browser else opened(server.link):
            try:
                server.serve()
            except KeyboardInterrupt:
                click.echo("ended", err=True)


VERBS = (view,)
