"""The gate: bounds against estimates; what cannot be evaluated does not pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from palpate.conditions import parse_condition
from palpate.nouns import Condition, Estimate, Held
from palpate.results import Verdict
from palpate.stages.gate import exit_code, gate

PASS, FAIL, NOT = Held.PASS, Held.FAIL, Held.NOT_EVALUABLE


def estimate(value: float | None = 0.8, by: Mapping[str, str] | None = None, **more: object) -> Estimate:
    bounds = (None, None) if value is None else (value - 0.1, value + 0.1)
    fields: dict[str, object] = {"n_cases": 10, "n_clusters": 5, "reason": None if value is not None else "one class only", **more}
    return Estimate("ba_all", by or {"model": "m", "task": "t"}, value, *bounds, 0.95, "test", **fields)  # type: ignore[arg-type]


def held(text: str, *estimates: Estimate) -> list[Held]:
    return [r.held for r in gate([parse_condition(text)], estimates)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ba_all >= 0.8", PASS),
        ("ba_all > 0.8", FAIL),
        ("ba_all <= 0.8", PASS),
        ("ba_all < 0.8", FAIL),
        ("ba_all == 0.8", PASS),
        ("ba_all != 0.8", FAIL),
        ("ba_all.low >= 0.7", PASS),
        ("ba_all.low >= 0.71", FAIL),  # the bound counts, not the value
        ("ba_all.high <= 0.9", PASS),
        ("ba_all.high <= 0.89", FAIL),
        ("ba_all.value >= -1", PASS),
    ],
)
def test_every_operator(text: str, expected: Held) -> None:
    assert held(text, Estimate("ba_all", {}, 0.8, 0.7, 0.9, 0.95, "t", 1, 1)) == [expected]


def test_why_names_what_was_held_against_the_bound() -> None:
    (result,) = gate([parse_condition("ba_all.low >= 0.75")], [estimate(0.81234)])
    assert result.why == "low is 0.7123"
    assert result.estimate is not None
    assert result.condition.text == "ba_all.low >= 0.75"


def test_an_undefined_estimate_is_not_evaluable_and_says_why() -> None:
    (result,) = gate([parse_condition("ba_all >= 0")], [estimate(None)])
    assert (result.held, result.why) == (NOT, "one class only")


def test_a_value_without_interval_has_no_bound_to_hold() -> None:
    bare = Estimate("ba_all", {}, 0.8, None, None, 0.95, "t", 1, 1)
    (result,) = gate([parse_condition("ba_all.low >= 0")], [bare])
    assert (result.held, result.why) == (NOT, "has no low")


def test_no_estimate_matches() -> None:
    for given in ([], [estimate(by={"model": "other"})]):
        (result,) = gate([parse_condition("ba_all >= 0 for model=m")], given)
        assert (result.held, result.estimate, result.why) == (NOT, None, "no estimate matches")


def test_where_selects() -> None:
    given = [
        estimate(0.9, {"model": "a", "task": "t"}),
        estimate(0.1, {"model": "b", "task": "t"}),
        estimate(0.9, {"model": "a", "task": "u"}),
    ]
    assert held("ba_all >= 0.5", *given) == [PASS, FAIL, PASS]
    assert held("ba_all >= 0.5 for model=a", *given) == [PASS, PASS]
    assert held("ba_all >= 0.5 for model=b, task=t", *given) == [FAIL]
    assert held("ba_all >= 0.5 for model=b, task=u", *given) == [NOT]
    assert held("ba_all >= 0.5 for colour=red", *given) == [NOT]


@pytest.mark.parametrize("finer", ["prompt", "class", "perturbation"])
def test_finer_estimates_are_meant_only_where_named(finer: str) -> None:
    given = [estimate(0.9, {"model": "m"}), estimate(0.1, {"model": "m", finer: "x"})]
    assert held("ba_all >= 0.5", *given) == [PASS]
    assert held("ba_all >= 0.5 for model=m", *given) == [PASS]
    assert held(f"ba_all >= 0.5 for {finer}=x", *given) == [FAIL]


def test_what_is_only_known_finer_is_meant_each() -> None:
    given = [estimate(0.9, {"model": "m", "prompt": "a"}), estimate(0.1, {"model": "m", "prompt": "b"})]
    assert held("ba_all >= 0.5", *given) == [PASS, FAIL]


@pytest.mark.parametrize(("alias", "measure"), [("pair", "delta_ba_all"), ("refusal", "refusal_rate")])
def test_short_names(alias: str, measure: str) -> None:
    short, long = (parse_condition(f"{name}.high <= 0.02 for task=t") for name in (alias, measure))
    assert (short.measure, short.quantity, short.bound, short.where) == (long.measure, long.quantity, long.bound, long.where)
    assert short.text.startswith(alias)  # as it was written


def test_a_misspelt_verdict_shows_nothing_instead_of_passing() -> None:
    told = estimate(0.1, verdict="better")
    for text in ("ba_all.verdict != 'wrose'", "ba_all.verdict == 'wrose'"):
        (result,) = gate([parse_condition(text)], [told])
        assert (result.held, result.why) == (NOT, "no verdict is called 'wrose': did you mean 'worse'?")
    assert held("ba_all.verdict != 'worse'", told) == [PASS]
    own = estimate(0.1, verdict="a word of another package")  # which this run shows to be one
    assert held("ba_all.verdict == 'a word of another package'", own) == [PASS]


def test_verdict_words() -> None:
    told = estimate(0.1, verdict="better")
    assert held("ba_all.verdict == 'better'", told) == [PASS]
    assert held('ba_all.verdict != "better"', told) == [FAIL]
    assert held('ba_all.verdict == "worse"', told) == [FAIL]
    assert held("ba_all.verdict == 'better'", estimate(0.1)) == [NOT]


def test_other_measures_are_not_touched() -> None:
    other = Condition("x >= 0", "x", "value", ">=", 0.0)
    assert [r.held for r in gate([other], [estimate()])] == [NOT]


@pytest.mark.parametrize(
    ("text", "given", "code"),
    [
        (["ba_all >= 0.5"], [0.8], 0),
        (["ba_all >= 0.9"], [0.8], 1),
        (["ba_all >= 0.5"], [None], 2),
        (["ba_all >= 0.5"], [0.8, None], 2),  # not evaluable does not pass
        (["ba_all >= 0.85"], [0.8, None], 1),  # and a failure is a failure
        (["ba_all >= 0.5", "ba_all <= 0.5"], [0.8], 1),
        ([], [0.8], 2),  # nothing was demanded, so nothing was shown
    ],
)
def test_exit_codes(text: list[str], given: list[float | None], code: int) -> None:
    results = gate([parse_condition(t) for t in text], [estimate(v) for v in given])
    assert Verdict(tuple(results)).exit_code == code
    if text:
        assert exit_code(results) == code


def test_why_a_verdict_claims_less_than_the_interval_stands_beside_it_and_is_no_reason_for_a_missing_number() -> None:
    alone = "by itself an effect would be shown; after Holm's correction over tasks it is not"
    held_back = estimate(verdict="undetermined", reason=alone)
    (found,) = gate([parse_condition('ba_all.verdict == "above chance"')], [held_back])
    assert (found.held, found.why) == (FAIL, f"verdict is undetermined ({alone})")
    (found,) = gate([parse_condition("ba_all.low > 0.1")], [replace(held_back, low=None, high=None)])
    assert (found.held, found.why) == (NOT, "has no low")
