"""pilot: what a run that was made already says of how answers will be: how alike they are, how long and dear each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from palpate.nouns import OUTCOME_CODE, Outcome, Panel
from palpate.stages.measure import panels
from palpate.stats.power import Alike, alike_in_clusters, alike_over_prompts
from palpate.stats.variance import balanced_prompt_variance
from palpate.store.ledger import Ledger
from palpate.study import Study

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer takes on average: tokens in and out, and seconds. None where the run did not record it."""

    tokens_in: float | None
    tokens_out: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Pilot:
    """``alike``: by task; '' over all of them. ``usage``: by (model, whether the question was closed)."""

    alike: Mapping[str, Alike]
    usage: Mapping[tuple[str, bool], Usage]


def pilot(study: Study, ledger: Ledger) -> Pilot:
    """What the run says. Raises RunError where it was not read."""
    shown = [p for p in panels(study, ledger) if p.perturbation.name == "none" and p.prompts and p.cases]
    found = {task: _of_task([p for p in shown if p.task == task], study) for task in dict.fromkeys(p.task for p in shown)}
    merged = {task: _filled([facts]) for task, facts in found.items()}
    return Pilot({**merged, "": _filled(list(found.values()))}, _usage(ledger))


def _of_task(shown: Sequence[Panel], study: Study) -> dict[str, float]:
    """Mean over models of each of Alike's fields that this task's answers tell of."""
    facts: dict[str, list[float]] = {f.name: [] for f in fields(Alike)}

    def note(name: str, value: float | None) -> None:
        if value is not None and np.isfinite(value):
            facts[name].append(float(value))

    right = {p.model: _right(p) for p in shown}
    for panel in shown:
        values, kept = right[panel.model]
        label, cluster = panel.label[kept], panel.cluster[kept]
        for k in (0, 1):
            mine = values[label == k]
            if len(mine):
                note("accuracy", mine.mean())
                note("agreement", alike_over_prompts(mine))
                note("icc", alike_in_clusters(mine.mean(axis=1), cluster[label == k]))
        if values.shape[1] > 1 and len(values) > 1:
            note("spread", max(0.0, balanced_prompt_variance(values)) ** 0.5)
    for pair in study.lineages:
        if pair.base in right and pair.tuned in right:
            (base, in_base), (tuned, in_tuned) = right[pair.base], right[pair.tuned]
            both = in_base & in_tuned
            change = tuned[both[in_tuned]] - base[both[in_base]]
            if len(change) > 1:
                note("discordance", (change**2).mean())
                note("agreement_of_difference", alike_over_prompts(change))
                note("icc_of_difference", alike_in_clusters(change.mean(axis=1), shown[0].cluster[both]))
    return {name: float(np.mean(values)) for name, values in facts.items() if values}


def _right(panel: Panel) -> tuple[Values, NDArray[np.bool_]]:
    """((kept cases, P of the first cell) right or not in the first repeat, which cases were read under all of them)."""
    cell = panel.prompts[0].cell if all(p.cell != "target" for p in panel.prompts) else "target"
    codes = panel.outcome[:, [p.cell == cell for p in panel.prompts], 0]
    kept = np.asarray((codes >= 0).all(axis=1))
    says = np.where(panel.label == 1, OUTCOME_CODE[Outcome.POSITIVE], OUTCOME_CODE[Outcome.NEGATIVE])[:, None]
    return (codes == says)[kept].astype(np.float64), kept


def _filled(found: Sequence[Mapping[str, float]]) -> Alike:
    """The means of what was found; what was not keeps its assumed value."""
    every = sorted({name for facts in found for name in facts})
    return Alike(**{name: float(np.mean([f[name] for f in found if name in f])) for name in every})


def _usage(ledger: Ledger) -> dict[tuple[str, bool], Usage]:
    rows = ledger._select(
        "SELECT m.name, json_extract(p.record, '$.form') IN ('yes-no', 'A-B', 'B-A'), avg(r.tokens_in), avg(r.tokens_out),"
        " avg(r.seconds) FROM response r JOIN model m ON m.id = r.model JOIN prompt p ON p.id = r.prompt"
        " WHERE r.status != 'error' GROUP BY 1, 2"
    )
    return {(model, bool(closed)): Usage(*means) for model, closed, *means in rows}
