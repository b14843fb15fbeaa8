"""Blocks run here or in worker processes: the same answers in the same order, and a worker's death loses nothing finished."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from palpate import registry
from palpate.errors import ModelError
from palpate.executors._work import answer, present
from palpate.executors.local import LocalExecutor
from palpate.nouns import Answer, Block, Perturbation, Status, Stimulus
from palpate.parts import Fingerprint, Model, ModelSpec
from palpate.stages.plan import plan
from palpate.store.folder import RunFolder
from palpate.study import Study
from small import palpate


@pytest.fixture
def study(small_study: Path) -> Study:
    return Study.load(small_study)


def batches(study: Study, size: int = 3, model: int = 0) -> list[list[Block]]:
    blocks = list(plan(study).blocks(study.models[model]))
    return [blocks[i : i + size] for i in range(0, len(blocks), size)]


def answers(study: Study, workers: int) -> list[tuple[str, Answer]]:
    executor = LocalExecutor(workers, study.seed)
    found = []
    try:
        for m, model in enumerate(study.models):
            for batch, given in executor.run(model, batches(study, model=m)):
                found += [(t.key, a) for b, g in zip(batch, given, strict=True) for t, a in zip(b.trials, g, strict=True)]
    finally:
        executor.close()
    return found


def test_workers_change_neither_answers_nor_order(study: Study) -> None:
    alone = answers(study, 1)
    assert len(alone) == 2 * 12 * 12
    assert answers(study, 2) == alone


def test_the_batch_size_is_the_models(study: Study) -> None:
    spec = ModelSpec("m", "scripted", {"blocks_at_once": 5})
    assert {LocalExecutor(w).batch_size(spec) for w in (1, 2, 8)} == {5}


def test_closing_twice_or_unused_is_fine() -> None:
    executor = LocalExecutor(2)
    executor.close()
    executor.close()


def test_closing_ends_the_workers_at_once(study: Study) -> None:
    slow = ModelSpec("m", "scripted", {"latency": 5.0})
    executor = LocalExecutor(2, 0)
    running = executor.run(slow, batches(study))
    quick = executor.run(replace(slow, options={}), batches(study))
    next(quick)
    assert executor._processes is not None
    workers = [child.process for child in executor._processes.workers]
    assert 1 <= len(workers) <= 2
    for n, child in enumerate(executor._processes.workers):
        executor._processes.call(child, "look", -n, slow, batches(study)[0], {})
    quick.close()
    running.close()
    executor.close()  # would take three minutes if it waited
    for worker in workers:
        assert worker.exitcode is not None


def test_a_fault_in_a_worker_arrives_whole(study: Study) -> None:
    executor = LocalExecutor(2, 0)
    bad = ModelSpec("m", "scripted", {"accuracy": 7})
    try:
        with pytest.raises(ModelError, match="accuracy") as fault:
            list(executor.run(bad, batches(study)))
        assert "a number from 0 to 1" in fault.value.expected
        for _ in range(3):  # and again, from workers that start anew
            with pytest.raises(ModelError, match="accuracy"):
                list(executor.look(bad, batches(study), {}))
    finally:
        executor.close()


# ---------------------------------------------------------------- showing Blocks


class Fixed:
    """Answers with a fixed number of answers, and notes what it was shown."""

    blocks_at_once = 1

    def __init__(self, count: int) -> None:
        self.count, self.shown = count, []

    def fingerprint(self) -> Fingerprint:
        return Fingerprint({})

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        self.shown += stimuli
        return [[Answer(Status.OK, "Yes")] * self.count for _ in stimuli]

    def close(self) -> None:
        pass


def test_a_model_must_answer_every_question(study: Study) -> None:
    model: Model = Fixed(11)
    with pytest.raises(ModelError, match="gave 11 answers to 12 questions"):
        answer(model, batches(study)[0], 0)


def test_an_image_that_cannot_be_opened_is_an_error_of_its_block_alone(study: Study) -> None:
    (batch, *_) = batches(study, size=4)

    class Gone:
        def open(self) -> None:
            raise FileNotFoundError("/secret/patient-7.png")

    batch[1] = replace(batch[1], case=replace(batch[1].case, image=Gone()))  # type: ignore[arg-type]
    model = Fixed(12)
    given = answer(model, batch, 0)
    assert len(model.shown) == 3
    assert [{a.status for a in g} for g in given] == [{Status.OK}, {Status.ERROR}, {Status.OK}, {Status.OK}]
    assert given[1][0].error == "the image cannot be opened: FileNotFoundError"


def test_nothing_is_asked_where_no_image_opens(study: Study) -> None:
    block = batches(study)[0][0]

    class Gone:
        def open(self) -> None:
            raise ValueError

    model = Fixed(12)
    given = answer(model, [replace(block, case=replace(block.case, image=Gone()))], 0)  # type: ignore[arg-type]
    assert model.shown == []
    assert {a.status for a in given[0]} == {Status.ERROR}


def pixels(block: Block, seed: int) -> np.ndarray:
    image = present(block, seed).image
    assert image is not None
    return np.asarray(image)


def test_the_generator_is_seeded_by_image_perturbation_and_study(study: Study) -> None:
    block, other, *_ = (replace(b, perturbation=Perturbation("gaussian_noise", 3)) for b in batches(study)[0])
    first = pixels(block, 0)
    np.testing.assert_array_equal(pixels(block, 0), first)
    assert (pixels(block, 1) != first).any()
    plain, plain_other = (pixels(replace(b, perturbation=Perturbation()), 0) for b in (block, other))
    assert (first.astype(int) - plain != pixels(other, 0).astype(int) - plain_other).any()
    np.testing.assert_array_equal(pixels(replace(block, case=replace(block.case, id="x", label=0, group="y")), 0), first)


def test_no_image_is_no_image(study: Study) -> None:
    block = replace(batches(study)[0][0], perturbation=Perturbation("no_image"))
    assert present(block, 0).image is None


# ---------------------------------------------------------------- a worker dies

MORTAL = """
import os, signal
from palpate.models.scripted import ScriptedKind, ScriptedModel

class Mortal(ScriptedModel):
    def ask(self, stimuli):
        if any(s.block.case.id == os.environ["FATAL_CASE"] for s in stimuli) and os.path.exists(os.environ["FATAL_FILE"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().ask(stimuli)

class MortalKind(ScriptedKind):
    name = "mortal"
    def build(self, spec):
        built = super().build(spec)
        return Mortal(built.plan, built.seed, built.blocks_at_once)

KIND = MortalKind()
"""


@pytest.fixture
def mortal(tmp_path: Path) -> Path:
    """Another package on the path, that adds a kind of model by its entry point."""
    site = tmp_path / "site"
    info = site / "mortal-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "mortal.py").write_text(textwrap.dedent(MORTAL), encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mortal\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[palpate.models]\nmortal = mortal:KIND\n", encoding="utf-8")
    return site


def test_a_worker_that_is_killed(mortal: Path, small_study: Path, tmp_path: Path) -> None:
    study = Study.load(small_study)
    text = small_study.read_text(encoding="utf-8").replace('kind = "scripted"', 'kind = "mortal"\nblocks_at_once = 1')
    small_study.write_text(text + "[ask]\nworkers = 2\n", encoding="utf-8")
    fatal = tmp_path / "fatal"
    fatal.touch()
    case = plan(study).cases["pneumonia_cxr"].cases[7].id
    env = {"PYTHONPATH": os.pathsep.join([str(mortal), *sys.path]), "FATAL_CASE": case, "FATAL_FILE": str(fatal)}
    with palpate("ask", small_study, "--out", tmp_path / "run", env=env) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert "5 workers ended, one after another, at the same images" in errors
    assert "model 'base'" in errors
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    with RunFolder(tmp_path / "run").ledger() as ledger:
        kept = list(ledger.texts())
    assert 0 < len(kept) <= 7 * 12
    fatal.unlink()
    with palpate("ask", small_study, "--out", tmp_path / "run", env=env) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    with RunFolder(tmp_path / "run").ledger() as ledger:
        assert set(kept) <= set(ledger.texts())
        assert set(ledger.attempts().values()) == {(1, False)}
        assert len(ledger.attempts()) == 288


def test_workers_end_with_a_killed_parent(small_study: Path, tmp_path: Path) -> None:
    text = small_study.read_text(encoding="utf-8").replace(
        'kind = "scripted"', 'kind = "scripted"\nlatency = 0.02\nblocks_at_once = 1'
    )
    small_study.write_text(text + "[ask]\nworkers = 2\n", encoding="utf-8")
    with palpate("ask", small_study, "--out", tmp_path / "run") as process:
        parent = psutil.Process(process.pid)
        ledger = tmp_path / "run" / "ledger.sqlite-wal"
        for _ in range(600):
            children = parent.children(recursive=True)
            if len(children) >= 3 and ledger.exists() and ledger.stat().st_size > 100_000:
                break

            process.poll()
            assert process.returncode is None, process.communicate()
            time.sleep(0.05)
        assert len(children) >= 3  # two workers and Python's resource tracker
        process.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []


def test_the_registry_is_the_place_to_look(study: Study) -> None:
    assert registry.part("models", study.models[0].kind).name == "scripted"
