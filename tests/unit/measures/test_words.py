"""From tested estimates to words: Holm within the family, and no word where nothing was tested."""

from __future__ import annotations

import pytest
from statsmodels.stats.multitest import multipletests

from palpate.measures import _tests
from palpate.measures._tests import Ruling, Shown, over_tasks, with_words
from palpate.nouns import Estimate

ALPHA = 0.05


def estimate(value: float | None, measure: str = "delta", **by: str) -> Estimate:
    return Estimate(measure, by, value, value, value, 1 - ALPHA, "method", 10, 10)


def test_words_follow_holm_over_the_tasks():
    p = [0.011, 0.04, 0.02, 0.6]
    tests = [_tests.Tested(estimate(0.2, task=f"t{k}"), one, (0.0, 0.4)) for k, one in enumerate(p)]
    found = list(with_words(tests, lambda e: Ruling(("better", "worse"), ALPHA, 0.05)))
    reject = multipletests(p, ALPHA, "holm")[0]
    assert [e.verdict for e in found] == ["better" if r else "undetermined" for r in reject]
    assert all("Holm over tasks" in e.method for e in found)


def test_each_cell_and_each_model_is_a_family_of_its_own_and_single_prompts_are_one():
    first = estimate(0.1, model="a", task="t0", cell="c")
    assert over_tasks(first) == over_tasks(estimate(0.2, model="a", task="t1", cell="c"))
    assert over_tasks(first) != over_tasks(estimate(0.2, model="b", task="t0", cell="c"))
    assert over_tasks(first) != over_tasks(estimate(0.2, model="a", task="t0", cell="c", prompt="p"))
    one, other = (estimate(0.1, model="a", task=t, cell="c", prompt=p) for t, p in (("t0", "p"), ("t1", "q")))
    assert over_tasks(one) == over_tasks(other)


def test_what_was_not_tested_gets_no_word_and_takes_nothing_from_its_family():
    tests = [
        _tests.Tested(estimate(0.2, task="t0"), 0.04, (0.1, 0.3)),
        *(_tests.Tested(estimate(0.5, task=f"u{k}")) for k in range(9)),
    ]
    found = list(with_words(tests, lambda e: Ruling(("up", "down"), ALPHA, 0.05)))
    assert [e.verdict for e in found] == ["up", *[None] * 9]


@pytest.mark.parametrize(
    ("value", "p", "narrow", "word"),
    [
        (0.7, 0.001, (0.6, 0.8), "above"),
        (0.3, 0.001, (0.2, 0.4), "below"),
        (0.5, 0.9, (0.48, 0.52), "near"),
        (0.5, 0.9, (0, 1), "?"),
    ],
)
def test_a_ruling_speaks_of_the_distance_from_its_null(value, p, narrow, word):
    ruling = Ruling(("above", "below"), ALPHA, 0.05, 0.5, none="?", near="near", about="what was tested ")
    assert ruling.word(_tests.Tested(estimate(value), p, narrow), p) == word
    assert ruling.rule("") == "what was tested other than 0.5, near if its 90 % interval is within 0.05 of it"


def test_the_direction_is_that_of_the_value_that_was_tested():
    ruling = Ruling(("above", "below"), ALPHA, 0.05, 0.5)
    assert ruling.word(_tests.Tested(estimate(0.3), 0.001, (0.6, 0.8), other=0.7), 0.001) == "above"


def test_a_p_is_its_own_verdict():
    shown = Shown(("matters", "no effect shown"), ALPHA)
    found = list(
        with_words([_tests.Tested(estimate(p, task=t), p) for t, p in (("a", 0.02), ("b", 0.06))], lambda e: shown, name="cells")
    )
    assert [e.verdict for e in found] == ["matters", "no effect shown"]
    assert found[0].method.endswith("p below 0.05 after Holm over cells")


def test_where_only_the_correction_takes_the_word_it_is_said_beside_it():
    p = [0.03, 0.011, 0.6, 0.001]
    tests = [_tests.Tested(estimate(0.2, task=f"t{k}"), one, (0.0, 0.4)) for k, one in enumerate(p)]
    found = list(with_words(tests, lambda e: Ruling(("better", "worse"), ALPHA, 0.05)))
    assert [e.verdict for e in found] == ["undetermined", "better", "undetermined", "better"]
    said = "by itself an effect would be shown; after Holm's correction over tasks it is not"
    assert [e.reason for e in found] == [said, None, None, None]
    alone = list(with_words(tests[:1], lambda e: Ruling(("better", "worse"), ALPHA, 0.05)))
    assert (alone[0].verdict, alone[0].reason) == ("better", None)


def test_it_is_said_of_what_was_tested():
    ruling = Ruling(("above", "below"), ALPHA, 0.05, 0.5, about="ba_answered ")
    tests = [_tests.Tested(estimate(0.5, task=f"t{k}"), p, (0.4, 0.6), other=0.6) for k, p in enumerate((0.03, 0.9))]
    assert "by itself an effect (ba_answered) would be shown" in next(iter(with_words(tests, lambda e: ruling))).reason
