"""A Ray cluster of several machines, each a raylet of its own here: one joins on the way, one is lost, and nothing is missing."""

from __future__ import annotations

import os
import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from palpate.executors.local import LocalExecutor
from palpate.executors.ray_pool import RayExecutor, RaySettings
from palpate.nouns import Tally
from palpate.stages.ask import ask
from palpate.stages.plan import plan
from palpate.store.ledger import Ledger
from palpate.study import Study
from small import STUDY, write_study

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra `ray`")]
SLOW = STUDY.replace('kind = "scripted"', 'kind = "scripted"\nlatency = 0.01\nblocks_at_once = 1')


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A head without CPUs, at 127.0.0.1 alone."""
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def rows(path: Path) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    found = db.execute("SELECT id, key, attempt, status, text, margin, mass FROM response ORDER BY id").fetchall()
    db.close()
    return found


def test_a_machine_joins_and_another_is_lost(machines: Any, tmp_path: Path) -> None:
    planned = plan(Study.load(write_study(tmp_path, SLOW, per_class=24)))
    models = planned.study.models
    executor = RayExecutor(
        RaySettings(machines.address, workers=3), planned.study.seed, {m: planned.fingerprints[m.name].identity for m in models}
    )
    first, joined, workers = machines.add_node(num_cpus=1), [], []

    def tell(tally: Tally) -> None:
        if tally.done:  # before that nobody need be there
            workers.append(len(executor.pids()))
        if not joined and tally.done >= 60:
            joined.append(machines.add_node(num_cpus=2))
        elif joined and len(joined) < 2 and tally.done >= 400:
            machines.remove_node(first, allow_graceful=False)
            joined.append(None)

    try:
        with Ledger(tmp_path / "there.sqlite", create=True) as book:
            planned.write(book)
            done = ask(planned, book, executor, tell)
    finally:
        executor.close()
    assert len(joined) == 2, "the machines did not change on the way"
    assert (done.done, done.errors) == (planned.n_trials, 0)
    assert workers[0] == 1
    assert max(workers) == 3  # those that waited for room took it
    assert executor.replaced >= 1
    with Ledger(tmp_path / "here.sqlite", create=True) as book:
        planned.write(book)
        ask(planned, book, LocalExecutor(1, planned.study.seed))
    assert rows(tmp_path / "there.sqlite") == rows(tmp_path / "here.sqlite")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
