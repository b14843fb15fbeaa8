"""Identity: what must change a key does, what must not does not."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from palpate.nouns import Case, Form, Perturbation, Polarity, Prompt
from palpate.store import keys

CASE = Case("c-1", 1, "g-1", "ab" * 16, image=None, decode={"mode": "RGB"})  # type: ignore[arg-type]
PROMPT = Prompt("target.none", "Is there pneumonia?", Form.YES_NO, Polarity.POSITIVE, "target", None, {"suffix": "none"})


def test_a_digest_is_that_of_canonical_json() -> None:
    assert keys.digest({"b": 1, "a": "ü"}) == keys.digest({"a": "ü", "b": 1})
    assert keys.digest({"a": 1}) != keys.digest({"a": "1"})
    assert len(keys.digest({})) == 32


def test_keys_are_stable_over_releases() -> None:
    # A changed key would ask everything again: bump KEY_VERSION on purpose, never by accident.
    assert keys.KEY_VERSION == 2
    assert keys.trial_key("m", "i", "p", "q", 0) == "3ed090237ecac1902f0a4d13b618cd22"
    assert keys.scattered_key("m", "i", "p", "q", 0) == "1cc401d76afd8913b8fbc425d0272ea1"


def test_a_key_is_a_hash_of_its_parts() -> None:
    place = hashlib.blake2b(b"m\0i", digest_size=2).hexdigest()
    whole = hashlib.blake2b(b"2\0m\0i\0p\0q\x003", digest_size=14).hexdigest()
    assert keys.trial_key("m", "i", "p", "q", 3) == place + whole


def test_keys_of_a_block_are_those_of_its_trials_and_stand_together() -> None:
    found = keys.block_keys("m", "i", "p", ("q", "s"), 3)
    assert [k.hex() for k in found] == [keys.trial_key("m", "i", "p", q, r) for q in "qs" for r in range(3)]
    assert len(set(found)) == 6
    assert {k[:2] for k in (*found, *keys.block_keys("m", "i", "other", ("q",), 1))} == {found[0][:2]}
    assert keys.block_keys("m", "j", "p", ("q",), 1)[0][:2] != found[0][:2]
    assert keys.block_keys("n", "i", "p", ("q",), 1)[0][:2] != found[0][:2]


@pytest.mark.parametrize("position", range(5))
def test_every_part_of_a_trial_changes_its_key(position: int) -> None:
    parts: list[str | int] = ["m", "i", "p", "q", 0]
    before = keys.trial_key(*parts)  # type: ignore[arg-type]
    parts[position] = 1 if position == 4 else "x"
    assert keys.trial_key(*parts) != before  # type: ignore[arg-type]


def test_parts_cannot_run_into_one_another() -> None:
    assert keys.trial_key("ab", "c", "p", "q", 0) != keys.trial_key("a", "bc", "p", "q", 0)


def test_label_group_name_and_facts_are_not_identity() -> None:
    other = replace(CASE, id="c-2", label=0, group="g-9", metadata={"age": 3})
    assert keys.image_digest(other) == keys.image_digest(CASE)


def test_pixels_and_decode_settings_are_identity() -> None:
    assert keys.image_digest(replace(CASE, digest="cd" * 16)) != keys.image_digest(CASE)
    assert keys.image_digest(replace(CASE, decode={"mode": "L"})) != keys.image_digest(CASE)


def test_a_prompts_name_cell_and_factors_are_not_identity() -> None:
    other = replace(PROMPT, name="x", cell="abnormal", factors={})
    assert keys.prompt_digest(other) == keys.prompt_digest(PROMPT)


@pytest.mark.parametrize("change", [{"text": "Is there?"}, {"form": Form.OPEN}, {"polarity": Polarity.NEGATIVE}])
def test_text_form_and_polarity_are_identity(change: dict[str, object]) -> None:
    assert keys.prompt_digest(replace(PROMPT, **change)) != keys.prompt_digest(PROMPT)  # type: ignore[arg-type]


def test_a_seed_matters_only_where_something_is_perturbed() -> None:
    none, noise = Perturbation(), Perturbation("noise")
    assert keys.perturbation_digest(none, 1, 0) == keys.perturbation_digest(none, 2, 9)
    assert keys.perturbation_digest(noise, 1, 0) != keys.perturbation_digest(noise, 1, 1)
    assert keys.perturbation_digest(noise, 1, 0) != keys.perturbation_digest(noise, 2, 0)
    assert keys.perturbation_digest(replace(noise, severity=2), 1, 0) != keys.perturbation_digest(noise, 1, 0)
