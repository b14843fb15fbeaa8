"""How long the pages of ``palpate view`` take over a run of a million answers, and what the server holds in memory.

Repeat: ``OMP_NUM_THREADS=1 python -m benchmarks.view_pages [ANSWERS]``. The ledger is made by raw inserts (2 models × cases ×
12 wordings × 2 perturbations, each read once, 200 read by a person too); the pages are fetched over HTTP from the real server
in a process of its own, each five times, the first visit included: the slowest counts. Processor time is what the process used,
client and server together; wall time is that and whatever else the machine was doing. Some 0.4 GB of disk.
"""

from __future__ import annotations

import http.client
import json
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palpate.nouns import OUTCOMES, Case, Outcome
from palpate.results import Results, methods
from palpate.serve.local import LocalServer
from palpate.serve.view import ViewPage
from palpate.store import keys
from palpate.store.folder import RunFolder
from palpate.study import Study

ANSWERS = 1_000_000
TIMES = 5
MODELS = ("base", "tuned")
STUDY = """
name = "large"
prompts = "reference"
perturbations = ["none", "blank"]
[[models]]
name = "base"
kind = "scripted"
[[models]]
name = "tuned"
kind = "scripted"
[[tasks]]
name = "pneumonia_cxr"
source = { kind = "folder", path = "images" }
"""
TEXTS = {
    Outcome.POSITIVE: "Yes, there is a consolidation in the right lower lobe that is consistent with pneumonia.",
    Outcome.NEGATIVE: "No, the lungs are clear and there is no sign of pneumonia.",
}
PAGES = {
    "all answers": "/",
    "newest first": "/?order=newest",
    "in the middle": "/?after={middle}",
    "before the middle": "/?before={middle}",
    "one model, wrong": "/?model=tuned&outcome=wrong",
    "rare outcome, absent, one perturbation": "/?outcome=off-topic&label=0&perturbation=blank&model=base",
    "one factor": "/?factor={factor}",
    "other words, opposite answer": "/?flips=1&order=newest",
    "readings disagree": "/?disagree=1",
    "everything at once": "/?model=base&task=pneumonia_cxr&label=1&form=yes-no&perturbation=none&status=ok&flips=1&outcome=wrong",
    "nothing is like that": "/?model=base&outcome=hedge&disagree=1&status=blocked",
    "a case": "/case?id={case}",
    "a case, two models": "/case?id={case}&a=base&b=tuned&perturbation=2",
    "who reads answers": "/label",
}


def make(folder: Path, answers: int) -> None:
    """A run folder with so many answers, cases as needed. The wording, not the model, decides many of them."""
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    study = Study.load(folder / "study.toml", with_models=False)
    run = RunFolder(folder / "run")
    task = study.tasks[0]
    prompts = list(task.prompts)
    n_cases = -(-answers // (len(MODELS) * len(prompts) * len(study.perturbations)))
    with run.writing(study.name, study.to_toml()) as ledger:
        for name in MODELS:
            ledger.add_model(name, {"name": name}, {})
        cases = [Case(f"case-{i:06d}", i % 2, f"patient-{i // 2}", f"digest-{i}", None) for i in range(n_cases)]  # type: ignore[arg-type]
        ledger.add_cases(task.name, cases)
        ledger.add_prompts(task.name, prompts)
        for p in study.perturbations:
            ledger.add_perturbation(p, keys.perturbation_digest(p, 1, 0))
        by = methods(study, ledger)[0]
    _insert(run.ledger_path, by, n_cases, len(prompts), answers)


def _insert(path: Path, by: str, n_cases: int, n_prompts: int, answers: int) -> None:
    chance = random.Random(1)
    weights = [40, 45, 5, 3, 4, 2.5, 0.5]

    def rows() -> Iterator[tuple[Any, ...]]:
        row = 0
        for model in (1, 2):
            for case in range(1, n_cases + 1):
                for change in (1, 2):
                    for prompt in range(1, n_prompts + 1):
                        row += 1
                        if row > answers:
                            return
                        (outcome,) = chance.choices(OUTCOMES, weights)
                        key = row.to_bytes(16, "big")
                        yield (
                            row,
                            key,
                            model,
                            case,
                            change,
                            prompt,
                            TEXTS.get(outcome, "It is hard to say."),
                            chance.gauss(0, 2),
                            outcome,
                        )

    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous=OFF")
    batch: list[tuple[Any, ...]] = []

    def write() -> None:
        db.executemany(
            "INSERT INTO response (id, key, attempt, model, case_, perturbation, prompt, repeat, status, text, margin, mass, seal)"
            " VALUES (?,?,1,?,?,?,?,0,'ok',?,?,0.9,zeroblob(16))",
            [r[:8] for r in batch],
        )
        db.executemany("INSERT INTO reading VALUES (?,?,?,0,3,'first-word')", [(r[0], by, r[8]) for r in batch])
        batch.clear()

    for made in rows():
        batch.append(made)
        if len(batch) == 50_000:
            write()
    write()
    step = max(1, answers // 200)
    people = [(row, "reader-1", "positive", "s") for row in range(1, answers + 1, step)]
    db.executemany("INSERT INTO human_reading (response, annotator, outcome, stratum) VALUES (?,?,?,?)", people)
    db.commit()
    db.close()


def visit(run: Path, answers: int) -> dict[str, float]:
    """Page → its slowest time, and what taking the ledger in took and the process held. In a process of its own."""
    start = time.perf_counter()
    page = ViewPage(Results.open(run))
    figures = {"taking the ledger in, s": time.perf_counter() - start}
    with RunFolder(run).ledger() as ledger:
        known = next(p for _, p in page._columns.prompts.values() if p.factors)
        assert ledger.plan() is None
    name, value = next(iter(known.factors.items()))
    asked = {"middle": answers // 2, "factor": f"{name}={value}", "case": answers // 200 + 1}
    with LocalServer(page) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        cookie = f"palpate-{server.port}={server.token}"
        for title, address in PAGES.items():
            walls, processors = zip(*(_fetch(server.port, address.format(**asked), cookie) for _ in range(TIMES)), strict=True)
            figures[f"{title}, processor ms"] = max(processors)
            figures[f"{title}, wall ms"] = max(walls)
        server.stop()
        thread.join(10)
    return figures | {"peak memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _fetch(port: int, address: str, cookie: str) -> tuple[float, float]:
    """(wall, processor) milliseconds of one page, those of asking for it included."""
    start, processor = time.perf_counter(), time.process_time()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", address, headers={"Cookie": cookie, "Host": f"127.0.0.1:{port}"})
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    if reply.status != 200 or b"</html>" not in body:
        raise SystemExit(f"{address}: {reply.status} {body[:200]!r}")
    return (time.perf_counter() - start) * 1000, (time.process_time() - processor) * 1000


def measure(answers: int = ANSWERS) -> dict[str, float]:
    """Figure → value."""
    with tempfile.TemporaryDirectory() as text:
        make(Path(text), answers)
        command = [sys.executable, "-m", "benchmarks.view_pages", "--visit", f"{text}/run", str(answers)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return {f"view, {answers:,} answers: {name}": value for name, value in found.items()}


if __name__ == "__main__":
    if "--visit" in sys.argv:
        print(json.dumps(visit(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        for name, value in measure(*map(int, sys.argv[1:2])).items():
            print(f"{name:78} {value:10.2f}")
