"""Options are checked by name, type and range; the errors name the model, the value and what was expected."""

from __future__ import annotations

import pytest

from palpate.errors import ModelError
from palpate.models._options import check_names, number, one_of, text, whole
from palpate.parts import ModelSpec


def spec(**options) -> ModelSpec:
    return ModelSpec("mine", "kind", options)


def test_defaults_and_given_values() -> None:
    assert number(spec(), "a", 0.5, (0, 1)) == 0.5
    assert number(spec(a=1), "a", 0.5, (0, 1)) == 1.0
    assert whole(spec(), "a", 3, (0, 9)) == 3
    assert whole(spec(a=9), "a", 3, (0, 9)) == 9
    assert one_of(spec(), "a", ("x", "y")) == "x"
    assert one_of(spec(a="y"), "a", ("x", "y")) == "y"
    assert one_of(spec(a=True), "a", (False, True)) is True
    assert text(spec(), "a") is None
    assert text(spec(a="t"), "a") == "t"


@pytest.mark.parametrize("given", [-0.1, 1.1, "0.5", True, None, float("nan")])
def test_numbers_out_of_range_or_of_another_type(given) -> None:
    with pytest.raises(ModelError, match=r"model .mine. has a = .*\n  expected: a number from 0 to 1"):
        number(spec(a=given), "a", 0.5, (0, 1))


@pytest.mark.parametrize("given", [-1, 10, 2.0, "3", False])
def test_whole_numbers(given) -> None:
    with pytest.raises(ModelError, match="a whole number from 0 to 9"):
        whole(spec(a=given), "a", 3, (0, 9))


@pytest.mark.parametrize("given", [1, 0, "true", None])
def test_a_number_is_no_truth_value(given) -> None:
    with pytest.raises(ModelError, match="expected: false or true"):
        one_of(spec(a=given), "a", (False, True))


def test_text_is_text() -> None:
    with pytest.raises(ModelError, match="a = 3"):
        text(spec(a=3), "a")


def test_unknown_names_come_with_the_nearest() -> None:
    check_names(spec(accuracy=1), ["accuracy", "style"])
    with pytest.raises(ModelError) as error:
        check_names(spec(acuracy=1), ["accuracy", "style"])
    assert str(error.value).splitlines() == [
        "model 'mine' (kind 'kind') has no option 'acuracy'",
        "  expected: one of accuracy, style",
        "  try: did you mean 'accuracy'?",
    ]
    with pytest.raises(ModelError) as error:
        check_names(spec(zzz=1), ["accuracy", "style"])
    assert "try" not in str(error.value)
