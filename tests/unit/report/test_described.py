"""What descriptions carry, told in sentences that keep to what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from palpate.measures._recovered import CARRIED, LEAK, NOTHING, OPEN, OTHERS, PRIOR
from palpate.nouns import VERDICTS, Estimate
from palpate.report.described import SAID, in_words

GAIN = Estimate("description_gain", {}, 0.12, 0.04, 0.2, 0.95, "", 100, 50, verdict=CARRIED)
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


def test_without_a_number_nothing_is_told():
    assert in_words(replace(GAIN, value=None, low=None, high=None, verdict=None), None, None) == ""
