"""The report page: complete, self-contained, inert."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from palpate.report import words
from palpate.report.html import render_html
from palpate.report.questions import QUESTIONS
from palpate.report.view import ReportView
from synthetic_report import HOSTILE, MODELS, NO_ANSWER, TASKS

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The page as a browser's parser sees it: tags with attributes, scripts, and the text outside them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.imply({"td": ("td",), "tr": ("td", "tr")}.get(tag, ()))
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.open.append(tag)

    def imply(self, ended: tuple[str, ...]) -> None:
        """A cell ends where the next cell, row or end of the rows begins."""
        for tag in ended:
            if self.open and self.open[-1] == tag:
                self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        self.imply({"tr": ("td",), "tbody": ("td", "tr")}.get(tag, ()))
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attrs, text = self.scripts[-1]
            self.scripts[-1] = (attrs, text + data)
        elif not self.open or self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def html(view: ReportView) -> str:
    return render_html(view)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def hostile_page(hostile: ReportView) -> Page:
    return Page(render_html(hostile))


def test_tags_are_balanced(page: Page, hostile_page: Page) -> None:
    assert page.open == hostile_page.open == []


def test_the_same_view_gives_the_same_bytes(view: ReportView, html: str) -> None:
    assert render_html(view) == html


def test_the_page_is_small_and_holds_the_library_once(html: str) -> None:
    from plotly.offline import get_plotlyjs

    assert len(html.encode()) < 6_000_000
    library = re.findall(r'<script type="text/plain" id="library">(.*?)</script>', html, re.DOTALL)
    assert len(library) == 1
    assert gzip.decompress(base64.b64decode(library[0])).decode() == get_plotlyjs()


def test_every_estimate_is_on_the_page(view: ReportView, html: str) -> None:
    listed = []
    for name, rows in re.findall(r'<tbody><tr><th colspan="8" scope="rowgroup">([^ <]+)(.*?)</tbody>', html, re.DOTALL):
        listed += [(name, *row) for row in re.findall("<tr><td>(.*?)<td>(.*?)<td>(.*?)<td>", rows)]
    expected = sorted((e.measure, words.of(e), words.number(e.value), words.bounds(e)) for e in view.estimates)
    assert sorted(listed) == expected


def test_a_table_names_and_defines_each_measure_once(view: ReportView, html: str) -> None:
    heads = re.findall(r'<th colspan="8" scope="rowgroup">([^ <]+)', html)
    assert len(heads) == len(set(heads)) == len({e.measure for e in view.estimates})
    assert 'scope="rowgroup">ba_all <small>Mean of sensitivity and specificity of all read trials</small>' in html


def test_undefined_shows_its_reason_and_no_zero(view: ReportView, html: str) -> None:
    undefined = [e for e in view.estimates if e.value is None]
    rows = [row for row in re.findall("<tr>(<td>.*)", html) if f"not measured: {NO_ANSWER}" in row]
    assert len(rows) == len(undefined) > 0
    assert all("<td>–<td>" in row for row in rows)


def test_the_first_tables_say_why_something_was_not_measured(page: Page) -> None:
    assert f"not measured : invasive ductal carcinoma ({NO_ANSWER})" in page.text
    assert f"– not measured {NO_ANSWER}" in page.text


def test_each_number_stands_with_what_it_rests_on(page: Page) -> None:
    assert page.text.count("estimate, of value interval images groups left out method verdict or reason") >= 5


@pytest.mark.parametrize("title", [q.title for q in QUESTIONS])
def test_every_question_has_its_section(page: Page, title: str) -> None:
    assert title in page.text


def test_questions_not_examined_are_named_not_hidden(page: Page) -> None:
    assert "Not examined in this study: Looks at the image? Knows more than it says? Knows when to abstain?" in page.text
    assert page.text.count("Not examined in this study. It takes") == 3


def test_links_lead_somewhere(page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [attrs["href"] or "" for tag, attrs in page.tags if tag == "a"]
    assert len(targets) >= 10
    assert all(t.startswith("#") and t[1:] in ids for t in targets)


def test_every_chart_has_its_data_a_title_and_a_table(page: Page) -> None:
    data = json.loads(next(text for attrs, text in page.scripts if attrs.get("id") == "charts"))
    shown = {attrs["id"]: attrs for tag, attrs in page.tags if tag == "div" and attrs.get("class") == "chart"}
    assert set(data) == set(shown)
    assert len(data) == 4 + 4 + 3 + 4, (
        "four questions; of tasks a strip, a map of what is left open if anything is, and of wordings"
    )
    assert all((attrs["aria-label"] or "").startswith("Chart: ") for attrs in shown.values())
    assert all("title" not in chart["layout"] for chart in data.values()), "the title is the page's, where it can wrap"
    assert page.text.count("The numbers behind it") == 4


def test_the_page_is_legible_without_scripts(page: Page) -> None:
    assert page.text.count("The chart needs JavaScript; its numbers are in the table of this section.") == 15
    assert "phantom-llava answers 0.90 of brain tumour questions right" in page.text


def test_only_named_scripts_may_run_and_nothing_is_fetched(page: Page) -> None:
    policy = next(attrs["content"] or "" for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs)
    assert policy.startswith("default-src 'none';")
    assert "unsafe-eval" not in policy
    allowed = re.findall(r"'sha256-([^']+)'", policy.split("script-src")[1])
    assert "unsafe-inline" not in policy.split("script-src")[1]
    run = [text for attrs, text in page.scripts if "type" not in attrs]
    assert len(run) == 1
    assert base64.b64encode(hashlib.sha256(run[0].encode()).digest()).decode() in allowed
    library = next(text for attrs, text in page.scripts if attrs.get("id") == "library")
    unpacked = gzip.decompress(base64.b64decode(library))
    assert base64.b64encode(hashlib.sha256(unpacked).digest()).decode() in allowed
    assert len(allowed) == 2


def test_no_tag_reaches_outside(page: Page, hostile_page: Page) -> None:
    for tag, attrs in (*page.tags, *hostile_page.tags):
        for name, value in attrs.items():
            if name in ("src", "href", "action", "srcset", "poster", "data", "srcdoc", "formaction"):
                assert value is not None
                assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
        assert not re.search(r"url\(|@import", attrs.get("style") or "")
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)


def test_harm_in_texts_makes_no_tag(page: Page, hostile_page: Page) -> None:
    kinds = {tag for tag, _ in page.tags}
    assert {tag for tag, _ in hostile_page.tags} <= kinds
    assert not kinds & {"iframe", "svg", "object", "embed", "form", "base", "link"}
    assert len(hostile_page.scripts) == len(page.scripts) == 3


@pytest.mark.parametrize("bad", HOSTILE)
def test_harm_is_shown_as_text(hostile_page: Page, bad: str) -> None:
    assert " ".join(words.plain(bad).split()) in re.sub(r"\s+", " ", "".join(hostile_page.words))


def test_no_control_or_direction_character_reaches_the_page(hostile: ReportView) -> None:
    html = render_html(hostile)
    html.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html)


def test_template_language_in_texts_is_not_run(hostile_page: Page) -> None:
    assert "{{ 7 * 191 }}" in hostile_page.text
    assert "1337" not in hostile_page.text


def test_the_marked_span_is_the_models_own_words(view: ReportView, html: str) -> None:
    assert "<mark>Yes</mark>, there is a mass in the left lobe." in html
    odd = replace(view.examples[0].answers[0], text="so short", span=(4, 99))
    html = render_html(replace(view, examples=(replace(view.examples[0], answers=(odd,)),)))
    assert "so <mark>short</mark>" in html, "no word is marked in part"


def test_images_are_shown_only_where_given(view: ReportView, page: Page) -> None:
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(pictures) == 3
    assert all(attrs["alt"] for attrs in pictures)
    without = replace(view, examples=tuple(replace(e, png=None) for e in view.examples))
    assert not [1 for tag, _ in Page(render_html(without)).tags if tag == "img"]


def test_errors_conditions_and_cautions_are_told(page: Page) -> None:
    assert "image could not be sent 17" in page.text
    assert "Errors are no answers" in page.text
    assert "✗ fail ba_all.low &gt;= 0.8" in page.text or "fail ba_all.low >= 0.8" in page.text
    assert "A benign lesion is abnormal too." in page.text
    assert "names them and says why" in page.text


def test_the_appendix_holds_definitions_methods_study_and_environment(view: ReportView, page: Page) -> None:
    told = ("seed = 0", "sha256:12ab", "sibling of phantom-gemma", "How to cite", "2604.09841", "1 min")
    for text in (*view.definitions.values(), *told):
        assert text in page.text
    assert "a_later_measure" in page.text


def test_one_task_and_no_pair_still_make_a_report(view: ReportView) -> None:
    own = [e for e in view.estimates if e.by.get("task") == TASKS[0][0] and e.by.get("model") == MODELS[0]]
    page = Page(render_html(replace(view, tasks=view.tasks[:1], models=view.models[:1], estimates=tuple(own), examples=())))
    assert "above chance : 0.90 of 0.975" in page.text
    assert "It takes a tuned model and its base in one study." in page.text
    assert "No examples were kept." in page.text


def test_a_study_not_yet_asked_makes_a_page(bare: ReportView) -> None:
    page = Page(render_html(bare))
    assert "0 of 7,200 questions got an answer; 7,200 not asked yet, counted apart." in page.text
    assert "not measured" in page.text
