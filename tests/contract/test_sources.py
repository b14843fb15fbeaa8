"""Every source: stable, distinct, honest about what it left out, and free of names."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from example_options import EXAMPLES, example
from palpate.errors import PalpateError
from palpate.nouns import CaseSet
from palpate.parts import Labels, Sample
from palpate.registry import part, parts

LABELS = Labels(("pneumonia", "1"), ("normal", "0"))
NAMES = [name for name in parts("cases") if name != "imported"]  # it has no images: tests/unit/test_import.py


def load(name: str, options: Any, per_class: int | None = 3, seed: int = 0) -> CaseSet:
    found: CaseSet = part("cases", name).load(options, LABELS, Sample(per_class, seed))
    return found


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def options(name: str, tmp_path: Path) -> Any:
    return example("cases", name, tmp_path)


def test_every_example_is_of_a_source() -> None:
    assert set(EXAMPLES["cases"]) <= set(NAMES)


def test_cases_are_well_formed(name: str, options: Any) -> None:
    found = load(name, options)
    ids = [c.id for c in found.cases]
    assert len(ids) == len(set(ids)) == 6
    assert sorted(c.label for c in found.cases) == [0, 0, 0, 1, 1, 1]
    for case in found.cases:
        assert case.group
        assert len(case.digest) >= 16
        json.dumps(dict(case.metadata), allow_nan=False)
        assert all(isinstance(k, str) and isinstance(v, str) for k, v in case.decode.items())
    assert set(found.names) <= set(ids)
    assert found.best_accuracy is None or 0.5 <= found.best_accuracy <= 1


def test_images_open_to_upright_rgb_again_and_again(name: str, options: Any) -> None:
    for case in load(name, options).cases:
        image, again = case.image.open(), case.image.open()
        assert image.mode == "RGB"
        assert np.asarray(image).dtype == np.uint8
        assert min(image.size) >= 8
        assert image.tobytes() == again.tobytes()
        assert image.tobytes() == pickle.loads(pickle.dumps(case.image)).open().tobytes()  # in a worker


def test_loading_twice_gives_the_same(name: str, options: Any) -> None:
    first, second = load(name, options), load(name, options)
    assert first == second
    assert [c.digest for c in first.cases] == [c.digest for c in second.cases]
    assert [dict(c.metadata) for c in first.cases] == [dict(c.metadata) for c in second.cases]


def test_different_pixels_have_different_digests(name: str, options: Any) -> None:
    cases = load(name, options).cases
    pixels = {c.image.open().tobytes() for c in cases}
    assert len({(c.digest, tuple(c.decode.items())) for c in cases}) >= len(pixels)


def test_a_larger_sample_holds_the_smaller_one(name: str, options: Any) -> None:
    small, large = (load(name, options, per_class=n).cases for n in (2, 4))
    assert {c.id for c in small} < {c.id for c in large}


def test_another_seed_draws_others(name: str, options: Any) -> None:
    drawn = {tuple(sorted(c.id for c in load(name, options, per_class=2, seed=seed).cases)) for seed in range(6)}
    assert len(drawn) > 1


def test_wrong_options_are_errors_that_name_them(name: str, options: Any) -> None:
    with pytest.raises(PalpateError, match="no_such_option"):
        load(name, {**options, "no_such_option": 1})


def test_options_given_are_documented(name: str, options: Any) -> None:
    assert set(options) <= set(part("cases", name).options)


def test_no_identifier_is_in_a_case(name: str, options: Any) -> None:
    found = load(name, options)
    for case in found.cases:
        shown = repr((case.id, case.group, case.digest, dict(case.decode), dict(case.metadata)))
        assert "person" not in shown
        assert ".png" not in shown
