"""Runs Blocks on a Ray cluster: workers on many GPUs and machines, each an actor that loads the model once.

Only Blocks go out and Answers come back; the ledger is the driver's alone. A worker opens the study's images where it is, and is
sent only those it cannot open (see ``_shipping``). Everything of Ray that is not here stays out of Palpate.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from palpate.errors import RunError
from palpate.executors._contract import BOTH, Batch, Looked, OnStep, over
from palpate.executors._flow import Flow, Lost, Task
from palpate.executors._ray_worker import RayWorker
from palpate.executors._served import ServedModels
from palpate.executors._shipping import Shipped, Shipping
from palpate.executors._worker import CALLS, Missing, Told
from palpate.nouns import Answer, Block
from palpate.parts import Allowance, ChecksItself, FeatureRequest, ModelSpec
from palpate.registry import part

PATIENCE = 900.0
"""Seconds without any worker before the driver gives up: a cluster that grows takes minutes to bring up a machine."""
SOON = 1.0
"""Seconds after which the driver looks whether it is to stop."""


@dataclass(frozen=True, slots=True)
class RaySettings:
    """``address``: of a running cluster (``auto``, ``host:port``, ``ray://host:port``); None starts one on this machine alone.

    ``workers``: how many; None: as many as the cluster has GPUs (CPUs, where the model runs on none) for. ``cpus`` and ``gpus``:
    what one of them takes; gpus None: one where the cluster has any and the model can use it. A fraction shares a GPU.
    """

    address: str | None = None
    workers: int | None = None
    cpus: float = 1.0
    gpus: float | None = None
    patience: float = PATIENCE


class RayExecutor(ServedModels):
    """``run(model, batches)`` yields each batch with its answers, in the order given, so that results never depend on timing."""

    def __init__(
        self, settings: RaySettings, seed: int = 0, identities: Mapping[ModelSpec, Mapping[str, Any]] | None = None
    ) -> None:
        """``identities``: what the plan says each model is; a worker that loads another is refused."""
        super().__init__(seed)
        self.settings = settings
        self._identities |= identities or {}
        self._ray: Any = None
        self._actor: Any = None
        self._own = False  # whether the cluster was started here
        self._shipping: Shipping | None = None
        self._sends = False  # whether workers were found that cannot open the study's images
        self._workers: dict[Any, Any] = {}
        self._model: tuple[ModelSpec, dict[str, float]] | None = None
        self._alone: float | None = None  # since when there is no worker
        self.replaced = self.sent = 0  # workers that ended, and images put into the object store

    def run(
        self, model: ModelSpec, batches: Iterable[Batch], allowance: Allowance | None = None
    ) -> Iterator[tuple[Batch, list[list[Answer]]]]:
        """Ask one model. Raises ModelError where it cannot work at all, RunError where workers cannot be had or replaced."""
        served = self.served(model)
        if served is not None:
            yield from self.ask(model, served, batches, allowance)
            return
        for batch, answers, _ in self.look(model, batches, {}):
            yield batch, answers

    def look(self, model: ModelSpec, batches: Iterable[Batch], requests: Mapping[str, FeatureRequest]) -> Iterator[Looked]:
        """The same, with the inner states of images whose task has a request, one entry per Block."""

        def submit(worker: Any, task: Task[Batch]) -> Any:
            return worker.look.remote(task.number, model, task.given, requests, tuple(task.images), *task.images.values())

        for batch, (answers, features) in self._flow(model, submit, batches):
            yield batch, answers, features

    def check(self, model: ModelSpec, blocks: Sequence[Block], on_step: OnStep | None = None, coming: int = 1) -> Mapping[str, Any]:
        """What the model finds out about itself before it is asked. Raises ModelError where it must not be asked.

        Whatever is ``coming``, other workers load the model when they are asked.
        """
        built = part("models", model.kind).build(model)
        built.close()
        if not isinstance(built, ChecksItself):
            return {}
        if on_step is not None:
            on_step(BOTH)

        def submit(worker: Any, task: Task[Batch]) -> Any:
            return worker.check.remote(model, task.given, tuple(task.images), *task.images.values())

        ((_, found),) = self._flow(model, submit, [blocks])
        return dict(found)

    def pids(self) -> list[int]:
        """The processes of the workers that have started, each on its own machine."""
        return [told.pid for told in list(self._workers.values()) if isinstance(told, Told)]

    def close(self) -> None:
        """End the workers, and the cluster where it was started here, without waiting for what they are at."""
        for worker in list(self._workers):
            self.kill(worker)
        self._workers.clear()
        if self._own and self._ray is not None:
            self._ray.shutdown()
        self._ray, self._own, self._shipping = None, False, None

    def _flow(self, model: ModelSpec, submit: Any, given: Iterable[Batch]) -> Iterator[tuple[Batch, Any]]:
        source = iter(given)
        first = next(source, None)
        if first is None:
            return  # no model is loaded, and no cluster needed, where nothing is left to ask
        count = self._prepare(model)
        flow: Flow[Batch] = Flow(self, self._workers, count, submit, self._send, f"model {model.name!r}")
        try:
            yield from flow.run(chain((first,), source), lambda: over(given))
        finally:
            self.replaced += flow.replaced

    # ------------------------------------------------------------ what the flow needs of Ray

    def spawn(self) -> tuple[Any, Any]:
        """A new actor, and a reference to its start. Where there is no room it waits for some: that is how clusters grow."""
        assert self._model is not None
        spec, takes = self._model
        given = {"num_cpus": takes["CPU"], "num_gpus": takes["GPU"], "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        worker = self._actor.options(**given, max_concurrency=CALLS).remote(self.seed)
        return worker, worker.start.remote(spec, self._identities.get(spec))

    def kill(self, worker: Any) -> None:
        """End an actor, dead or alive."""
        self._ray.kill(worker, no_restart=True)

    def take_back(self, worker: Any, number: int) -> None:
        """Have an actor give back what it has not begun."""
        if worker in self._workers:
            worker.take_back.remote(number)

    def wait(self, references: list[Any]) -> list[Any]:
        """The calls that are done. Raises RunError where no worker starts in the time a cluster takes to grow."""
        done, _ = self._ray.wait(references, num_returns=1, timeout=SOON)
        if done or self.pids():
            self._alone = None
        elif self._alone is None:
            self._alone = time.monotonic()
        elif time.monotonic() - self._alone > self.settings.patience:
            raise self._no_room()
        ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0) if done else ([], [])
        return [reference for reference in references if reference in set(ready)]

    def result(self, reference: Any) -> Any:
        """What a call gave. Raises Lost where its worker, or an image it was sent, has gone."""
        from ray.exceptions import ObjectLostError, RayError, RaySystemError, RayTaskError

        try:
            return self._ray.get(reference)
        except RayError as fault:
            cause = fault.cause if isinstance(fault, RayTaskError) else fault
            if not isinstance(cause, RayError):
                raise  # a fault of the model's own code: shown as it is
            if isinstance(cause, RaySystemError):
                raise self._not_taken(cause) from None
            if isinstance(cause, ObjectLostError):
                self._images.forget()
            raise Lost from fault

    # ------------------------------------------------------------ the cluster

    def _prepare(self, model: ModelSpec) -> int:
        """Connect, and have workers begin to load the model; returns how many there are to be."""
        self._connect()
        takes = self._takes(model)
        if self._model is not None and self._model[1] != takes:
            for worker in list(self._workers):
                self.kill(worker)
            self._workers.clear()
        if self._model is None or self._model[0] != model:
            for worker in self._workers:
                self._workers[worker] = worker.start.remote(model, self._identities.get(model))
        self._model = model, takes
        count = self._count(takes)
        while len(self._workers) < count:
            worker, started = self.spawn()
            self._workers[worker] = started
        return count

    def _connect(self) -> None:
        if self._ray is not None:
            return
        here = self.settings.address is None
        # Palpate sends nothing anywhere unasked, and a cluster for this machine alone is to be reached from it alone.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # every one that matters is looked at here
        if here:
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        try:
            import ray
        except ImportError:
            raise RunError(
                "needs the ray package", where="executor", expected="the extra `ray`", hint="pip install 'palpate[ray]'"
            ) from None
        logging.getLogger("ray").setLevel(logging.ERROR)
        if not ray.is_initialized():
            room = {"num_cpus": math.ceil((self.settings.workers or os.cpu_count() or 1) * self.settings.cpus)} if here else {}
            try:
                ray.init(
                    address=self.settings.address or "local",
                    include_dashboard=False if here else None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **room,
                )
            except (ConnectionError, ValueError, RuntimeError) as fault:
                raise self._unreachable(fault) from None
            self._own = True
        self._ray, self._actor = ray, ray.remote(RayWorker)

    def _unreachable(self, fault: Exception) -> RunError:
        return RunError(
            f"no Ray cluster can be used: {str(fault).strip().splitlines()[0]}",
            where=f"address {self.settings.address!r}" if self.settings.address else "this machine",
            expected="the address of a running cluster: auto, host:port or ray://host:port",
            hint="`ray start --head` starts one; without --address one is started for this machine",
        )

    def _takes(self, model: ModelSpec) -> dict[str, float]:
        """What one worker takes of its machine."""
        gpus = self.settings.gpus
        if gpus is None:
            uses = getattr(part("models", model.kind), "uses_gpu", True)
            gpus = 1.0 if uses and self._ray.cluster_resources().get("GPU", 0) > 0 else 0.0
        return {"CPU": self.settings.cpus, "GPU": gpus}

    def _count(self, takes: Mapping[str, float]) -> int:
        if self.settings.workers is not None:
            return self.settings.workers
        there = self._ray.cluster_resources()
        room = [math.floor(there.get(what, 0) / amount) for what, amount in takes.items() if amount]
        return max(1, min(room, default=1))

    def _not_taken(self, fault: Exception) -> RunError:
        return RunError(
            f"a worker cannot take what it is given: {str(fault).strip().splitlines()[0]}",
            where="the Ray cluster",
            expected="the same packages on every machine",
            hint="install there what is installed here, Palpate and its plug-ins",
        )

    def _no_room(self) -> RunError:
        takes = self._model[1] if self._model is not None else {}
        wanted = " and ".join(f"{amount:g} {what}" for what, amount in takes.items() if amount)
        there = ", ".join(f"{self._ray.cluster_resources().get(what, 0):g} {what}" for what in takes)
        return RunError(
            f"no worker could start in {self.settings.patience / 60:.0f} minutes",
            where="the Ray cluster",
            expected=f"room for {wanted} a worker; the cluster has {there}",
            hint="`ray status` shows what it waits for; fewer CPUs or GPUs a worker: cpus, gpus in [ask]",
        )

    # ------------------------------------------------------------ images

    @property
    def _images(self) -> Shipping:
        if self._shipping is None:
            self._shipping = Shipping(self._put)
        return self._shipping

    def _put(self, image: Shipped) -> Any:
        self.sent += 1
        return self._ray.put(image)

    def _send(self, task: Task[Batch], missing: Missing | None) -> None:
        """Have the images a worker misses sent with the Blocks; from then on, those of every batch."""
        if missing is not None:
            self._sends = True
            task.images |= {place: self._images.reference(task.given[place].case) for place in missing.places}
        elif self._sends:
            task.images = {place: self._images.reference(block.case) for place, block in enumerate(task.given)}
