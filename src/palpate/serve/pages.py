"""Pages made of templates and of text from anywhere: everything shown is escaped and fit to show."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader

from palpate.report.words import plain, signed
from palpate.serve.local import Reply
from palpate.store.browsing import PERSON


def page(template: str, *, status: int = 200, **shown: Any) -> Reply:
    """The template with what it shows."""
    html = _templates().get_template(template).render(**shown)
    return Reply(html.encode("utf-8", "replace"), status=status)


def said(text: str, status: int) -> Reply:
    """A sentence alone."""
    return Reply(text.encode("utf-8", "replace"), "text/plain; charset=utf-8", status)


def compiled(*templates: str) -> None:
    """Make the templates ready."""
    for name in templates:
        _templates().get_template(name)


@cache
def style() -> str:
    """The report's style, and what these pages add to it."""
    report = files("palpate.report").joinpath("templates", "report.css").read_text("utf-8")
    return report + file("view.css")


def file(name: str) -> str:
    """A file that comes with these pages."""
    return files("palpate.serve").joinpath("templates", name).read_text("utf-8")


@cache
def _templates() -> Environment:
    made = Environment(autoescape=True, loader=FunctionLoader(file), trim_blocks=True, lstrip_blocks=True, finalize=_fit_to_show)
    made.filters["signed"] = signed
    made.globals["PERSON"] = PERSON
    return made


def _fit_to_show(value: object) -> object:
    """Every text that a template shows, whoever wrote it; markup of our own stays (it has ``__html__``)."""
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
