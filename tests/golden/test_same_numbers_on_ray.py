"""A study on a Ray cluster gives the ledger that it gives here, row for row, whatever happens to the workers."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

import only_here
from faults_found import survived
from palpate.errors import ModelError, RunError
from palpate.executors.local import LocalExecutor
from palpate.executors.ray_pool import RayExecutor, RaySettings
from palpate.nouns import Perturbation
from palpate.parts import ModelSpec
from palpate.stages.ask import ask
from palpate.stages.plan import Plan, plan
from palpate.store.ledger import Ledger
from palpate.study import Study
from small import STUDY, write_study

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra `ray`")
TEXT = (
    STUDY.replace('prompts = "reference"', 'prompts = "reference"\nperturbations = ["none", "gaussian_noise-2"]\nrepeats = 2')
    .replace("refusal_rate = 0.05", "refusal_rate = 0.1\nerror_rate = 0.1\nblocks_at_once = 1")
    .replace("accuracy = 0.9", "accuracy = 0.9\nblocks_at_once = 3\nflip_rate = 0.05")
    .replace("[measure]", "[ask]\nattempts = 2\n[measure]")
)
Rows = list[tuple[object, ...]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("ray"), TEXT).parent


@pytest.fixture(scope="module")
def planned(folder: Path) -> Plan:
    return plan(Study.load(folder / "study.toml"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayExecutor]:
    """Two workers on this machine; what is started here stays up for all of this file's tests."""
    executor = RayExecutor(RaySettings(workers=2, cpus=1), 3)
    executor._connect()
    yield executor
    executor.close()


def rows(path: Path) -> Rows:
    """Every row of the ledger but for the time it took, in the order they were written."""
    db = sqlite3.connect(path)
    found = db.execute(
        "SELECT id, key, attempt, model, case_, perturbation, prompt, repeat, status, text, margin, mass, tokens_in, tokens_out,"
        " error FROM response ORDER BY id"
    ).fetchall()
    db.close()
    return found


def asked(planned: Plan, executor: RayExecutor | LocalExecutor, path: Path) -> Rows:
    with Ledger(path, create=True) as book:
        planned.write(book)
        ask(planned, book, executor)
    return rows(path)


@pytest.fixture(scope="module")
def here(planned: Plan, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return asked(planned, LocalExecutor(1, planned.study.seed), tmp_path_factory.mktemp("here") / "ledger.sqlite")


def on_ray(cluster: RayExecutor, planned: Plan, **more: object) -> RayExecutor:
    """Another executor on the same cluster, which knows the models of this plan."""
    identities = {m: planned.fingerprints[m.name].identity for m in planned.study.models}
    executor = RayExecutor(replace(cluster.settings, **more), planned.study.seed, identities)
    executor._connect()
    assert not executor._own
    return executor


def test_the_same_rows_in_the_same_order(planned: Plan, cluster: RayExecutor, here: Rows, tmp_path: Path) -> None:
    executor = on_ray(cluster, planned)
    try:
        assert asked(planned, executor, tmp_path / "ledger.sqlite") == here
    finally:
        executor.close()
    assert len(here) > planned.n_trials  # failures too, asked again
    assert executor.replaced == 0
    assert executor.sent == 0  # the workers opened the files themselves


def test_images_that_workers_cannot_open_are_sent_once_each(
    folder: Path, planned: Plan, cluster: RayExecutor, here: Rows, tmp_path: Path
) -> None:
    """The driver's images are where only the driver looks: its case refs are made to fail in any other process."""
    cluster._ray.cloudpickle.register_pickle_by_value(only_here)
    hidden = replace(
        planned,
        cases={task: replace(found, cases=tuple(map(only_here.only_here, found.cases))) for task, found in planned.cases.items()},
    )
    executor = on_ray(cluster, planned)
    try:
        assert asked(hidden, executor, tmp_path / "ledger.sqlite") == here
        assert executor.sent == 12  # two models, two perturbations, two rounds; every image once
    finally:
        executor.close()


def test_an_image_that_is_gone_is_the_same_error(folder: Path, cluster: RayExecutor, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "study")
    planned = plan(Study.load(tmp_path / "study" / "study.toml"))
    gone, changed = sorted((tmp_path / "study" / "images").rglob("*.png"))[:2]
    gone.unlink()
    changed.write_bytes(b"something else")
    executor = on_ray(cluster, planned)
    try:
        there = asked(planned, executor, tmp_path / "ray.sqlite")
    finally:
        executor.close()
    assert there == asked(planned, LocalExecutor(1, planned.study.seed), tmp_path / "here.sqlite")
    assert {str(row[-1]) for row in there if row[8] == "error"} >= {"the image cannot be opened: FileNotFoundError"}


def test_workers_that_are_killed_are_replaced_and_nothing_is_lost(
    folder: Path, planned: Plan, cluster: RayExecutor, here: Rows, tmp_path: Path
) -> None:
    slow = replace(planned, study=replace(planned.study, models=tuple(map(slowly, planned.study.models))))
    executor = on_ray(cluster, slow)
    done = threading.Event()
    killer = threading.Thread(target=kill_now_and_then, args=(executor, done, 1.5))
    killer.start()
    try:
        there = asked(slow, executor, tmp_path / "ledger.sqlite")
    finally:
        done.set()
        killer.join()
        executor.close()
    assert there == here
    assert executor.replaced >= 1
    survived("ray", executor.replaced)


@pytest.mark.slow
def test_a_worker_killed_every_few_seconds_for_a_minute_loses_nothing(cluster: RayExecutor, tmp_path: Path) -> None:
    study = Study.load(write_study(tmp_path, TEXT.replace("blocks_at_once = 3", "blocks_at_once = 1"), per_class=120))
    planned = plan(replace(study, perturbations=(Perturbation(),), repeats=1))
    here = asked(planned, LocalExecutor(1, study.seed), tmp_path / "here.sqlite")
    slow = replace(planned, study=replace(planned.study, models=tuple(slowly(m, 0.02) for m in planned.study.models)))
    executor = on_ray(cluster, slow, workers=2)
    done, killed = threading.Event(), list[int]()
    killer = threading.Thread(target=lambda: killed.extend(kill_now_and_then(executor, done, 2.5)))
    begun = time.monotonic()
    killer.start()
    try:
        there = asked(slow, executor, tmp_path / "ledger.sqlite")
    finally:
        done.set()
        killer.join()
        executor.close()
    assert time.monotonic() - begun > 60
    assert len(killed) >= 15
    assert executor.replaced >= len(killed) - 1  # the last one may have been idle
    assert there == here


def slowly(model: ModelSpec, latency: float = 0.004) -> ModelSpec:
    return replace(model, options={**model.options, "latency": latency})  # not part of the model's identity


def kill_now_and_then(executor: RayExecutor, done: threading.Event, every: float) -> list[int]:
    """Kill a worker's process, by the number it told, every so often."""
    killed: list[int] = []
    while not done.wait(every):
        pids = [pid for pid in executor.pids() if pid not in killed]
        if pids:
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])
    return killed


def test_a_model_that_is_another_on_the_worker_is_refused(planned: Plan, cluster: RayExecutor) -> None:
    model = planned.study.models[0]
    executor = on_ray(cluster, planned)
    executor._identities = {model: {**planned.fingerprints[model.name].identity, "dtype": "bfloat16"}}
    try:
        with pytest.raises(ModelError, match="is another model on the worker") as fault:
            list(executor.run(model, [list(planned.blocks(model))[:1]]))
    finally:
        executor.close()
    assert 'dtype: absent there, "bfloat16" here' in fault.value.problem
    assert fault.value.where == "model 'base'"


def test_what_a_worker_has_not_installed_is_said(planned: Plan, cluster: RayExecutor) -> None:
    """A plug-in that is here and not there."""
    cluster._ray.cloudpickle.unregister_pickle_by_value(only_here)
    model = planned.study.models[0]
    block = next(iter(planned.blocks(model)))
    executor = on_ray(cluster, planned)
    try:
        with pytest.raises(RunError, match="No module named 'only_here'"):
            list(executor.run(model, [[replace(block, case=only_here.only_here(block.case))]]))
    finally:
        executor.close()


def test_a_cluster_of_ones_own_is_reached_from_this_machine_alone(cluster: RayExecutor) -> None:
    mine = {p.pid for p in psutil.Process().children(recursive=True)}
    open_at = {c.laddr.ip for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN and c.pid in mine}
    assert open_at
    assert open_at <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_a_fault_in_a_worker_arrives_whole(planned: Plan, cluster: RayExecutor) -> None:
    executor = on_ray(cluster, planned)
    bad = ModelSpec("m", "scripted", {"accuracy": 7})
    try:
        with pytest.raises(ModelError, match="accuracy") as fault:
            list(executor.look(bad, [list(planned.blocks(planned.study.models[0]))[:1]], {}))
    finally:
        executor.close()
    assert "a number from 0 to 1" in fault.value.expected


def test_room_that_never_comes_is_said(planned: Plan, cluster: RayExecutor) -> None:
    executor = on_ray(cluster, planned, gpus=1.0, patience=1.0)
    model = planned.study.models[0]
    try:
        with pytest.raises(RunError, match="no worker could start") as fault:
            list(executor.run(model, [list(planned.blocks(model))[:1]]))
    finally:
        executor.close()
    assert "room for 1 CPU and 1 GPU a worker; the cluster has 2 CPU, 0 GPU" in fault.value.expected


def test_a_run_from_the_command_line(folder: Path, planned: Plan, cluster: RayExecutor, here: Rows, tmp_path: Path, cli) -> None:
    done = cli("ask", folder / "study.toml", "--out", tmp_path / "run", "--executor", "ray", "--workers", 2, "-q")
    assert done.exit_code == 0, done.output
    assert rows(tmp_path / "run" / "ledger.sqlite") == here


def test_as_many_workers_as_there_is_room_for(planned: Plan, cluster: RayExecutor) -> None:
    model = planned.study.models[0]
    for cpus, count in ((1.0, 2), (0.5, 4), (2.0, 1), (3.0, 1)):
        executor = on_ray(cluster, planned, workers=None, cpus=cpus)
        assert executor._count(executor._takes(model)) == count
    assert executor._takes(model) == {"CPU": 3.0, "GPU": 0.0}
