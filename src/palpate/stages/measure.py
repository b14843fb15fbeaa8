"""measure: Readings → Estimates. Needs no model, no image and no reading method: only the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate.errors import unknown_name
from palpate.nouns import OUTCOME_CODE, Estimate, Panel, Perturbation
from palpate.parts import Measure, MeasureSettings
from palpate.registry import parts
from palpate.stages.described import Described
from palpate.store.columns import AnswerTable
from palpate.store.ledger import Ledger
from palpate.store.people import People
from palpate.store.planned import Planned, PlannedCase, none_read
from palpate.store.probes import ProbeStore
from palpate.study import Study


def measure(study: Study, ledger: Ledger, names: Sequence[str] = ()) -> list[Estimate]:
    """Every estimate of the named measures (all of them where none is named), in a fixed order.

    A name may be a measure's or one of its estimates'. Raises UnknownName.
    """
    chosen, wanted = choose(names)
    settings = MeasureSettings(study.lineages, study.seed, study.level, study.draws, study.thresholds)
    with one_thread():
        table = list(panels(study, ledger))
        found = [estimate for m in chosen for estimate in m.measure(table, settings)]
    return [e for e in found if not wanted or e.measure in wanted]


def one_thread() -> AbstractContextManager[object]:
    """Linear algebra on one thread. The products of a measure are many and small: threads wait for one another longer than they
    work, on a busy machine many times as long. As it is where threadpoolctl is not there; it comes with scikit-learn."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def panels(study: Study, ledger: Ledger, *, read_by: str = "") -> Iterator[Panel]:
    """One Panel per task × model × perturbation of the last plan, closed prompts only, errors and gaps as −1.

    ``read_by``: which readings, the study's where none is named. Raises RunError where nothing was planned yet, or nothing
    was read.
    """
    planned = Planned(ledger)
    by = read_by or study.reading_by(ledger)
    answers = ledger.answers(by)
    if (~answers.error).any() and not (answers.outcome >= 0).any():
        raise none_read(ledger, by)
    beside = _beside(study, ledger, answers) if not read_by else _Beside()
    probes, described = ProbeStore(ledger.path.parent), Described(study, ledger, planned)
    for task in planned.tasks:
        for model in planned.models:
            for perturbation in planned.perturbations:
                panel = _panel(planned, task, model, perturbation, answers, beside)
                if perturbation.name == "none":
                    panel = replace(panel, rungs=probes.rungs(panel, study.seed), descriptions=described.of(panel))
                yield panel


@dataclass(frozen=True)
class _Beside:
    """What stands beside the primary reading, as columns of its table: what people read (None: nobody did), and other readings."""

    reading: str = "rules"
    human: NDArray[np.int8] | None = None
    others: Mapping[str, NDArray[np.int8]] = field(default_factory=dict)


def _beside(study: Study, ledger: Ledger, answers: AnswerTable) -> _Beside:
    people = People(ledger).by_key()
    if not people:  # other readings are measured against people, and against nothing else
        return _Beside(study.reading)
    human = np.full(len(answers.outcome), -1, dtype=np.int8)
    human[answers.places(people)] = [OUTCOME_CODE[outcome] for outcome in people.values()]
    others = {}
    for spec in study.all_readings[1:]:
        # Of the same responses, so in the same order.
        others[spec.name] = ledger.answers(study.reading_by(ledger, spec.name)).outcome
    return _Beside(study.reading, human, others)


def _panel(planned: Planned, task: str, model: str, perturbation: Perturbation, answers: AnswerTable, beside: _Beside) -> Panel:
    cases = planned.cases(task)
    prompts = tuple(p for p in planned.prompts(task) if p.form.closed)
    shape = (len(cases), len(prompts), planned.repeats)
    # Where each trial's answer stands in the table; −1, the place after the last, means "never asked".
    at = answers.places(planned.keys(task, model, perturbation, prompts)).reshape(shape)
    clusters: dict[str, int] = {}
    return Panel(
        model=model,
        task=task,
        perturbation=perturbation,
        prompts=prompts,
        cases=tuple(c.name for c in cases),
        label=np.array([c.label for c in cases], dtype=np.int8),
        cluster=np.array([clusters.setdefault(c.group, len(clusters)) for c in cases], dtype=np.int64),
        outcome=_taken(answers.outcome, at, -1),
        margin=_taken(answers.margin, at, np.nan),
        mass=_taken(answers.mass, at, np.nan),
        n_errors=int(_taken(answers.error, at, False).sum()),
        best_accuracy=planned.best_accuracy(task),
        reading=beside.reading,
        human=None if beside.human is None else _taken(beside.human, at, -1),
        others={name: _taken(column, at, -1) for name, column in beside.others.items()},
        facts=_facts(cases),
    )


def _facts(cases: Sequence[PlannedCase]) -> dict[str, tuple[Any, ...]]:
    """Name → its value for each case, None where a case has none; names in a fixed order."""
    names = sorted({name for case in cases for name in case.facts})
    return {name: tuple(case.facts.get(name) for case in cases) for name in names}


def _taken(column: NDArray[Any], at: NDArray[np.int64], absent: Any) -> NDArray[Any]:
    """The column's values at ``at``, and ``absent`` where that is −1."""
    return np.append(column, np.array([absent], dtype=column.dtype))[at]


def choose(names: Sequence[str]) -> tuple[list[Measure], set[str]]:
    """The measures to run, and the names of the estimates to keep (none: all). Raises UnknownName."""
    known: Mapping[str, Measure] = parts("measures")
    by_estimate = {estimate: m for m in known.values() for estimate in m.estimates}
    if not names:
        return list(known.values()), set()
    chosen: dict[str, Measure] = {}
    wanted: set[str] = set()
    for name in names:
        if name not in known and name not in by_estimate:
            raise unknown_name(name, {*known, *by_estimate}, noun="measure")
        found = known.get(name) or by_estimate[name]
        chosen[found.name] = found
        wanted |= set(found.estimates) if name in known else {name}
    return list(chosen.values()), wanted
