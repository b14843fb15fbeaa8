"""Feeding workers: in order, bounded, nothing lost and nothing twice, whoever dies when. Workers are simulated."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

from palpate.errors import ModelError, RunError
from palpate.executors._flow import AHEAD, MOST_ENDS, Flow, Lost, Task
from palpate.executors._ray_worker import RayWorker
from palpate.executors._worker import AT_ONCE, Missing, TakenBack, Told, same_versions, versions
from palpate.executors.ray_pool import RayExecutor, RaySettings
from palpate.models.scripted import ScriptedModel
from palpate.parts import ModelSpec

TOLD = Told(1, versions())


@dataclass
class Simulated:
    """A cluster of workers that finish in any order, and die now and then."""

    seed: int = 0
    death: float = 0.0
    start_death: float = 0.0
    poison: int | None = None
    told: Any = TOLD
    workers: dict[int, Any] = field(default_factory=dict)
    calls: dict[int, tuple[int, Task[int]]] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    asked: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    back: set[int] = field(default_factory=set)
    slow: frozenset[int] = frozenset()
    next: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def number(self) -> int:
        self.next += 1
        return self.next

    def spawn(self) -> tuple[int, int]:
        worker, reference = self.number(), self.number()
        self.starts[reference] = worker
        return worker, reference

    def kill(self, worker: int) -> None:
        self.dead.add(worker)

    def submit(self, worker: int, task: Task[int]) -> int:
        assert worker not in self.dead
        reference = self.number()
        self.calls[reference] = worker, task
        held = sum(1 for w, _ in self.calls.values() if w == worker)
        self.most = max(self.most, held)
        return reference

    def take_back(self, worker: int, number: int) -> None:
        """Only what is not begun: a worker is at the first of its batches."""
        own = [(reference, task) for reference, (w, task) in self.calls.items() if w == worker]
        self.back |= {reference for reference, task in own[1:] if task.number == number}

    def able(self, reference: int) -> bool:
        """Whether this call may end now: a worker answers one batch after another, and gives back what it was told to."""
        if reference in self.starts or reference in self.back or reference not in self.calls:
            return True
        worker = self.calls[reference][0]
        first = next(r for r, (w, _) in self.calls.items() if w == worker and r not in self.back)
        return reference == first and worker not in self.slow

    def wait(self, references: list[int]) -> list[int]:
        assert references, "nothing is under way, and the flow waits for it"
        able = [reference for reference in references if self.able(reference)] or references[:1]
        some = set(self.rng.sample(able, self.rng.randint(1, len(able))))
        chosen = [reference for reference in references if reference in some]
        for reference in chosen:
            if reference in self.calls and (self.calls[reference][1].given == self.poison or self.rng.random() < self.death):
                self.lost.add(reference)
            if reference in self.starts and self.rng.random() < self.start_death:
                self.lost.add(reference)
        return chosen

    def result(self, reference: int) -> Any:
        if reference in self.starts:
            if reference in self.lost:
                raise Lost
            return self.told
        worker, task = self.calls.pop(reference)
        if reference in self.back and reference not in self.lost:
            self.returned.append(task.given)
            return TakenBack()
        if reference in self.lost:
            self.calls = {r: (w, t) for r, (w, t) in self.calls.items() if w != worker}
            raise Lost
        self.asked.append(task.given)
        return task.given * 10

    def flow(self, count: int, send: Any = lambda task, missing: None) -> Flow[int]:
        return Flow(self, self.workers, count, self.submit, send, "model 'm'")


def test_everything_comes_back_once_and_in_order() -> None:
    cluster = Simulated()
    assert list(cluster.flow(3).run(range(50))) == [(i, 10 * i) for i in range(50)]
    assert sorted(cluster.asked) == list(range(50))
    assert cluster.asked != sorted(cluster.asked)  # they did finish in another order
    assert cluster.most == AT_ONCE


@pytest.mark.parametrize("seed", range(60))
def test_whoever_dies_when(seed: int) -> None:
    cluster = Simulated(seed, death=0.15, start_death=0.2)
    flow = cluster.flow(1 + seed % 8)
    assert list(flow.run(range(40))) == [(i, 10 * i) for i in range(40)]
    assert sorted(cluster.asked) == list(range(40))  # what was answered was not asked again
    assert cluster.most <= AT_ONCE
    assert flow.replaced == len(cluster.dead)


def test_there_were_deaths_to_survive() -> None:
    flows = []
    for seed in range(10):
        flows.append(Simulated(seed, death=0.15).flow(4))
        list(flows[-1].run(range(40)))
    assert sum(flow.replaced for flow in flows) > 20


def test_nothing_is_no_work() -> None:
    assert list(Simulated().flow(4).run([])) == []


def test_a_cluster_is_not_looked_for_where_nothing_is_left_to_ask() -> None:
    executor = RayExecutor(RaySettings("127.0.0.1:1"))
    assert list(executor.run(ModelSpec("m", "scripted"), [])) == []
    executor.close()


def test_a_worker_on_a_cluster_answers_before_its_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has not answered in the time a cluster takes to grow is taken for one that there is no room for."""
    loaded: list[str] = []
    monkeypatch.setattr(ScriptedModel, "load", lambda self: loaded.append("load"), raising=False)

    class Actor:
        """As Ray shows a worker, without a cluster."""

        def __init__(self, seed: int) -> None:
            self.start = SimpleNamespace(remote=RayWorker(seed).start)

        @classmethod
        def options(cls, **given: Any) -> Any:
            return SimpleNamespace(remote=cls)

    executor = RayExecutor(RaySettings("127.0.0.1:1"))
    executor._actor, executor._model = Actor, (ModelSpec("m", "scripted"), {"CPU": 1.0, "GPU": 0.0})
    _, told = executor.spawn()
    assert isinstance(told, Told)
    assert loaded == []


def test_what_is_ahead_is_bounded() -> None:
    taken, came = 0, 0

    def source() -> Iterator[int]:
        nonlocal taken
        for i in range(200):
            taken = i + 1
            yield i

    cluster = Simulated(4)
    for _ in cluster.flow(3).run(source()):
        came += 1
        assert taken - came <= AHEAD * 3
    assert came == 200


def test_workers_are_kept_from_one_flow_to_the_next() -> None:
    cluster = Simulated()
    list(cluster.flow(3).run(range(20)))
    before = dict(cluster.workers)
    assert len(before) == 3
    list(cluster.flow(3).run(range(20)))
    assert cluster.workers == before
    assert len(cluster.starts) == 3


def test_workers_without_work_start_meanwhile_where_more_is_to_come() -> None:
    cluster = Simulated()
    assert list(cluster.flow(4).run([7])) == [(7, 70)]
    assert len(cluster.workers) == 1
    for coming, workers in [(1, 1), (3, 3), (9, 4)]:  # no more than are needed, nor than there are to be
        assert list(cluster.flow(4).run([7], coming=coming)) == [(7, 70)]
        assert len(cluster.workers) == workers
    before = set(cluster.workers)
    assert list(cluster.flow(4).run(range(20))) == [(i, 10 * i) for i in range(20)]  # those not ready then are waited for now
    assert set(cluster.workers) == before


def test_a_flow_that_is_left_early_leaves_workers_that_can_be_used() -> None:
    cluster = Simulated()
    running = cluster.flow(2).run(range(100))
    assert [next(running), next(running)] == [(0, 0), (1, 10)]
    running.close()
    cluster.calls.clear()  # what they were at comes to nothing that anyone waits for
    assert list(cluster.flow(2).run(range(5))) == [(i, 10 * i) for i in range(5)]


def test_a_batch_that_ends_every_worker_is_given_up_and_named_as_such() -> None:
    cluster = Simulated(poison=7)
    with pytest.raises(RunError, match="5 workers ended, one after another, at the same images") as fault:
        list(cluster.flow(2).run(range(20)))
    assert fault.value.where == "model 'm'"
    assert 7 not in cluster.asked
    assert len(cluster.dead) == MOST_ENDS


def test_what_was_answered_before_a_fault_was_handed_over() -> None:
    running = Simulated(poison=7).flow(1).run(range(20))
    assert [given for given, _ in islice(running, 7)] == list(range(7))
    with pytest.raises(RunError):
        next(running)


def test_workers_that_never_start_are_given_up() -> None:
    cluster = Simulated(start_death=1.0)
    with pytest.raises(RunError, match="10 workers ended, one after another, before they answered anything"):
        list(cluster.flow(2).run(range(5)))


@pytest.mark.parametrize("count", [2, 3])
def test_one_that_never_starts_is_done_without_where_others_answer(count: int) -> None:
    class Broken(Simulated):
        """One of the machine's GPUs is: whoever takes its place ends too."""

        def wait(self, references: list[int]) -> list[int]:
            done = super().wait(references)
            broken = [w for w in self.starts.values() if w not in self.sound]
            self.lost |= {ref for ref, w in self.starts.items() if w in broken}
            return done

        @property
        def sound(self) -> list[int]:
            return list(self.starts.values())[: count - 1]

    cluster = Broken(3)
    flow = cluster.flow(count)
    assert list(flow.run(range(400))) == [(i, 10 * i) for i in range(400)]
    assert MOST_ENDS <= len(cluster.dead) < MOST_ENDS + count, "and no more are tried, however much is left"
    assert flow.replaced == len(cluster.dead)
    assert set(cluster.workers) == set(cluster.sound)


def test_a_fault_as_it_starts_leaves_no_worker_that_would_be_waited_for() -> None:
    fault = ModelError("no such checkpoint", where="model 'm'")
    cluster = Simulated(told=fault)
    for _ in range(2):
        with pytest.raises(ModelError):
            list(cluster.flow(1).run(range(5)))
        assert cluster.workers == {}
    assert len(cluster.dead) == 2
    cluster.told = Told(1, ("0.0.1", "3.0"))
    with pytest.raises(RunError, match="a worker runs Palpate"):
        list(cluster.flow(1).run(range(5)))
    cluster.told = TOLD
    assert list(cluster.flow(1).run(range(5))) == [(i, 10 * i) for i in range(5)]


def test_a_fault_of_the_model_ends_the_flow() -> None:
    fault = ModelError("no such checkpoint", where="model 'm'")
    with pytest.raises(ModelError, match="no such checkpoint"):
        list(Simulated(told=fault).flow(2).run(range(5)))


def test_a_fault_on_the_way_ends_the_flow() -> None:
    class Broken(Simulated):
        def result(self, reference: int) -> Any:
            found = super().result(reference)
            return ModelError("gave nothing") if found == 30 else found

    with pytest.raises(ModelError, match="gave nothing"):
        list(Broken().flow(2).run(range(9)))


def test_what_is_given_back_unasked_is_a_fault() -> None:
    """It would be handed out again for ever."""

    class Unwilling(Simulated):
        def result(self, reference: int) -> Any:
            found = super().result(reference)
            return TakenBack() if found == 30 else found

    with pytest.raises(RuntimeError, match="gave back what it was not told to"):
        list(islice(Unwilling().flow(1).run(range(5)), 5))


def test_missing_images_are_sent_and_the_batch_is_asked_again() -> None:
    class Blind(Simulated):
        def result(self, reference: int) -> Any:
            images = self.calls[reference][1].images if reference in self.calls else {}
            found = super().result(reference)
            return found if reference in self.starts or images else Missing((0,))

    told: list[tuple[int, Missing | None]] = []

    def send(task: Task[int], missing: Missing | None) -> None:
        told.append((task.given, missing))
        if missing is not None:
            task.images[0] = "pixels"

    cluster = Blind()
    assert list(cluster.flow(2, send).run(range(6))) == [(i, 10 * i) for i in range(6)]
    assert sorted(given for given, missing in told if missing is None) == list(range(6))
    assert sorted(given for given, missing in told if missing is not None) == list(range(6))


def test_images_that_were_lost_with_a_worker_are_sent_anew() -> None:
    """A reference to an image that is gone would end every worker it is given to."""

    class Forgetful(Simulated):
        def result(self, reference: int) -> Any:
            if reference in self.starts:
                return super().result(reference)
            images = self.calls[reference][1].images
            found = super().result(reference)
            if images.get(0) == "lost":
                raise Lost
            return found if images else Missing((0,))

    sent: list[int] = []

    def send(task: Task[int], missing: Missing | None) -> None:
        if missing is not None:
            sent.append(task.given)
            task.images[0] = "lost" if sent == [2] else "pixels"

    assert list(Forgetful().flow(1, send).run(iter([2, 3]))) == [(2, 20), (3, 30)]
    assert sorted(sent) == [2, 2, 3, 3]  # both batches the worker held


@pytest.mark.parametrize("told", [("0.0.1", versions()[1]), (versions()[0], "2.7")])
def test_another_version_is_refused(told: tuple[str, str]) -> None:
    with pytest.raises(RunError, match=f"a worker runs Palpate {told[0]} on Python {told[1]}, this process {versions()[0]}"):
        same_versions(Told(1, told))
    same_versions(TOLD)


# ---------------------------------------------------------------- handed ahead, and taken back


def test_what_a_slow_worker_was_handed_ahead_is_answered_by_others() -> None:
    class Slow(Simulated):
        """The first worker never answers, until nothing else is left."""

        def submit(self, worker: int, task: Task[int]) -> int:
            self.slow = frozenset({min(self.workers)})
            return super().submit(worker, task)

        def wait(self, references: list[int]) -> list[int]:
            before = len(self.asked)
            done = super().wait(references)
            if not [r for r in done if r not in self.calls or self.calls[r][0] not in self.slow]:
                self.left = before
            return done

    cluster = Slow(1)
    assert list(cluster.flow(3).run(range(12))) == [(i, 10 * i) for i in range(12)]
    assert cluster.left == 11, "it held one when all others were answered"
    assert sorted(cluster.asked) == list(range(12))
    assert len(cluster.returned) == AT_ONCE - 1


@pytest.mark.parametrize("seed", range(60))
def test_whoever_dies_while_batches_are_taken_back(seed: int) -> None:
    """Few batches and many workers: most is taken back from somebody."""
    cluster = Simulated(seed, death=0.1, start_death=0.2)
    assert list(cluster.flow(6).run(range(9))) == [(i, 10 * i) for i in range(9)]
    assert sorted(cluster.asked) == list(range(9))


def test_batches_were_taken_back() -> None:
    clusters = [Simulated(seed, death=0.1, start_death=0.2) for seed in range(60)]
    for cluster in clusters:
        list(cluster.flow(6).run(range(9)))
    assert sum(len(cluster.returned) for cluster in clusters) > 60


@pytest.mark.parametrize("seed", range(40))
def test_once_they_are_over_nothing_is_begun_and_what_was_asked_is_handed_over(seed: int) -> None:
    cluster, given = Simulated(seed, death=0.05), list[int]()
    begun: set[int] = set()

    def over() -> bool:
        if len(given) >= 5 and not begun:
            firsts = {worker: task.given for worker, task in reversed(cluster.calls.values())}  # what each worker is at
            begun.update(firsts.values(), cluster.asked)
        return len(given) >= 5

    for one, answer in cluster.flow(3).run(range(40), over):
        assert answer == 10 * one
        given.append(one)
    assert given == sorted(set(given))
    assert sorted(cluster.asked) == given, "nothing that was answered is thrown away"
    assert set(given) <= begun


def test_no_more_workers_than_batches() -> None:
    cluster = Simulated()
    assert list(cluster.flow(8).run(range(2))) == [(0, 0), (1, 10)]
    assert len(cluster.workers) == 2
