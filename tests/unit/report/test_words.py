"""Numbers and names in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palpate.nouns import Outcome
from palpate.report import words
from palpate.report.view import Counts, ExampleAnswer, ReportView
from palpate.spending import Cost, Sending
from synthetic_report import MODELS, TASKS, estimate


@pytest.mark.parametrize(
    ("value", "plain", "signed"),
    [
        (None, "–", "–"),
        (0.0, "0", "0"),
        (0.0004, "0", "0"),
        (-0.0004, "0", "0"),
        (0.003, "0.3", "+0.3"),
        (0.016, "1.6", "+2"),
        (0.061, "6", "+6"),
        (-0.08, "−8", "−8"),
        (-0.004, "−0.4", "−0.4"),
        (0.124, "12", "+12"),
        (1.0, "100", "+100"),
    ],
)
def test_points_show_no_false_precision(value: float | None, plain: str, signed: str) -> None:
    assert words.points(value) == plain
    assert words.points(value, signed=True) == signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (0.0004, "< 0.1 %"),
        (0.021, "2.1 %"),
        (0.12, "12 %"),
        (0.994, "99.4 %"),
        (0.9996, "> 99.9 %"),
        (1.0, "100 %"),
    ],
)
def test_a_rate_that_is_not_zero_is_never_shown_as_zero(value: float | None, text: str) -> None:
    assert words.percent(value) == text


@given(st.floats(0, 1))
def test_percent_of_any_rate(value: float) -> None:
    text = words.percent(value)
    assert (text == "0 %") == (value == 0)
    assert (text == "100 %") == (value == 1)


def test_one_point_many_points() -> None:
    assert words.in_points(0.01, signed=True) == "+1 point"
    assert words.in_points(-0.01, signed=True) == "−1 point"
    assert words.in_points(0.06) == "6 points"
    assert words.in_points(0.0) == "0 points"


def test_intervals_use_an_en_dash_and_words_where_signs_would_confuse() -> None:
    assert words.interval(estimate("ba_all", 0.9, 0.047)) == "0.85–0.95"
    assert words.points_interval(estimate("prompt_spread", 0.06, 0.02)) == "4–8"
    assert words.points_interval(estimate("delta", 0.12, 0.04), signed=True) == "8 to 16"
    assert words.points_interval(estimate("delta", 0.02, 0.05), signed=True) == "−3 to +7"
    assert words.percent_interval(estimate("refusal_rate", 0.05, 0.01)) == "4.0–6.0 %"
    assert words.percent_interval(estimate("refusal_rate", 0.0, 0.0)) == "0 %"
    nearly = replace(estimate("auroc_failure", 0.994, 0.0), low=0.23, high=0.9996)
    assert words.percent_interval(nearly) == "23 to > 99.9 %"
    assert words.bounds(estimate("delta", 0.02, 0.05)) == "−0.030 to 0.070"
    assert words.bounds(estimate("ba_all", 0.5, 0.1)) == "0.400–0.600"


def test_no_interval_is_no_text() -> None:
    e = estimate("ba_all", 0.9)
    assert [words.interval(e), words.points_interval(e), words.percent_interval(e), words.bounds(e)] == [""] * 4


def test_the_best_possible_is_known_exactly() -> None:
    assert [words.possible(x) for x in (0.975, 0.93, 1.0, None)] == ["0.975", "0.93", "1", "unknown"]


@pytest.mark.parametrize(("seconds", "text"), [(8.2, "8 s"), (190, "3 min"), (7500, "2 h 05 min")])
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_control_and_direction_characters_are_shown_not_obeyed() -> None:
    assert words.plain("a\x1b[31mb\u202ec\x00\ud83d") == "a\ufffd[31mb\ufffdc\ufffd\ufffd"
    assert words.plain("two\nlines\tand tabs stay") == "two\nlines\tand tabs stay"
    assert words.line(" two\n lines ") == "two lines"
    assert words.plain("Größe 肺炎 ❤️ 👩‍⚕️") == "Größe 肺炎 ❤️ 👩‍⚕️"


@given(st.text(st.characters()))
def test_any_text_can_be_written_and_printed(text: str) -> None:
    shown = words.plain(text)
    shown.encode("utf-8")
    assert len(shown) == len(text)
    assert not any(ord(c) < 32 and c not in "\n\t" for c in shown)


def test_three_lines_say_what_was_examined(view: ReportView) -> None:
    first, second, third = words.in_three_lines(view)
    assert first.startswith("4 models on 4 tasks: 600 images, each asked about in 12 closed wordings.")
    assert first.endswith("on these few a model may lie above it.")  # only drawn images have a best that is known
    real = tuple(replace(task, best_accuracy=None) for task in view.tasks)
    assert words.in_three_lines(replace(view, tasks=real))[0].endswith("in 12 closed wordings.")
    assert "95 %" in second
    assert "7,181 of 7,200 questions got an answer (31 cut off" in third
    assert "19 ended as errors, counted apart" in third


def test_groups_are_named_where_they_are_fewer_than_images(view: ReportView) -> None:
    grouped = replace(view, tasks=tuple(replace(t, n_groups=50) for t in view.tasks))
    assert "600 images from 200 patients or slides" in words.in_three_lines(grouped)[0]


def test_every_end_of_a_question_is_told_apart(view: ReportView) -> None:
    told = words.what_became(replace(view, counts=Counts(10, 4, 0, 1, {"timeout": 2})))
    assert told == "4 of 10 questions got an answer; 1 blocked by the provider, 2 ended as errors, 3 not asked yet, counted apart."
    assert words.what_became(replace(view, counts=Counts(10, 10, 0, 0))).endswith("none ended as an error.")


def test_what_was_left_out_is_said(view: ReportView) -> None:
    assert "2 of Invasive ductal carcinoma" in words.left_out(view)
    assert words.left_out(replace(view, tasks=view.tasks[:2])) == ""


def test_a_task_is_called_by_its_condition_unless_two_share_it(view: ReportView) -> None:
    assert words.labels(view)[TASKS[1][0]] == "pneumonia"
    twins = (view.tasks[0], replace(view.tasks[1], condition="brain tumour"))
    found = words.labels(replace(view, tasks=twins))
    assert found == {TASKS[0][0]: TASKS[0][1], TASKS[1][0]: TASKS[1][1]}
    same = (view.tasks[0], replace(view.tasks[0], name="other"))
    assert words.labels(replace(view, tasks=same)) == {TASKS[0][0]: TASKS[0][0], "other": "other"}


def test_the_target_question_comes_first(view: ReportView) -> None:
    assert words.cells(view, TASKS[0][0]) == ["target", "abnormal"]
    assert words.cells(view, "no such task") == []


def test_one_finds_exact_groups_only(view: ReportView) -> None:
    by = {"model": MODELS[0], "task": TASKS[0][0], "cell": "target"}
    whole = words.one(view.estimates, "ba_all", **by)
    assert whole is not None
    assert "prompt" not in whole.by
    assert words.one(view.estimates, "ba_all", model=MODELS[0]) is None
    shifted = replace(whole, by={**by, "perturbation": "blank"})
    assert words.unperturbed([whole, shifted]) == [whole]


@pytest.mark.parametrize(
    ("outcome", "label", "said"),
    [
        (Outcome.POSITIVE, 1, ("✓", "right")),
        (Outcome.POSITIVE, 0, ("✗", "wrong")),
        (Outcome.NEGATIVE, 0, ("✓", "right")),
        (Outcome.HEDGE, 1, ("?", "hedge")),
        (Outcome.REFUSE_POLICY, 1, ("?", "refuse-policy")),
        (None, 1, ("–", "not read")),
    ],
)
def test_an_answer_is_judged_by_its_label(outcome: Outcome | None, label: int, said: tuple[str, str]) -> None:
    assert words.judged(ExampleAnswer("m", "p", "?", "text", outcome), label) == said


COST = Cost("gpt", 2880, 1_200_000, 92_160, 3.9216, "USD")


def test_what_was_spent() -> None:
    assert words.spent(COST) == "2,880 answers, 1,200,000 tokens in, 92,160 out; 3.92 USD"
    assert words.spent(replace(COST, money=None)) == "2,880 answers, 1,200,000 tokens in, 92,160 out"
    assert words.spent(replace(COST, money=0.0)).endswith("; 0.00 USD")
    assert words.spent(replace(COST, money=0.0031)).endswith("; 0.0031 USD")  # a cost that is not zero is not shown as zero


def test_what_would_leave_the_machine() -> None:
    far = Sending("api.example.org", True, 240, COST)
    assert words.sending(far) == (
        "240 images will leave this machine for api.example.org, to be shown to gpt: "
        "2,880 questions, about 1,200,000 tokens in, at most 92,160 out, at most about 3.92 USD"
    )
    assert words.sending(replace(far, images=1)).startswith("1 image will leave")
    assert words.sending(replace(far, images=0)).startswith(
        "the texts of answers will leave this machine for api.example.org, to be read"
    )
    assert words.sending(replace(far, cost=replace(COST, money=None))).endswith("at a price the study does not name")
    near = words.sending(Sending("localhost", False, 240, replace(COST, money=None)))
    assert near == "240 images for gpt, served on this machine: 2,880 questions, about 1,200,000 tokens in, at most 92,160 out"
