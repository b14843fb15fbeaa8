"""A run of ten million trials on two cores: how fast it goes through the ledger, and what it holds in memory.

Repeat: ``make bench-scale``, or ``python -m benchmarks.scale --trials 1000000 --at FOLDER``. Four scripted models, four tasks, 60
wordings on each of as many images as it takes; a stage is a process of its own, so its memory is its own. What a stage found is
printed, and kept in FOLDER/figures.json; a folder that holds a run already goes on with it: a run that was killed is resumed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from palpate import pipeline
from palpate.nouns import Response, Tally, Trial
from palpate.results import Results
from palpate.stages.measure import measure as measure_all
from palpate.stages.plan import plan
from palpate.stages.read import read as read_all
from palpate.store.folder import RunFolder
from palpate.store.ledger import Ledger
from palpate.study import Study

MODELS, TASKS, PROMPTS = 4, 4, 60
SIDE = 32  # pixels
Figures = dict[str, Any]


def images(trials: int) -> int:
    """Images a task needs for so many trials in all."""
    return -(-trials // (MODELS * TASKS * PROMPTS))


def prepare(folder: Path, trials: int) -> None:
    """Draw the images and write the study, where they are not there."""
    for task, i in ((t, i) for t in range(TASKS) for i in range(images(trials))):
        path = folder / f"images{task}" / ("pneumonia", "normal")[i % 2] / f"person{i // 4:06d}_{i}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng([task, i]).integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
            Image.fromarray(pixels).save(path, compress_level=0)
    wordings = ", ".join(f'{{ name = "w{i}", text = "Is there pneumonia? ({i})", form = "yes-no" }}' for i in range(PROMPTS - 12))
    options = "refusal_rate = 0.05\nerror_rate = 0.0001"
    models = [f'[[models]]\nname = "m{k}"\nkind = "scripted"\naccuracy = {0.7 + 0.05 * k:.2f}\n{options}' for k in range(MODELS)]
    tasks = [
        f'[[tasks]]\nname = "t{k}"\ntask = "pneumonia_cxr"\nwordings = [{wordings}]\n'
        f'source = {{ kind = "folder", path = "images{k}", group_regex = "(person\\\\d+)" }}'
        for k in range(TASKS)
    ]
    head = 'name = "scale"\nseed = 3\n[measure]\ndraws = 200\n[ask]\nattempts = 2\n[data]\ninspect = false'
    (folder / "study.toml").write_text("\n".join([head, *models, *tasks]), encoding="utf-8")


# ---------------------------------------------------------------- stages


def look_at_plan(study: Study, run: RunFolder) -> Figures:
    """Draw the cases, then name every trial of the plan: nothing of it is kept."""
    planned = plan(study)
    held = _peak()
    n, begun = 0, time.perf_counter()
    for model in study.models:
        n += sum(len(outline.keys) for outline in planned.outlines(model))
    return {"trials": n, "peak MB, cases drawn": held, "keys a second": n / (time.perf_counter() - begun)}


def ask(study: Study, run: RunFolder) -> Figures:
    """Ask everything that is open; rows a second are those of ``Ledger.append`` alone."""
    planned = plan(study)
    with _watching_appends() as appended:
        done = pipeline.ask(planned, run, _telling())
    parts = list(_parts(appended, max(len(appended) // 10, 1)))
    return {
        "trials": done.total,
        "asked": done.done - done.reused,
        "rows appended": sum(n for n, _, _ in appended),
        **{f"rows a {kind} second": _rate(appended, i) for i, kind in ((1, "wall"), (2, "processor"))},
        "rows a wall second, each tenth": [round(_rate(part, 1)) for part in parts],
        "ledger MB": run.ledger_path.stat().st_size / 2**20,
    }


def resume(study: Study, run: RunFolder) -> Figures:
    """Ask again where all is answered: the time until it is known that nothing is left."""
    from palpate.stages.ask import ask as ask_open

    planned = plan(study)
    executor = pipeline.executor_for(planned)
    with run.writing(study.name, study.to_toml()) as ledger:
        planned.write(ledger)
        clock = _Clock()
        done = ask_open(planned, ledger, executor)
        return {"reused": done.reused, **clock.told("scan")}


def read(study: Study, run: RunFolder) -> Figures:
    """Read every answer that is not read."""
    with run.writing(study.name, study.to_toml()) as ledger:
        return {"readings": read_all(study, ledger)}


def columns(study: Study, run: RunFolder) -> Figures:
    """Take the columns that measures need out of the ledger."""
    with run.ledger() as ledger:
        clock = _Clock()
        table = ledger.answers(study.reading_by(ledger))
        return {"answers": len(table.keys), **clock.told("columns")}


def measure(study: Study, run: RunFolder) -> Figures:
    """Every measure over everything."""
    with run.ledger() as ledger:
        estimates = measure_all(study, ledger)
    run.write_estimates(estimates)
    return {"estimates": len(estimates)}


def check(study: Study, run: RunFolder) -> Figures:
    """Every key recomputed, every seal compared."""
    from palpate.store.integrity import check_ledger

    return {"kinds of damage": len(check_ledger(run.ledger_path).damage)}


def report(study: Study, run: RunFolder) -> Figures:
    """Measure, and the report."""
    return {"MB": Results.open(run.path).report().stat().st_size / 2**20}


def export(study: Study, run: RunFolder) -> Figures:
    """All trials as Parquet, and two columns of them read back."""
    import pyarrow.dataset as ds

    clock = _Clock()
    ((path, rows),) = Results.open(run.path).export(["trials"], run.path / "export", partition=True)
    size = sum(part.stat().st_size for part in path.rglob("*.parquet")) / 2**20
    figures = {"rows": rows, **clock.told("write"), "MB": size}
    clock = _Clock()
    table = ds.dataset(path, partitioning="hive").to_table(columns=["model", "right"])
    return {**figures, "rows read": len(table), **clock.told("read two columns")}


STAGES: dict[str, Callable[[Study, RunFolder], Figures]] = {
    "plan": look_at_plan,
    "ask": ask,
    "read": read,
    "resume": resume,
    "columns": columns,
    "measure": measure,
    "export": export,
    "report": report,
    "check": check,
}
EXTRA = {"report", "check"}  # run where they are named


# ---------------------------------------------------------------- measuring


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _Clock:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def told(self, what: str) -> Figures:
        wall, processor = time.perf_counter() - self.wall, time.process_time() - self.processor
        return {f"{what}, wall s": wall, f"{what}, processor s": processor}


Appended = tuple[int, float, float]
"""Rows, and wall and processor seconds, of a call of ``Ledger.append``."""


@contextmanager
def _watching_appends() -> Iterator[list[Appended]]:
    found: list[Appended] = []
    append = Ledger.append

    def watched(self: Ledger, answered: Iterable[tuple[Trial, Response]]) -> None:
        rows = list(answered)
        wall, processor = time.perf_counter(), time.process_time()
        append(self, rows)
        found.append((len(rows), time.perf_counter() - wall, time.process_time() - processor))

    Ledger.append = watched  # type: ignore[method-assign]
    try:
        yield found
    finally:
        Ledger.append = append  # type: ignore[method-assign]


def _rate(appended: Sequence[Appended], kind: int) -> float:
    seconds = sum(one[kind] for one in appended)
    return sum(one[0] for one in appended) / seconds if seconds else 0.0


def _parts(found: Sequence[Appended], size: int) -> Iterator[Sequence[Appended]]:
    return (found[i : i + size] for i in range(0, len(found) - size + 1, size))


def _telling(every: int = 500_000) -> Callable[[Tally], None]:
    """Progress on stderr, now and then."""
    begun, last = time.perf_counter(), [0]

    def tell(tally: Tally) -> None:
        if tally.done - last[0] >= every:
            last[0] = tally.done
            print(f"{tally.done:,} of {tally.total:,} after {time.perf_counter() - begun:,.0f} s", file=sys.stderr, flush=True)

    return tell


def one(stage: str, folder: Path) -> Figures:
    """A stage's figures: its own, wall and processor seconds, and the most memory its process ever held."""
    study = Study.load(folder / "study.toml")
    clock = _Clock()
    found = STAGES[stage](study, RunFolder(folder / "run"))
    return {**found, **clock.told("all"), "peak MB": _peak()}


def run(folder: Path, trials: int, stages: Sequence[str]) -> dict[str, Figures]:
    """The figures of every stage; those already there are kept beside what is measured now."""
    prepare(folder, trials)
    kept = folder / "figures.json"
    figures: dict[str, Figures] = json.loads(kept.read_text()) if kept.exists() else {}
    for stage in stages:
        command = [sys.executable, "-m", "benchmarks.scale", "--one", stage, "--at", str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures[stage] = json.loads(done.stdout)
        kept.write_text(json.dumps(figures, indent=1) + "\n")
        for name, value in figures[stage].items():
            print(f"{stage:10} {name:32}", f"{value:16,.1f}" if isinstance(value, float | int) else value, flush=True)
    return figures


def main() -> None:
    """The command line."""
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("--trials", type=int, default=10_000_000)
    flags.add_argument("--at", type=Path, default=None, help="a folder to keep; else a temporary one")
    flags.add_argument("--stages", nargs="+", choices=STAGES, default=[s for s in STAGES if s not in EXTRA])
    flags.add_argument("--one", choices=STAGES, help=argparse.SUPPRESS)
    given = flags.parse_args()
    if given.one:
        print(json.dumps(one(given.one, given.at)))
        return
    with tempfile.TemporaryDirectory() as text:
        folder = given.at or Path(text)
        folder.mkdir(parents=True, exist_ok=True)
        run(folder, given.trials, given.stages)


if __name__ == "__main__":
    main()
