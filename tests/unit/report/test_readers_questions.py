"""What a reader who has never seen Palpate asks, and that the demo's report answers it where docs/report.md says."""

from __future__ import annotations

import os
import re
from html import unescape
from pathlib import Path

import pytest

from palpate.report.html import render_html
from palpate.report.view import ReportView
from palpate.results import Results

PAGE = Path(__file__).parents[3] / "docs" / "report.md"
DEMO = os.environ.get("PALPATE_DEMO", "")  # a finished `palpate demo`, to save the two minutes of another


def asked() -> list[tuple[str, str, str]]:
    """(question, anchor, words of the answer) of the table in the documentation."""
    text = PAGE.read_text(encoding="utf-8").partition("## Questions a reader should be able to answer")[2].partition("\n## ")[0]
    return re.findall(r"^\| (.+?\?) \| `#(\w+)` \| (.+?) \|$", text, re.MULTILINE)


def section(page: str, anchor: str) -> str:
    """The words of one section, as a reader without scripts sees them."""
    start = page.index(f'id="{anchor}"')
    rest = page[start : page.find("<section", start)]
    return " ".join(unescape(re.sub("<[^>]*>", " ", rest)).split())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo's report."""
    if DEMO:
        return Results.open(DEMO).report(tmp_path_factory.mktemp("demo") / "report.html").read_text(encoding="utf-8")
    from palpate import pipeline, studies
    from palpate.study import Study

    folder = tmp_path_factory.mktemp("demo") / "run"
    pipeline.run(Study.load(Path(studies.__file__).with_name("phantom.toml")), folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_enough_is_asked_and_every_section_is_asked_about() -> None:
    found = asked()
    assert len(found) >= 20
    assert len({question for question, *_ in found}) == len(found)
    assert {anchor for _, anchor, _ in found} >= {
        "choice",
        "verdicts",
        *(f"q{n}" for n in range(1, 8)),
        "examples",
        "errors",
        "data",
    }


def test_every_anchor_is_a_section_of_any_report(view: ReportView) -> None:
    page = render_html(view)
    for question, anchor, _ in asked():
        assert len(section(page, anchor)) > 40, question


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demos_report_answers_each_where_it_says(demo: str) -> None:
    unanswered = [(question, anchor, words) for question, anchor, words in asked() if words not in section(demo, anchor)]
    assert unanswered == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demos_report_is_small_enough_to_mail(demo: str) -> None:
    assert len(demo.encode()) < 6_000_000
