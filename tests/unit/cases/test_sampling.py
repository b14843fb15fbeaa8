"""The seeded draw: fair, nested, the same whatever the order of the names."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from palpate.cases._sampling import draw, shuffled
from palpate.parts import Sample

NAMES = [f"case{n:03d}.png" for n in range(40)]


def everything(name: str) -> bool:
    return True


@given(st.lists(st.text(max_size=8), unique=True, max_size=30), st.integers(), st.randoms(use_true_random=False))
def test_the_order_of_the_names_does_not_matter(names, seed, rng):
    other = list(names)
    rng.shuffle(other)
    assert shuffled(names, seed) == shuffled(other, seed)
    assert sorted(shuffled(names, seed)) == sorted(names)


def test_accents_may_be_stored_in_two_ways():
    names = ["é1", "à2", "ü3", "z4", "ö5"]
    stored = [unicodedata.normalize("NFD", name) for name in names]
    assert [unicodedata.normalize("NFC", name) for name in shuffled(stored, 1)] == shuffled(names, 1)


def test_samples_are_nested():
    before: set[str] = set()
    for size in range(41):
        sample = set(draw({1: NAMES}, Sample(size, seed=2), everything))
        assert len(sample) == size
        assert before <= sample
        before = sample


def test_every_name_is_drawn_equally_often():
    counts = Counter(name for seed in range(2000) for name in draw({0: NAMES}, Sample(10, seed), everything))
    assert min(counts.values()) > 420  # 500 expected, standard deviation 19
    assert max(counts.values()) < 580


def test_classes_are_drawn_apart_and_a_small_one_is_taken_whole():
    names = {0: NAMES[:30], 1: NAMES[30:35]}
    taken = draw(names, Sample(8, seed=1), everything)
    assert len(taken) == 13
    assert taken == sorted(taken)
    assert set(NAMES[30:35]) < set(taken)


def test_without_a_size_all_are_taken():
    shuffled_names = list(NAMES)
    random.Random(3).shuffle(shuffled_names)
    assert draw({0: shuffled_names}, Sample(), everything) == NAMES


def test_unusable_names_are_replaced_and_no_more_are_asked_about_than_needed():
    asked: list[str] = []

    def usable(name: str) -> bool:
        asked.append(name)
        return int(name[4:7]) % 2 == 0

    taken = draw({0: NAMES}, Sample(5, seed=9), usable)
    assert len(taken) == 5
    assert asked == shuffled(NAMES, 9)[: len(asked)]
    assert sorted(name for name in asked if int(name[4:7]) % 2 == 0) == taken
