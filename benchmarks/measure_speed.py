"""How long measuring takes, and how much memory: made-up tables the size of a demo and of a million readings, or a run's own.

python benchmarks/measure_speed.py [demo|million|one-task|RUN]   (each in a process of its own gives its own peak memory)

RUN: the folder of a run, such as runs/demo; then the time counts its panels too, from the ledger.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence

import numpy as np

from palpate.nouns import Form, Lineage, Panel, Perturbation, Polarity, Prompt
from palpate.parts import MeasureSettings
from palpate.registry import parts
from palpate.results import Results
from palpate.stages.measure import one_thread


def panels(models: int, tasks: int, cases: int, cells: Sequence[int], per_group: int = 2) -> list[Panel]:
    """Panels of models that are right in about 70 % and refuse in 5 %; ``cells``: prompts of each intent cell.

    Wordings are polarity × format × paraphrase, and of every case two facts are told: so all measures have work to do.
    """
    prompts = tuple(_prompt(c, k) for c, count in enumerate(cells) for k in range(count))
    found = []
    for task in range(tasks):
        label = np.arange(cases, dtype=np.int8) % 2
        cluster = np.arange(cases, dtype=np.int64) // per_group
        for model in range(models):
            rng = np.random.default_rng([task, model])
            shape = (cases, len(prompts), 1)
            right = rng.random(shape) < 0.7 + 0.2 * rng.standard_normal((cases, 1, 1))
            outcome = np.where(right == (label == 1)[:, None, None], 0, 1)
            outcome = np.where(rng.random(shape) < 0.05, 3, outcome).astype(np.int8)
            margin = rng.normal(label[:, None, None], 1, shape)
            found.append(
                Panel(
                    model=f"m{model}",
                    task=f"t{task}",
                    perturbation=Perturbation(),
                    prompts=prompts,
                    cases=tuple(f"c{i}" for i in range(cases)),
                    label=label,
                    cluster=cluster,
                    outcome=outcome,
                    margin=margin,
                    mass=np.full(shape, 0.9),
                    facts=_facts(cases, task),
                )
            )
    return found


def _prompt(cell: int, k: int) -> Prompt:
    polarity = Polarity.NEGATIVE if k % 2 else Polarity.POSITIVE
    form = (Form.YES_NO, Form.AB, Form.BA)[k // 2 % 3]
    options = None if form is Form.YES_NO else ("Yes", "No") if form is Form.AB else ("No", "Yes")
    factors = {"polarity": polarity.value, "paraphrase": str(k // 6)}
    asserted = polarity.flipped if form is Form.BA else polarity
    return Prompt(f"{cell}.{k}", f"{cell}.{k}?", form, asserted, f"cell{cell}", options, factors)


def _facts(cases: int, seed: int) -> dict[str, tuple[object, ...]]:
    rng = np.random.default_rng(seed)
    return {"size": tuple(map(float, rng.gamma(2, 5, cases))), "sex": tuple(map(str, rng.choice(["f", "m"], cases)))}


STUDIES = {
    "demo": lambda: panels(4, 4, 300, (8, 4)),  # 57,600 readings
    "million": lambda: panels(4, 4, 2600, (12, 12)),  # 998,400 readings in 16 panels
    "one-task": lambda: panels(1, 1, 41_700, (12, 12)),  # 1,000,800 readings in one panel
}


def _made(name: str) -> tuple[list[Panel], MeasureSettings]:
    lineages = Lineage("m0", "m1", "parent"), Lineage("m2", "m3", "parent")
    return STUDIES[name](), MeasureSettings(lineages=lineages, draws=2000)


def _of_run(folder: str) -> tuple[list[Panel], MeasureSettings]:
    """As ``stages.measure`` takes them."""
    run = Results.open(folder)
    study = run.study
    return list(run.panels), MeasureSettings(study.lineages, study.seed, study.level, study.draws, study.thresholds)


def main(names: Sequence[str]) -> None:
    """Print seconds per measure by the clock and of processor, and the process's peak memory so far."""
    for name in names:
        with one_thread():  # as in ``stages.measure``
            _timed(name)


def _timed(name: str) -> None:
    start, begun = time.perf_counter(), time.process_time()
    if name in STUDIES:
        table, settings = _made(name)
        start, begun = time.perf_counter(), time.process_time()  # making a table up is no part of measuring
    else:
        table, settings = _of_run(name)
    readings = sum(p.outcome.size for p in table)
    for module, measure in parts("measures").items():
        one = time.perf_counter(), time.process_time()
        count = sum(1 for _ in measure.measure(table, settings))
        seconds, processor = time.perf_counter() - one[0], time.process_time() - one[1]
        print(f"{name:9s} {module:15s} {count:6d} estimates {seconds:7.2f} s, {processor:7.2f} s of processor")
    whole = f"{time.perf_counter() - start:.2f} s, {time.process_time() - begun:.2f} s of processor"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name:9s} {readings} readings, {settings.draws} draws: {whole}, peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main(sys.argv[1:] or list(STUDIES))
