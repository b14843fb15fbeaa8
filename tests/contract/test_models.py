"""Every kind of model: what it is can be told without loading it, and its answers are its own, in order, one per question."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from example_options import EXAMPLES, example
from palpate.errors import ModelError
from palpate.nouns import Answer, Block, Case, Form, Perturbation, Polarity, Prompt, Status, Stimulus, Trial
from palpate.parts import Model, ModelSpec
from palpate.registry import part, parts
from palpate.store import keys
from palpate.task import load_task, prompt_set

PROMPTS = prompt_set("reference", load_task("pneumonia_cxr").wording, describe=False)[:6]
DESCRIBE = Prompt("d", "Describe this image.", Form.DESCRIBE, Polarity.POSITIVE, "describe")
NAMES = [pytest.param(n, marks=[pytest.mark.local] if n in ("hf", "bundled") else []) for n in parts("models") if n != "imported"]


def stimulus(seed: int, prompts: tuple[Prompt, ...] = PROMPTS, image: bool = True) -> Stimulus:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    case = Case(f"c{seed}", seed % 2, f"g{seed}", f"{seed:032x}", image=None)  # type: ignore[arg-type]
    trials = tuple(Trial(keys.digest([seed, p.text]), "m", "t", case.id, Perturbation(), p) for p in prompts)
    return Stimulus(Block("m", "t", case, Perturbation(), trials), Image.fromarray(pixels) if image else None)


@pytest.fixture(scope="module", params=NAMES)
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    name = str(request.param)
    return ModelSpec("mine", name, example("models", name, tmp_path_factory.mktemp(name)), seed=1)


@pytest.fixture(scope="module")
def model(spec: ModelSpec) -> Iterator[Model]:
    built: Model = part("models", spec.kind).build(spec)
    yield built
    built.close()


@pytest.fixture(scope="module")
def answers(model: Model) -> list[list[Answer]]:
    return model.ask([stimulus(s) for s in range(3)])


def test_every_example_is_of_a_model() -> None:
    assert set(EXAMPLES["models"]) <= set(parts("models"))


def test_a_model_is_a_model(model: Model) -> None:
    assert isinstance(model, Model)
    assert model.blocks_at_once >= 1


def test_the_fingerprint_is_json_and_the_same_each_time(spec: ModelSpec, model: Model) -> None:
    found = model.fingerprint()
    again: Model = part("models", spec.kind).build(spec)
    assert json.dumps(found.identity, sort_keys=True, allow_nan=False) == json.dumps(again.fingerprint().identity, sort_keys=True)
    assert keys.model_digest(found.identity) == keys.model_digest(again.fingerprint().identity)
    json.dumps(found.environment, allow_nan=False)
    again.close()


def test_the_name_in_a_study_is_no_identity(spec: ModelSpec, model: Model) -> None:
    other: Model = part("models", spec.kind).build(ModelSpec("another", spec.kind, spec.options, spec.seed))
    assert other.fingerprint().identity == model.fingerprint().identity
    other.close()


def test_one_answer_per_question(answers: list[list[Answer]]) -> None:
    assert [len(found) for found in answers] == [len(PROMPTS)] * 3
    for answer in (a for found in answers for a in found):
        assert isinstance(answer.text, str)
        assert (answer.error is not None) == (answer.status is Status.ERROR)
        assert (answer.margin is None) == (answer.mass is None)
        if answer.margin is not None and answer.mass is not None:
            assert math.isfinite(answer.margin)
            assert 0 <= answer.mass <= 1 + 1e-6
    assert any(a.status is not Status.ERROR for found in answers for a in found)


def close(one: Answer, other: Answer) -> bool:
    same = (one.status, one.text) == (other.status, other.text)
    if one.margin is None or other.margin is None:
        return same and one.margin is other.margin
    return same and math.isclose(one.margin, other.margin, abs_tol=1e-3)


def test_answers_do_not_depend_on_order_or_company(model: Model, answers: list[list[Answer]]) -> None:
    backwards = model.ask([stimulus(s) for s in (2, 1, 0)])[::-1]
    alone = [model.ask([stimulus(s)])[0] for s in range(3)]
    for one, other, third in zip(answers, backwards, alone, strict=True):
        assert all(close(a, b) and close(a, c) for a, b, c in zip(one, other, third, strict=True))


def test_answers_do_not_depend_on_which_questions_are_left(model: Model, answers: list[list[Answer]]) -> None:
    """As after a run that was stopped in the middle of a block's questions."""
    (rest,) = model.ask([stimulus(1, PROMPTS[3:])])
    assert all(close(a, b) for a, b in zip(rest, answers[1][3:], strict=True))


def test_open_questions_have_no_margin(model: Model) -> None:
    ((answer,),) = model.ask([stimulus(0, (DESCRIBE,))])
    assert (answer.margin, answer.mass) == (None, None)


def test_a_question_without_image_is_answered(model: Model) -> None:
    (found,) = model.ask([stimulus(0, PROMPTS[:2], image=False)])
    assert len(found) == 2


def test_nothing_asked_is_nothing_answered(model: Model) -> None:
    assert model.ask([]) == []


def test_options_given_are_documented(spec: ModelSpec) -> None:
    assert set(spec.options) <= set(part("models", spec.kind).options)


@pytest.mark.parametrize("options", [{"no_such_option": 1}, {"tempreture": 0.5}])
def test_an_unknown_option_is_an_error_that_names_it(spec: ModelSpec, options: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(options))):
        part("models", spec.kind).build(ModelSpec("mine", spec.kind, {**spec.options, **options}))


def test_a_model_can_be_closed_twice(spec: ModelSpec) -> None:
    built: Model = part("models", spec.kind).build(spec)
    built.close()
    built.close()


def test_building_is_cheap_enough_for_every_command(spec: ModelSpec, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    part("models", spec.kind).build(spec).close()
    assert sorted(tmp_path.iterdir()) == before
