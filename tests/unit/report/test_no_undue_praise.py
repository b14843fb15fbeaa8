"""What a report must not claim: praise for guessing, opinions that were errors, markup where there is text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

from palpate.nouns import OUTCOME_CODE, Estimate, Outcome, Panel
from palpate.report import words
from palpate.report.findings import STEADY, Finding, findings
from palpate.report.gather import _flips, _worth_seeing
from palpate.report.html import render_html
from palpate.report.markdown import render_markdown
from palpate.report.view import ReportView
from planted import panel

METHOD = "planted"
YES, NO = OUTCOME_CODE[Outcome.POSITIVE], OUTCOME_CODE[Outcome.NEGATIVE]
ERROR = -1


def made(measure: str, value: float, verdict: str | None, by: Mapping[str, str]) -> Estimate:
    return Estimate(measure, by, value, value - 0.01, value + 0.01, 0.95, METHOD, 150, 150, 0, None, verdict)


def wording(view: ReportView, spread: str, accuracy: str | None) -> Finding:
    by = {"model": view.models[0].name, "task": view.tasks[0].name, "cell": "target"}
    estimates = (made("ba_all", 0.5, accuracy, by), made("prompt_spread", 0.02, spread, by))
    one = replace(view, models=view.models[:1], tasks=view.tasks[:1], estimates=estimates)
    return next(f for f in findings(one) if f.question == 2)


@pytest.mark.parametrize("accuracy", sorted(STEADY))
def test_a_steady_guesser_is_not_praised(view: ReportView, accuracy: str) -> None:
    f = wording(view, "robust", accuracy)
    assert (f.symbol, f.verdict) == STEADY[accuracy][:2]
    assert f.symbol != "✓"
    assert f.tone != "good"
    assert f.sentence.endswith(STEADY[accuracy][2])
    assert "Robust" not in f.sentence


def test_a_steady_model_above_chance_is_robust(view: ReportView) -> None:
    f = wording(view, "robust", "above chance")
    assert (f.symbol, f.verdict, f.tone) == ("✓", "robust", "good")


@pytest.mark.parametrize("accuracy", sorted(STEADY))
@pytest.mark.parametrize("spread", ["fragile", "undetermined"])
def test_what_moves_is_said_to_move_whatever_the_accuracy(view: ReportView, spread: str, accuracy: str) -> None:
    assert wording(view, spread, accuracy).verdict == spread
    assert wording(view, spread, accuracy).symbol == words.SYMBOLS[spread]


def test_an_error_is_no_change_of_mind() -> None:
    codes = np.array([[YES, ERROR, YES, ERROR], [YES, NO, YES, NO], [ERROR] * 4, [NO, ERROR, ERROR, ERROR]], np.int8)
    assert _flips(codes).tolist() == [0.0, 4 / 6, 0.0, 0.0]


def test_flips_are_the_share_of_pairs_read_that_differ() -> None:
    codes = np.random.default_rng(0).integers(-1, 4, (40, 6)).astype(np.int8)
    for row, found in zip(codes, _flips(codes), strict=True):
        read = [c for c in row if c >= 0]
        pairs = [(a, b) for i, a in enumerate(read) for b in read[i + 1 :]]
        assert found == pytest.approx(sum(a != b for a, b in pairs) / len(pairs) if pairs else 0.0)


def worth(codes: list[list[int]], label: list[int], count: int) -> list[tuple[int, str]]:
    one: Panel = panel(np.array(codes), np.array(label))
    return _worth_seeing([one], count)


def test_a_case_that_only_failed_is_shown_neither_as_wrong_nor_as_right() -> None:
    chosen = worth([[ERROR] * 3, [NO, NO, NO], [YES, YES, YES], [YES, NO, YES]], [1, 1, 1, 1], 3)
    assert chosen == [
        (3, "answers depend most on the wording"),
        (1, "most often answered wrongly"),
        (2, "most often answered rightly"),
    ]


def test_failed_questions_do_not_make_a_case_wrong() -> None:
    """Three of four lost to errors and one right: always right. One of four right and none lost: mostly wrong."""
    chosen = dict(worth([[YES, ERROR, ERROR, ERROR], [YES, NO, NO, NO], [YES, NO, YES, NO]], [1, 1, 1], 3))
    assert chosen[0] == "most often answered rightly"
    assert chosen[1] == "most often answered wrongly"


class _Captions(HTMLParser):
    """The text of figure captions and the labels of charts, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.captions: list[str] = []
        self.labels: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "figcaption"
        values = dict(attrs)
        if values.get("class") == "chart":
            self.labels.append(values["aria-label"] or "")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.captions.append(data)
            self._inside = False


def test_a_title_is_escaped_once(view: ReportView) -> None:
    title = "Carcinoma in H&E <b>patches</b> {x} ${y}"
    found = _Captions()
    found.feed(render_html(replace(view, tasks=(replace(view.tasks[0], title=title), *view.tasks[1:]))))
    mine = [c for c in found.captions if title in c]
    assert mine, found.captions
    assert all(unescape(c) == c for c in found.captions)
    assert any(title in label for label in found.labels)


def test_the_first_table_tells_models_of_one_verdict_apart(view: ReportView) -> None:
    """Four times "above chance" does not say whom to trust: each task's accuracy stands beside its verdict."""
    by = {"task": view.tasks[0].name, "cell": "target"}
    scores = {model.name: 0.61 + 0.09 * i for i, model in enumerate(view.models)}
    estimates = tuple(made("ba_all", value, "above chance", {"model": name, **by}) for name, value in scores.items())
    one = replace(view, tasks=(view.tasks[0], view.tasks[1]), estimates=estimates, examples=())
    first = render_html(one).split('<table class="matrix">')[1].split("</table>")[0]
    rows = dict(zip(scores, first.split("<tr>")[2:], strict=True))
    for name, value in scores.items():
        assert f'brain tumour <span class="whole">{value:.2f} of 0.975</span>' in rows[name]
        assert [other for other in scores.values() if f"{other:.2f} of" in rows[name]] == [value]


@pytest.mark.parametrize(("most", "told"), [(0.53, True), (0.04, False)])
def test_a_spread_that_may_be_silence_is_said_to_be(view: ReportView, most: float, told: bool) -> None:
    by = {"model": view.models[0].name, "task": view.tasks[0].name, "cell": "target"}
    asked = [p.name for p in view.prompts[view.tasks[0].name] if p.cell == "target" and p.form.closed]
    open_ones = [made("no_answer_rate", most if p == asked[0] else 0.0, None, by | {"prompt": p}) for p in asked]
    estimates = (made("prompt_spread", 0.2, "fragile", by), *open_ones)
    f = next(f for f in findings(replace(view, models=view.models[:1], estimates=estimates)) if f.question == 2)
    assert ("What is left open counts as wrong: 0 % to 53 %, by wording" in f.sentence) is told


@pytest.mark.parametrize(("answered", "also"), [(0.694, ""), (0.696, "answered 0.70")])
def test_one_number_is_not_said_twice(view: ReportView, answered: float, also: str) -> None:
    by = {"model": view.models[0].name, "task": view.tasks[0].name, "cell": "target"}
    estimates = (made("ba_all", 0.687, "above chance", by), made("ba_answered", answered, None, by))
    assert findings(replace(view, models=view.models[:1], tasks=view.tasks[:1], estimates=estimates))[0].also == also


def test_a_tick_stands_beside_the_number_it_rests_on(view: ReportView) -> None:
    """Of all questions .52 is no better than guessing; of those it answers .63 is, and both are said."""
    by = {"model": view.models[0].name, "task": view.tasks[0].name, "cell": "target"}
    estimates = (made("ba_all", 0.52, "above chance", by), made("ba_answered", 0.63, None, by))
    one = replace(view, models=view.models[:1], estimates=estimates, examples=())
    assert "0.52 of 0.975, answered 0.63" in render_html(one).split('<table class="matrix">')[1].split("</table>")[0]
    assert "0.52 of 0.975, answered 0.63" in render_markdown(one).split("## In short")[1].split("##")[0]


@pytest.mark.parametrize(
    ("own", "verdict"),
    [(0.50, "threshold problem, perhaps guessing"), (0.505, "threshold problem, perhaps guessing"), (0.82, "threshold problem")],
)
def test_what_no_threshold_brings_above_chance_is_no_hidden_knowledge(view: ReportView, own: float, verdict: str) -> None:
    by = {"model": view.models[0].name, "task": view.tasks[0].name, "cell": "target"}
    measured = (
        ("criterion_loss", 0.29, "threshold problem"),
        ("ba_own_threshold", own, None),
        ("ba_all", 0.21, "below chance"),
    )
    estimates = tuple(made(name, value, word, by) for name, value, word in measured)
    f = next(f for f in findings(replace(view, models=view.models[:1], estimates=estimates)) if f.question == 6)
    assert (f.symbol, f.verdict) == ("✗", verdict)
    assert ("It knows more than it says" in f.sentence) == (own == 0.82)


def knows(view: ReportView, own: float, accuracy: str, best: float | None) -> Finding:
    by = {"model": view.models[0].name, "task": view.tasks[0].name, "cell": "target"}
    measured = (("ba_all", own, accuracy), ("criterion_loss", 0.0, "nothing lost"), ("ba_own_threshold", own, None))
    estimates = tuple(made(name, value, verdict, by) for name, value, verdict in measured)
    tasks = (replace(view.tasks[0], best_accuracy=best),)
    return next(f for f in findings(replace(view, models=view.models[:1], tasks=tasks, estimates=estimates)) if f.question == 6)


@pytest.mark.parametrize(
    ("own", "accuracy", "best", "symbol", "verdict"),
    [
        (0.70, "above chance", 0.741, "✓", "nothing lost"),
        (0.65, "above chance", 0.741, "≈", "nothing lost"),  # .64 to .66: .645 is among them
        (0.70, "above chance", None, "≈", "nothing lost"),
        (0.90, "above chance", None, "✓", "nothing lost"),
        (0.57, "undetermined", 0.741, "?", "nothing lost, perhaps guessing"),
    ],
)
def test_to_say_all_one_knows_is_praise_where_that_is_not_little(
    view: ReportView, own: float, accuracy: str, best: float | None, symbol: str, verdict: str
) -> None:
    f = knows(view, own, accuracy, best)
    assert (f.symbol, f.verdict) == (symbol, verdict)
    assert ("these images cannot tell" in f.sentence) == (symbol != "✓")
