"""The records: what their small properties say."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from palpate import nouns
from palpate.nouns import OUTCOME_CODE, OUTCOMES, Form, Outcome, Perturbation, Polarity, Prompt
from palpate.parts import Labels

RECORDS = [n for n in vars(nouns).values() if is_dataclass(n)]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_nobody_mutates_a_record(record: type) -> None:
    empty = object.__new__(record)
    with pytest.raises(FrozenInstanceError):
        setattr(empty, fields(record)[0].name, 1)


@pytest.mark.parametrize(("form", "closed"), [("yes-no", True), ("A-B", True), ("B-A", True), ("open", False), ("describe", False)])
def test_closed_forms_offer_their_answers(form: str, closed: bool) -> None:
    prompt = Prompt("p", "?", Form(form), Polarity.POSITIVE, "target")
    assert Form(form).closed is closed
    assert (prompt.answer_spellings is not None) is closed


def test_spellings_go_by_polarity() -> None:
    positive = Prompt("p", "?", Form.YES_NO, Polarity.POSITIVE, "target")
    negative = Prompt("p", "?", Form.YES_NO, Polarity.NEGATIVE, "target")
    assert positive.answer_spellings is not None
    assert negative.answer_spellings == positive.answer_spellings[::-1]
    assert positive.answer_spellings[0][0] == "Yes"


def test_polarity_flips_back() -> None:
    assert all(p.flipped is not p and p.flipped.flipped is p for p in Polarity)


def test_outcomes_answered_and_refused_are_apart() -> None:
    assert [o for o in Outcome if o.answered] == [Outcome.POSITIVE, Outcome.NEGATIVE]
    assert [o for o in Outcome if o.refused] == [Outcome.REFUSE_POLICY, Outcome.REFUSE_CAPABILITY]
    assert not any(o.answered and o.refused for o in Outcome)


def test_codes_are_places() -> None:
    assert [OUTCOMES[OUTCOME_CODE[o]] for o in Outcome] == list(Outcome)
    assert sorted(OUTCOME_CODE.values()) == list(range(7))


@pytest.mark.parametrize(
    ("given", "text"), [(Perturbation(), "none"), (Perturbation("blank"), "blank"), (Perturbation("noise", 3), "noise-3")]
)
def test_a_perturbation_is_written_as_in_a_study(given: Perturbation, text: str) -> None:
    assert str(given) == text


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("ill", 1),
        (" ILL ", 1),
        ("Well", 0),
        ("STRASSE", 1),
        ("straße", 1),
        ("other", None),
        ("", None),
        (1, 1),
        (0, 0),
        (None, None),
    ],
)
def test_labels_are_compared_as_case_folded_text(value: object, label: int | None) -> None:
    assert Labels(("ill", "straße", "1"), ("well", "0")).of(value) == label
