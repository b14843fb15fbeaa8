"""Images for workers: opened where they are, else sent as pixels, once each; what a worker does with them."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palpate.errors import ModelError
from palpate.executors._ray_worker import RayWorker
from palpate.executors._shipping import Opened, OpenedMasked, Shipped, Shipping, opened, shipped
from palpate.executors._work import look
from palpate.executors._worker import Missing, Told
from palpate.nouns import Block, Case, Perturbation, Status
from palpate.parts import MaskedImage, ModelSpec
from palpate.stages.plan import Plan, plan
from palpate.study import Study

PIXELS = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Drawn:
    """An image, or a fault in its place."""

    fault: Exception | None = None

    def open(self) -> Image.Image:
        if self.fault is not None:
            raise self.fault
        return Image.fromarray(PIXELS)


@dataclass(frozen=True)
class DrawnMasked(Drawn):
    def mask(self) -> np.ndarray:
        return PIXELS[..., 0] > 99


def case(image: Any, digest: str = "ab", **decode: str) -> Case:
    return Case("c-1", 1, "g-1", digest, image, decode)


def block(image: Any) -> Block:
    return Block("m", "chest", case(image), Perturbation(), ())


def test_what_is_sent_is_what_was_opened() -> None:
    sent = pickle.loads(pickle.dumps(shipped(case(Drawn()))))
    np.testing.assert_array_equal(np.asarray(sent.open()), PIXELS)
    assert sent.open().mode == "RGB"
    assert sent.lesion is None


def test_a_mask_goes_with_its_image() -> None:
    sent = shipped(case(DrawnMasked()))
    ready, missing = opened([block(Drawn(OSError()))], [sent])
    assert missing == []
    image = ready[0].case.image
    assert isinstance(image, MaskedImage)
    np.testing.assert_array_equal(image.mask(), PIXELS[..., 0] > 99)
    np.testing.assert_array_equal(np.asarray(image.open()), PIXELS)


@pytest.mark.parametrize("fault", [FileNotFoundError("/secret/patient-7.png"), ValueError("changed")])
def test_what_the_driver_cannot_open_either_is_an_error_of_the_same_name(fault: Exception) -> None:
    sent = shipped(case(Drawn(fault)))
    assert "secret" not in repr(sent)
    ((ready,), missing) = opened([block(Drawn(OSError()))], [sent])
    assert missing == []
    with pytest.raises(OSError, match=r"^$") as met:
        ready.case.image.open()
    assert type(met.value).__name__ == type(fault).__name__


def test_what_opens_here_is_not_asked_for() -> None:
    blocks = [block(Drawn()), block(Drawn(OSError())), block(DrawnMasked()), block(Drawn(ValueError()))]
    ready, missing = opened(blocks, [None] * 4)
    assert missing == [1, 3]
    assert [type(b.case.image) for b in ready] == [Opened, OpenedMasked]


# ---------------------------------------------------------------- once each


def put_into(store: list[Shipped]) -> Any:
    def put(image: Shipped) -> int:
        store.append(image)
        return len(store)

    return put


def test_an_image_is_put_once() -> None:
    store: list[Shipped] = []
    shipping = Shipping(put_into(store))
    assert [shipping.reference(case(Drawn(), d)) for d in "abab"] == [1, 2, 1, 2]
    assert shipping.reference(case(Drawn(), "a", window="lung")) == 3  # the same file, other pixels
    assert shipping.reference(case(DrawnMasked(), "a")) == 4
    assert len(store) == 4


def test_what_is_kept_is_bounded_and_the_longest_unused_goes_first() -> None:
    store: list[Shipped] = []
    shipping = Shipping(put_into(store), kept=2 * PIXELS.nbytes)
    for digest in ("a", "b", "a", "c"):  # b goes
        shipping.reference(case(Drawn(), digest))
    assert [shipping.reference(case(Drawn(), d)) for d in "ac"] == [1, 3]
    assert shipping.reference(case(Drawn(), "b")) == 4


def test_a_file_that_is_gone_is_looked_for_again_the_next_time() -> None:
    store: list[Shipped] = []
    shipping = Shipping(put_into(store))
    shipping.reference(case(Drawn(OSError())))
    shipping.reference(case(Drawn()))
    assert [s.pixels is None for s in store] == [True, False]


def test_images_that_were_lost_are_put_anew() -> None:
    shipping = Shipping(put_into([]))
    shipping.reference(case(Drawn()))
    shipping.forget()
    assert shipping.reference(case(Drawn())) == 2


# ---------------------------------------------------------------- a worker


@pytest.fixture
def planned(small_study: Path) -> Plan:
    return plan(Study.load(small_study))


def started(planned: Plan, seed: int = 3) -> RayWorker:
    worker = RayWorker(seed)
    model = planned.study.models[0]
    told = worker.start(model, planned.fingerprints[model.name].identity)
    assert isinstance(told, Told)
    return worker


def test_a_worker_answers_as_is_answered_here(planned: Plan) -> None:
    blocks = [replace(b, perturbation=Perturbation("gaussian_noise", 2)) for b in planned.blocks(planned.study.models[0])][:3]
    worker, spec = started(planned), planned.study.models[0]
    here = look(worker._made(spec), blocks, 3, {})
    assert worker.look(1, spec, blocks, {}, ()) == here
    sent = [shipped(b.case) for b in blocks[1:]]
    hidden = [blocks[0], *(replace(b, case=replace(b.case, image=Drawn(OSError()))) for b in blocks[1:])]
    assert worker.look(2, spec, hidden, {}, ()) == Missing((1, 2))
    assert worker.look(3, spec, hidden, {}, (1, 2), *sent) == here
    assert worker.check(spec, hidden, ()) == Missing((1, 2))
    assert worker.check(spec, hidden, (1, 2), *sent) == {}


def test_an_image_that_is_gone_everywhere_is_an_error_of_its_block_alone(planned: Plan) -> None:
    blocks = list(planned.blocks(planned.study.models[0]))[:2]
    worker, spec = started(planned), planned.study.models[0]
    found = worker.look(1, spec, blocks, {}, (1,), shipped(case(Drawn(FileNotFoundError()))))
    assert isinstance(found, tuple)
    assert {a.status for a in found[0][0]} == {Status.OK}
    assert {a.error for a in found[0][1]} == {"the image cannot be opened: FileNotFoundError"}


def test_a_model_is_made_once_and_another_takes_its_place(planned: Plan) -> None:
    worker = started(planned)
    first = worker._model
    assert isinstance(worker.start(planned.study.models[0], None), Told)
    assert worker._model is first
    assert isinstance(worker.start(planned.study.models[1], None), Told)
    assert worker._model is not first


def test_faults_are_given_back_whole(planned: Plan) -> None:
    worker = RayWorker(0)
    fault = worker.start(ModelSpec("m", "scripted", {"accuracy": 7}), None)
    assert isinstance(fault, ModelError)
    assert isinstance(pickle.loads(pickle.dumps(fault)), ModelError)
    assert pickle.loads(pickle.dumps(fault)).expected == fault.expected


def test_another_model_than_the_plans_is_refused(planned: Plan) -> None:
    model = planned.study.models[0]
    identity = dict(planned.fingerprints[model.name].identity)
    fault = RayWorker(0).start(model, {**identity, "seed": 99, "weights": "w" * 100})
    assert isinstance(fault, ModelError)
    assert "seed, weights differ (seed: 3 there, 99 here)" in fault.problem
    assert isinstance(RayWorker(0).start(model, {**identity, "present": list(identity["present"])}), Told)  # as JSON they are one
