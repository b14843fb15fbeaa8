"""What a ladder adds up to, in words: every place where knowledge can go is named for what it is."""

from __future__ import annotations

import pytest

from palpate.measures.ladder import WALKED
from palpate.nouns import Estimate
from palpate.report.bottleneck import REACHED, SAID, Bottleneck, bottleneck

BY = {"model": "m", "task": "t", "cell": "target"}


def of(measure: str, value: float, verdict: str | None = None, **more: str) -> Estimate:
    return Estimate(measure, {**BY, **more}, value, value - 0.1, value + 0.1, 0.95, "", 100, 100, verdict=verdict)


def losses(*, lost: str = "", size: float = 0.3) -> list[Estimate]:
    steps = ("vision>read", "read>projector", "projector>image", "image>last", "last>margin", "margin>text")
    return [of("ladder_loss", size if s == lost else 0.0, "bottleneck" if s == lost else "kept", step=s) for s in steps]


def read(gain: str, ba: float) -> list[Estimate]:
    return [of("ladder_gain", 0.2, gain, stage="read"), of("ladder_ba", ba, stage="read")]


def said(estimates: list[Estimate]) -> Bottleneck:
    found = bottleneck(estimates, "m", "t", "target", "p")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("vision>read", "vision"),
        ("read>projector", "projector"),
        ("projector>image", "language"),
        ("image>last", "language"),
        ("last>margin", "readout"),
    ],
)
def test_a_loss_before_the_margin_is_one_of_representation(step: str, kind: str) -> None:
    found = said([*losses(lost=step), *read("sees", 0.9)])
    assert (found.kind, found.loss_of, found.step) == (kind, "representation", tuple(step.split(">")))
    assert found.told == f"{SAID[found.kind]} (−30 points, a loss of representation)"


@pytest.mark.parametrize(("answered", "kind"), [(0.6, "threshold"), (0.74, "threshold"), (0.76, "refusals"), (0.9, "refusals")])
def test_a_loss_behind_it_is_of_what_is_wrong_or_of_what_is_left_open_whichever_is_more(answered: float, kind: str) -> None:
    asked = [of("ba_all", 0.6, prompt="p"), of("ba_answered", answered, prompt="p"), of("ba_answered", 0.99, prompt="other")]
    found = said([*losses(lost="margin>text"), *asked])
    assert (found.kind, found.loss_of) == (kind, "criterion")


def test_where_nothing_was_answered_the_threshold_is_blamed_only_for_what_is_known() -> None:
    nothing = Estimate("ba_answered", {**BY, "prompt": "p"}, None, None, None, 0.95, "", 0, 0, reason="no answer")
    assert said([*losses(lost="margin>text"), of("ba_all", 0.6, prompt="p"), nothing]).kind == "threshold"
    assert said(losses(lost="margin>text")).kind == "threshold"


@pytest.mark.parametrize(
    ("gain", "ba", "kind"),
    [
        ("sees", 0.9, "none"),
        ("undetermined", 0.9, "open"),
        ("nothing beyond colours", 0.9, "colours"),
        ("nothing beyond colours", 0.55, "unseen"),  # its interval reaches 0.5
        ("undetermined", 0.55, "unseen"),
    ],
)
def test_without_a_loss_it_is_said_whether_there_was_anything_to_lose(gain: str, ba: float, kind: str) -> None:
    found = said([*losses(), *read(gain, ba)])
    assert (found.kind, found.loss, found.step, found.loss_of) == (kind, None, None, "")
    assert found.told == SAID[found.kind]


@pytest.mark.parametrize(("word", "warned"), [("wide", True), ("narrow", False)])
def test_a_loss_into_a_wide_stage_is_told_with_caution(word: str, warned: bool) -> None:
    width = [of("ladder_width", 80, word, stage="projector"), of("ladder_width", 80, "wide", stage="image")]
    found = said([*losses(lost="read>projector"), *width])
    assert found.wide is warned
    assert ("may be the probe's" in found.told) is warned


def test_no_stages_no_word_and_others_estimates_do_not_count() -> None:
    assert bottleneck([], "m", "t", "target", "p") is None
    assert bottleneck(losses(lost="vision>read"), "another", "t", "target", "p") is None
    assert bottleneck(losses(lost="vision>read"), "m", "t", "another", "p") is None


def test_every_stage_that_can_be_reached_has_its_word() -> None:
    assert set(WALKED[1:]) - {"text"} == set(REACHED)
    assert set(REACHED.values()) <= set(SAID)
    assert said([of("ladder_loss", 0.3, "bottleneck", step="text>description")]).kind == "description"
