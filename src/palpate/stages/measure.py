"""measure: Readings → Estimates. Needs no model, no image and no reading method: only the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate.errors import RunError, unknown_name
from palpate.nouns import Estimate, Panel, Perturbation, Prompt
from palpate.parts import Measure, MeasureSettings, ReadingMethod
from palpate.registry import part, parts
from palpate.store import keys
from palpate.store.ledger import AnswerTable, Ledger, prompt_from
from palpate.study import Study


def measure(study: Study, ledger: Ledger, names: Sequence[str] = ()) -> list[Estimate]:
    """Every estimate of the named measures (all of them where none is named), in a fixed order.

    A name may be a measure's or one of its estimates'. Raises UnknownName.
    """
    chosen, wanted = choose(names)
    settings = MeasureSettings(study.lineages, study.seed, study.level, study.draws)
    table = list(panels(study, ledger))
    found = [estimate for m in chosen for estimate in m.measure(table, settings)]
    return [e for e in found if not wanted or e.measure in wanted]


def panels(study: Study, ledger: Ledger) -> Iterator[Panel]:
    """One Panel per model × task × perturbation of the last plan, closed prompts only, errors and gaps as −1.

    Raises RunError where nothing was planned yet.
    """
    plan = ledger.plan()
    if plan is None:
        raise RunError("nothing was asked yet", where=str(ledger.path.parent), hint="`palpate run STUDY.toml --out RUN`")
    method: ReadingMethod = part("readings", study.reading)
    answers = ledger.answers(method.by)
    for task, asked in plan["tasks"].items():
        recorded = ledger.cases(task)
        cases = [(name, *recorded[name][:3]) for name in asked["cases"]]
        prompts = tuple(p for p in map(prompt_from, asked["prompts"]) if p.form.closed)
        for model, digest in plan["models"].items():
            for perturbation in plan["perturbations"]:
                yield _panel(model, digest, task, asked, cases, prompts, perturbation, plan["repeats"], answers)


def _panel(
    model: str,
    digest: str,
    task: str,
    asked: Mapping[str, Any],
    cases: Sequence[tuple[str, str, int, str]],
    prompts: tuple[Prompt, ...],
    perturbation: Mapping[str, Any],
    repeats: int,
    answers: AnswerTable,
) -> Panel:
    questions = [keys.prompt_digest(p) for p in prompts]
    # The position of every trial's answer in the table; the last place stands for "never asked".
    at = np.array(
        [
            answers.row.get(bytes.fromhex(keys.trial_key(digest, image, perturbation["digest"], question, repeat)), -1)
            for _, image, _, _ in cases
            for question in questions
            for repeat in range(repeats)
        ],
        dtype=np.int64,
    ).reshape(len(cases), len(prompts), repeats)
    clusters: dict[str, int] = {}
    return Panel(
        model=model,
        task=task,
        perturbation=Perturbation(perturbation["name"], perturbation["severity"]),
        prompts=prompts,
        cases=tuple(name for name, _, _, _ in cases),
        label=np.array([label for _, _, label, _ in cases], dtype=np.int8),
        cluster=np.array([clusters.setdefault(group, len(clusters)) for _, _, _, group in cases], dtype=np.int64),
        outcome=_taken(answers.outcome, at, -1),
        margin=_taken(answers.margin, at, np.nan),
        mass=_taken(answers.mass, at, np.nan),
        n_errors=int(_taken(answers.error, at, False).sum()),
        best_accuracy=asked["best_accuracy"],
    )


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
