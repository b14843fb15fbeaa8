"""Conditions as text: what is written is what is held, wherever it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palpate.conditions import ALIASES, load_conditions, parse_condition
from palpate.errors import StudyError, UnknownName
from palpate.registry import parts

NAMES = sorted({name for m in parts("measures").values() for name in m.estimates})
KEYS = st.sampled_from(["model", "task", "cell", "prompt", "class", "before", "after"])
VALUES = st.text("abcXYZ019._/- ", min_size=1).map(str.strip).filter(bool)


@settings(max_examples=40, deadline=None)
@given(
    measure=st.sampled_from([*NAMES, *ALIASES]),
    quantity=st.sampled_from(["value", "low", "high"]),
    operator=st.sampled_from([">=", "<=", ">", "<", "==", "!="]),
    bound=st.floats(-1e6, 1e6),
    where=st.dictionaries(KEYS, VALUES, max_size=3),
)
def test_what_is_written_is_what_is_held(measure: str, quantity: str, operator: str, bound: float, where: dict[str, str]) -> None:
    selection = " for " + ", ".join(f"{k}={v}" for k, v in where.items()) if where else ""
    found = parse_condition(f"  {measure}.{quantity} {operator} {bound!r}{selection} ")
    assert found.measure == ALIASES.get(measure, measure)
    assert (found.quantity, found.operator, found.bound, dict(found.where)) == (quantity, operator, bound, where)
    assert parse_condition(found.text) == found


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60))
def test_any_other_text_is_an_error_that_says_where(text: str) -> None:
    with pytest.raises((StudyError, UnknownName)) as fault:
        parse_condition(f"{text} and more", "--condition")
    assert fault.value.where == "--condition"
    assert fault.value.expected


def test_aliases_are_short_for_estimates_and_hide_none() -> None:
    assert set(ALIASES.values()) <= set(NAMES)
    assert not set(ALIASES) & set(NAMES)


def test_a_near_name_is_suggested_among_the_short_ones_too() -> None:
    with pytest.raises(UnknownName) as fault:
        parse_condition("pairs.low >= 0")
    assert "'pair'" in fault.value.hint


def test_a_file_may_hold_them_at_its_top_and_under_gate(tmp_path: Path) -> None:
    file = tmp_path / "both.toml"
    file.write_text('conditions = ["ba_all >= 0.5"]\n[gate]\nconditions = ["coverage >= 0.9"]', encoding="utf-8")
    assert [c.text for c in load_conditions(file)] == ["ba_all >= 0.5", "coverage >= 0.9"]
    with pytest.raises(StudyError, match="no such file"):
        load_conditions(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("where", "chosen"), [("task = t , model='m'", {"task": "t", "model": "m"}), ('cell="a b"', {"cell": "a b"})]
)
def test_a_selection_may_be_spaced_and_quoted(where: str, chosen: dict[str, str]) -> None:
    found = parse_condition(f"ba_all.low >= 0.8 for {where}")
    assert dict(found.where) == chosen
    assert found.bound == 0.8


def test_a_selection_without_a_value_selects_nothing_and_is_refused() -> None:
    for text in ("for task=", "for =x", "for task"):
        with pytest.raises(StudyError, match="selects nothing"):
            parse_condition(f"ba_all >= 0.5 {text}")
