"""The report in Markdown: the same numbers, inert."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from palpate.report import words
from palpate.report.findings import findings
from palpate.report.markdown import render_markdown
from palpate.report.questions import QUESTIONS
from palpate.report.view import ReportView
from synthetic_report import HOSTILE, MODELS, NO_ANSWER


def plain(markdown: str) -> str:
    """What a reader sees of escaped text."""
    return re.sub(r"\\([\\`*_\[\]<>|&#~@:.])", r"\1", markdown)


@pytest.fixture(scope="module")
def markdown(view: ReportView) -> str:
    return render_markdown(view)


def test_every_estimate_over_wordings_is_there(view: ReportView, markdown: str) -> None:
    lines = set(plain(markdown).splitlines())
    for e in view.estimates:
        if "prompt" not in e.by:
            value = "not measured" if e.value is None else words.number(e.value)
            told = "; ".join(filter(None, (e.verdict, e.reason)))
            counts = f"{e.n_cases} | {e.n_clusters} | {e.n_left_out}"
            assert f"| {e.measure} | {words.of(e)} | {value} | {words.bounds(e)} | {counts} | {told} |" in lines


def test_every_wording_has_its_accuracy(view: ReportView, markdown: str) -> None:
    seen = plain(markdown)
    for e in view.estimates:
        if e.measure == "ba_all" and "prompt" in e.by:
            assert f"{words.number(e.value)} ({words.bounds(e)})" in seen


def test_every_finding_is_told(view: ReportView, markdown: str) -> None:
    seen = plain(markdown)
    for f in findings(view):
        assert f.sentence in seen
        assert f"| {f.symbol} {f.verdict} |" in seen


def test_every_question_has_a_heading_even_if_not_examined(markdown: str) -> None:
    for q in QUESTIONS:
        assert f"\n## {q.title}\n" in markdown
    assert markdown.count("Not examined in this study. It takes") == 3


def test_undefined_shows_its_reason(markdown: str) -> None:
    assert f"| not measured |  | 150 | 150 | 3 | {NO_ANSWER} |" in markdown


def test_the_first_table_says_why_something_was_not_measured(markdown: str) -> None:
    assert f"– not measured: invasive ductal carcinoma ({NO_ANSWER})" in plain(markdown)


def test_tables_are_rectangular(markdown: str, hostile: ReportView) -> None:
    for text in (markdown, render_markdown(hostile)):
        block: list[int] = []
        for line in [*text.splitlines(), ""]:
            if line.startswith("|"):
                block.append(len(re.findall(r"(?<!\\)\|", line)))
            elif block:
                assert len(set(block)) == 1, line
                block = []


def test_no_text_becomes_markup(hostile: ReportView) -> None:
    text = render_markdown(hostile)
    before, fenced, after = re.split(r"^(```toml\n.*?\n```)$", text, maxsplit=1, flags=re.DOTALL | re.MULTILINE)
    for part in (before, after):
        assert not re.search(r"(?<!\\)<", part)
        assert not re.search(r"(?<!\\)!?\[", part)
        assert not re.search(r"(?<!\\)://", part)
        assert not re.search(r"www(?<!\\)\.", part)
    text.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)
    assert fenced


def test_the_study_file_cannot_end_its_fence(view: ReportView) -> None:
    text = render_markdown(replace(view, study_toml='a = "````"\n```\n# not a heading'))
    assert "`````toml\n" in text
    assert "\n# not a heading\n`````\n" in text


def test_harm_is_shown_as_text(hostile: ReportView) -> None:
    seen = plain(render_markdown(hostile))
    for bad in HOSTILE:
        assert words.line(bad) in seen


def test_examples_errors_and_methods_are_there(view: ReportView, markdown: str) -> None:
    seen = plain(markdown)
    assert "Yes, there is a mass in the left lobe." in seen
    assert "| image could not be sent | 17 |" in seen
    assert all(text in seen for text in view.definitions.values())
    assert "### Other estimates" in markdown
    assert "1 min in models." in markdown
    assert "Licence: Apache-2.0" in seen


def test_the_same_view_gives_the_same_text(view: ReportView, markdown: str) -> None:
    assert render_markdown(view) == markdown


def test_a_study_not_yet_asked_makes_a_text(bare: ReportView) -> None:
    text = render_markdown(bare)
    assert "7,200 not asked yet" in text
    assert "No examples were kept." in text
    assert MODELS[0] in text
