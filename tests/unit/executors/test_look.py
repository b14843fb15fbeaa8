"""Inner states through the executors: here and in worker processes, beside the answers, for unchanged images alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palpate.errors import ModelError
from palpate.executors._work import answer, look
from palpate.executors.local import LocalExecutor
from palpate.nouns import Answer, Block, Perturbation, Status, Stimulus
from palpate.parts import FeatureRequest, Features, FeatureStage, Fingerprint, LooksInside, Model
from palpate.stages.plan import plan
from palpate.study import Study

STAGE = FeatureStage("read")
REQUEST = FeatureRequest(layers=(0,))


class Seeing:
    """Answers with the image's mean, and hands that over as its only state."""

    blocks_at_once = 3

    def __init__(self) -> None:
        self.asked: list[list[FeatureRequest | None]] = []

    def fingerprint(self) -> Fingerprint:
        return Fingerprint({"kind": "seeing"})

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        return [[Answer(Status.OK, self._mean(s)) for _ in s.block.trials] for s in stimuli]

    def look(
        self, stimuli: Sequence[Stimulus], requests: Sequence[FeatureRequest | None]
    ) -> tuple[list[list[Answer]], list[Features | None]]:
        self.asked.append(list(requests))
        states = [
            None if r is None else {STAGE: np.full(2, float(self._mean(s)), np.float32)}
            for s, r in zip(stimuli, requests, strict=True)
        ]
        return self.ask(stimuli), states

    def close(self) -> None:
        pass

    @staticmethod
    def _mean(stimulus: Stimulus) -> str:
        return f"{np.asarray(stimulus.image).mean():.3f}"


class Blind:
    """A Model that cannot be looked into."""

    blocks_at_once = 1
    fingerprint, ask, close, _mean = Seeing.fingerprint, Seeing.ask, Seeing.close, staticmethod(Seeing._mean)


@pytest.fixture
def blocks(small_study: Path) -> list[Block]:
    study = Study.load(small_study)
    return list(plan(study).blocks(study.models[0]))[:3]


def test_who_can_be_looked_into_is_told_by_its_methods() -> None:
    assert isinstance(Seeing(), Model)
    assert isinstance(Seeing(), LooksInside)
    assert isinstance(Blind(), Model)
    assert not isinstance(Blind(), LooksInside)


def test_states_belong_to_their_image_and_answers_are_those_of_asking(blocks) -> None:
    model = Seeing()
    answers, states = look(model, blocks, 0, {"pneumonia_cxr": REQUEST})
    assert answers == answer(model, blocks, 0)
    assert [s[STAGE][0] for s in states] == pytest.approx([float(row[0].text) for row in answers])
    assert model.asked == [[REQUEST] * 3]


def test_only_unchanged_images_of_requested_tasks_are_watched(blocks) -> None:
    model = Seeing()
    changed = replace(blocks[1], perturbation=Perturbation("blank"))
    other = replace(blocks[2], task="another")
    states = look(model, [blocks[0], changed, other], 0, {"pneumonia_cxr": REQUEST})[1]
    assert [s is None for s in states] == [False, True, True]
    assert model.asked == [[REQUEST, None, None]]


def test_without_requests_a_model_is_simply_asked(blocks) -> None:
    model = Seeing()
    assert look(model, blocks, 0, {})[1] == [None] * 3
    assert model.asked == []
    answers, states = look(Blind(), blocks, 0, {"pneumonia_cxr": REQUEST})
    assert len(answers) == 3
    assert states == [None] * 3


def test_an_image_that_cannot_be_opened_has_no_states_and_keeps_the_others_in_place(blocks) -> None:
    class Gone:
        def open(self) -> None:
            raise OSError("gone")

    broken = replace(blocks[1], case=replace(blocks[1].case, image=Gone()))
    answers, states = look(Seeing(), [blocks[0], broken, blocks[2]], 0, {"pneumonia_cxr": REQUEST})
    assert {a.status for a in answers[1]} == {Status.ERROR}
    assert [s is None for s in states] == [False, True, False]
    assert states[2][STAGE][0] == pytest.approx(float(answers[2][0].text))
    assert look(Seeing(), [broken], 0, {"pneumonia_cxr": REQUEST})[1] == [None]


def test_a_wrong_number_of_answers_is_an_error_when_looking_too(blocks) -> None:
    class Short(Seeing):
        def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
            return [row[:-1] for row in super().ask(stimuli)]

    with pytest.raises(ModelError, match="gave 11 answers to 12 questions"):
        look(Short(), blocks, 0, {"pneumonia_cxr": REQUEST})


@pytest.mark.parametrize("workers", [1, 2])
def test_executors_carry_requests_and_models_that_keep_their_states_give_none(small_study, workers) -> None:
    study = Study.load(small_study)
    batches = [[block] for block in list(plan(study).blocks(study.models[0]))[:4]]
    executor = LocalExecutor(workers, study.seed)
    requests: Mapping[str, FeatureRequest] = {"pneumonia_cxr": REQUEST}
    try:
        looked = list(executor.look(study.models[0], batches, requests))
        asked = list(executor.run(study.models[0], batches))
    finally:
        executor.close()
    assert [(batch, answers) for batch, answers, _ in looked] == asked
    assert [states for _, _, states in looked] == [[None]] * 4
