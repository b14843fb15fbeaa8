"""A run is killed, at many moments, and run again: nothing committed is lost, nothing is asked twice, the end is the same."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

from faults_found import survived
from palpate.pipeline import run
from palpate.store.ledger import Ledger
from palpate.study import Study
from small import STUDY, palpate, write_study

TRIALS = 2 * 12 * 12
Rows = set[tuple[str, int, str, str]]


def study_text(latency: float, workers: int = 1) -> str:
    """Latency is no part of a model's identity: slow and fast runs ask the very same trials."""
    text = STUDY.replace('kind = "scripted"', f'kind = "scripted"\nblocks_at_once = 1\nlatency = {latency}')
    return f"{text}\n[ask]\nworkers = {workers}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and the run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("kill")
    run(Study.load(write_study(folder, study_text(0.0))), folder / "whole")
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> tuple[Rows, bytes]:
    """What an uninterrupted run ends with."""
    rows = answers(folder / "whole")
    assert len(rows) == TRIALS
    return rows, (folder / "whole" / "estimates.json").read_bytes()


def answers(run_folder: Path) -> Rows:
    """Every committed answer, read as the next run would: through the ledger, which recovers what a killed run left."""
    path = run_folder / "ledger.sqlite"
    if not path.exists():
        return set()
    with Ledger(path, create=True) as ledger:
        rows = list(ledger.texts())
    asked_well = Counter(key for key, _, status, _ in rows if status == "ok")
    assert set(asked_well.values()) <= {1}  # nothing is asked twice
    return set(rows)


def count(run_folder: Path, table: str) -> int:
    """Rows committed so far, while another process writes."""
    try:
        with closing(sqlite3.connect(f"file:{run_folder}/ledger.sqlite?mode=ro", uri=True)) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.Error:
        return 0


def responses(n: int) -> Callable[[Path], bool]:
    return lambda run_folder: count(run_folder, "response") >= n


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the folder is made": lambda f: f.exists(),
    "the ledger is made": lambda f: (f / "ledger.sqlite").exists(),
    "the study is written": lambda f: (f / "study.toml").exists(),
    "the cases are written": lambda f: (f / "cases.csv").exists(),
    "a first block is committed": responses(1),
    "some are": responses(60),
    "half are": responses(150),
    "nearly all are": responses(270),
    "all are": responses(TRIALS),
    "they are read": lambda f: count(f, "reading") > 0,
    "they are measured": lambda f: (f / "estimates.json").exists(),
    "the report is begun": lambda f: (f / "report.md").exists(),
}


def start(folder: Path, out: Path, latency: float = 0.004, workers: int = 1) -> Popen[str]:
    study = folder / f"slow-{latency}-{workers}.toml"
    study.write_text(study_text(latency, workers), encoding="utf-8")
    return palpate("run", study, "--out", out, "--quiet")


def end(process: Popen[str], how: int = signal.SIGKILL, group: bool = True) -> tuple[int, str]:
    if group:
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def finish(folder: Path, out: Path, kept: Rows, whole: tuple[Rows, bytes]) -> None:
    """Run to the end: what was kept is there still, and all is as if nobody had interrupted."""
    with start(folder, out, latency=0.0) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    rows = answers(out)
    assert kept <= rows
    assert rows == whole[0]
    assert (out / "estimates.json").read_bytes() == whole[1]
    assert (out / "report.html").stat().st_size > 1000
    assert not [p.name for p in out.iterdir() if p.name.endswith((".new", "-wal", "-shm"))]


def test_killed_at_every_stage_in_one_folder(folder: Path, tmp_path: Path, whole: tuple[Rows, bytes]) -> None:
    out, kept, landed = tmp_path / "run", set[tuple[str, int, str, str]](), []
    for name, reached in MOMENTS.items():
        with start(folder, out) as process:
            while process.poll() is None and not reached(out):
                time.sleep(0.002)
            if process.poll() is None:
                code, _ = end(process)
                assert code == -signal.SIGKILL
                landed.append(name)
        now = answers(out)
        assert kept <= now <= whole[0]
        kept = now
    assert len(landed) >= 8, landed
    finish(folder, out, kept, whole)
    survived("stages", len(landed))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("group", [True, False])
def test_stopped_by_hand(folder: Path, tmp_path: Path, whole: tuple[Rows, bytes], workers: int, group: bool) -> None:
    """Ctrl-C reaches the whole group; ``kill -INT`` only the process itself."""
    out = tmp_path / "run"
    with start(folder, out, latency=0.01, workers=workers) as process:
        while process.poll() is None and not responses(40)(out):
            time.sleep(0.005)
        began = time.monotonic()
        code, errors = end(process, signal.SIGINT, group)
    assert code == 130, errors
    assert "what was answered is kept; the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert "leaked" not in errors
    assert time.monotonic() - began < 30
    kept = answers(out)
    assert 40 <= len(kept) < TRIALS
    finish(folder, out, kept, whole)
    survived("stopped", 1, part=f"workers {workers}, group {group}")


@pytest.fixture
def moments() -> random.Random:
    """Another sequence each time, told where a test fails."""
    seed = int(os.environ.get("PALPATE_TEST_SEED") or time.time())
    print(f"PALPATE_TEST_SEED={seed}")
    return random.Random(seed)


def wait_for_a_moment(process: Popen[str], out: Path, moments: random.Random) -> None:
    """Some time after the start, or when so many answers are there: on a busy machine time alone seldom gets so far."""
    enough = moments.randrange(TRIALS) if moments.random() < 0.7 else TRIALS + 1
    patience = moments.uniform(0.0, 4.0) if enough > TRIALS else 60.0
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < patience and count(out, "response") < enough:
        time.sleep(0.001 if enough > TRIALS else 0.004)
    time.sleep(moments.uniform(0.0, 0.02))


FEW = 3
CHUNK = 50
"""Kills of a long test: a few minutes."""
slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("workers", "kills", "chunk"),
    [(1, FEW, 0), *(pytest.param(workers, CHUNK, chunk, marks=slow) for workers in (1, 2) for chunk in (1, 2))],
)
def test_killed_at_random_moments(
    folder: Path, tmp_path: Path, whole: tuple[Rows, bytes], moments: random.Random, workers: int, kills: int, chunk: int
) -> None:
    killed, runs, kept = 0, 0, set[tuple[str, int, str, str]]()
    while killed < kills:
        out = tmp_path / f"run{runs}"
        with start(folder, out, latency=0.002, workers=workers) as process:
            wait_for_a_moment(process, out, moments)
            finished = process.poll() is not None
            if not finished:
                end(process)
                killed += 1
        now = answers(out)
        assert kept <= now <= whole[0]
        kept = now
        if finished or moments.random() < 0.05:
            finish(folder, out, kept, whole)
            runs, kept = runs + 1, set()
    finish(folder, out, kept, whole)
    survived("driver", killed, part=f"workers {workers}, {chunk}")


@pytest.mark.parametrize(("kills", "chunk"), [(FEW, 0), *(pytest.param(CHUNK, chunk, marks=slow) for chunk in (1, 2))])
def test_workers_killed_at_random_moments(
    folder: Path, tmp_path: Path, whole: tuple[Rows, bytes], moments: random.Random, kills: int, chunk: int
) -> None:
    """From the moment they start: while they load, while they answer with batches handed ahead, while they hand over what they
    answered. Another takes their place, and the run ends as if nobody had been killed."""
    killed, runs, landed = 0, 0, 0
    while killed < kills:
        out = tmp_path / f"run{runs}"
        runs += 1
        with start(folder, out, latency=0.01, workers=2) as process:
            for _ in range(min(3, kills - killed)):
                while process.poll() is None and not worker_pids(process.pid):
                    time.sleep(0.002)
                wait_for_a_moment(process, out, moments)
                pids = worker_pids(process.pid)
                if pids and process.poll() is None:
                    landed += count(out, "response") < TRIALS
                    with suppress(ProcessLookupError):
                        os.kill(moments.choice(pids), signal.SIGKILL)
                        killed += 1
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
        assert answers(out) == whole[0]
        assert (out / "estimates.json").read_bytes() == whole[1]
    assert landed >= kills // 2
    survived("worker", killed, part=str(chunk))


def worker_pids(driver: int) -> list[int]:
    """The worker processes of a run: its children but for Python's own resource tracker."""
    try:
        return [p.pid for p in psutil.Process(driver).children() if "spawn_main" in " ".join(p.cmdline())]
    except psutil.Error:
        return []
