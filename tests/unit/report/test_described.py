"""What descriptions carry, told in sentences that keep to what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from palpate.measures._recovered import CARRIED, LEAK, NOTHING, OPEN, OTHERS, PRIOR
from palpate.nouns import VERDICTS, Estimate
from palpate.report.described import HELD_BACK, SAID, in_words

GAIN = Estimate("description_gain", {}, 0.12, 0.04, 0.2, 0.95, "", 100, 50, verdict=CARRIED)
WHY = f"by itself an effect ({CARRIED}) would be shown; after Holm's correction over tasks it is not"
HELD = f"By itself an effect ({CARRIED}) would be shown; after Holm's correction over tasks it is not."
LEAKS = replace(GAIN, measure="label_leak_rate", value=0.25, verdict=None)


def test_every_verdict_has_its_sentence():
    assert set(SAID) == {CARRIED, LEAK, NOTHING, OTHERS, PRIOR, OPEN}
    assert set(SAID) <= VERDICTS


@pytest.mark.parametrize("verdict", SAID)
def test_the_sentence_is_that_of_the_verdict(verdict):
    assert in_words(replace(GAIN, verdict=verdict), None, None).endswith(SAID[verdict])


def test_the_numbers_stand_before_it():
    told = in_words(GAIN, None, LEAKS)
    assert told.startswith("Readers of its descriptions score +12 points beyond its direct answer (4 to 20); 25 % of the")


def test_what_a_better_threshold_would_give_too_is_said():
    better = "A better threshold of its own answer would give as much."
    assert in_words(GAIN, replace(GAIN, verdict=NOTHING), None).endswith(better)
    assert better not in in_words(GAIN, replace(GAIN, verdict=OPEN), None)
    assert better not in in_words(replace(GAIN, verdict=LEAK), replace(GAIN, verdict=NOTHING), None)


@pytest.mark.parametrize("verdict", [NOTHING, OPEN])
def test_a_gain_over_the_threshold_that_only_the_correction_holds_back_is_told_with_why_and_not_denied(verdict):
    beyond = replace(GAIN, value=0.03, low=0.01, high=0.05, verdict=verdict, reason=WHY)
    told = in_words(GAIN, beyond, None)
    assert "would give as much" not in told
    assert told.endswith(f"{SAID[CARRIED]} Beyond a better threshold of its own answer they score +3 points (1 to 5). {HELD}")
    assert "Beyond" not in in_words(replace(GAIN, verdict=LEAK), beyond, None)


def test_nothing_recovered_does_not_deny_a_gain_that_by_itself_would_be_shown():
    held = in_words(replace(GAIN, verdict=NOTHING, reason=WHY), None, None)
    assert held.endswith(f"{HELD_BACK} {HELD}")
    assert SAID[NOTHING] not in held
    assert HELD_BACK not in in_words(replace(GAIN, verdict=NOTHING), None, None)
    assert in_words(replace(GAIN, verdict=OPEN, reason=WHY), None, None).endswith(f"{SAID[OPEN]} {HELD}")


def test_a_gain_over_the_threshold_without_a_number_says_nothing():
    unknown = replace(GAIN, value=None, low=None, high=None, verdict=None, reason="no margin")
    assert in_words(GAIN, unknown, None).endswith(SAID[CARRIED])


def test_without_a_number_nothing_is_told():
    assert in_words(replace(GAIN, value=None, low=None, high=None, verdict=None), None, None) == ""
