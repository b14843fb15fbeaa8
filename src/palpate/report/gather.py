"""Gathers a ReportView from a run's ledger: cards, counts, and the cases worth looking at."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate import __version__
from palpate.nouns import OUTCOME_CODE, Case, ConditionResult, Estimate, Lineage, Outcome, Panel, Status
from palpate.registry import parts
from palpate.report import words
from palpate.report.view import Counts, Example, ExampleAnswer, ModelCard, ReportView, TaskCard
from palpate.spending import Cost
from palpate.stats.calibration import logistic
from palpate.store.columns import STATUS_CODE, AnswerTable
from palpate.store.ledger import Ledger
from palpate.store.pictures import Picture, PictureStore
from palpate.store.planned import Planned
from palpate.study import Study, model_presets
from palpate.task import Task

LARGEST_SIDE = 320  # pixels of an example image: enough to see, small enough to keep a report light

Images = Mapping[str, Mapping[str, Case]]


def gather(
    study: Study,
    ledger: Ledger,
    estimates: Sequence[Estimate],
    panels: Sequence[Panel],
    conditions: Sequence[ConditionResult],
    images: Images,
    costs: Sequence[Cost] = (),
) -> ReportView:
    """Everything a report of this run shows. ``images``: task → case id → case, for the tasks whose pixels may be shown."""
    planned = Planned(ledger)
    sessions = ledger.sessions()
    last = dict(sessions[-1]) if sessions else {}
    return ReportView(
        study_name=study.name,
        study_toml=study.to_toml(),
        created=last.pop("started", ""),
        palpate_version=__version__,
        models=_model_cards(study, ledger),
        tasks=tuple(_task_card(task, planned) for task in study.tasks if task.name in planned.tasks),
        prompts={task.name: task.prompts for task in study.tasks},
        lineages=study.lineages,
        estimates=tuple(estimates),
        counts=_counts(planned, ledger.answers(study.reading_by(ledger))),
        conditions=tuple(conditions),
        examples=tuple(_examples(study, ledger, planned, panels, images)),
        definitions={name: text for measure in parts("measures").values() for name, text in measure.estimates.items()},
        environment=last | {f"asked of {c.model}": words.spent(c) for c in costs},
        seconds=ledger.seconds(),
        costs=tuple(costs),
        thresholds=study.thresholds,
        pictures=tuple(_pictures(study, ledger, panels)),
    )


def _model_cards(study: Study, ledger: Ledger) -> tuple[ModelCard, ...]:
    about = {name: str(preset.get("about", "")) for _, name, preset in model_presets()}
    recorded = ledger.models()
    empty: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    return tuple(
        ModelCard(m.name, *recorded.get(m.name, empty), lineage=_lineage(m.name, study.lineages), about=about.get(m.name, ""))
        for m in study.models
    )


def _lineage(model: str, lineages: Sequence[Lineage]) -> str:
    words = {"parent": "further trained from", "sibling": "sibling of", "unrelated": "compared with, though unrelated to"}
    return "; ".join(f"{words.get(pair.relation, 'compared with')} {pair.base}" for pair in lineages if pair.tuned == model)


def _task_card(task: Task, planned: Planned) -> TaskCard:
    cases = planned.cases(task.name)
    positive = sum(case.label for case in cases)
    return TaskCard(
        name=task.name,
        title=task.title,
        modality=task.modality,
        condition=task.condition,
        difficulty=task.difficulty,
        n_cases=len(cases),
        n_positive=positive,
        n_negative=len(cases) - positive,
        n_groups=len({case.group for case in cases}),
        n_left_out=planned.n_left_out(task.name),
        best_accuracy=planned.best_accuracy(task.name),
        cautions=task.cautions,
        licence=task.licence,
        citation=task.citation,
    )


def _counts(planned: Planned, answers: AnswerTable) -> Counts:
    status = np.zeros(len(STATUS_CODE), dtype=np.int64)
    causes = np.zeros(len(answers.causes), dtype=np.int64)
    asked = 0
    for task, model, perturbation in product(planned.tasks, planned.models, planned.perturbations):
        at = answers.places(planned.keys(task, model, perturbation, planned.asked(task, perturbation)))
        asked += len(at)
        at = at[at >= 0]
        status += np.bincount(answers.status[at], minlength=len(status))
        failed = answers.cause[at]
        causes += np.bincount(failed[failed >= 0], minlength=len(causes))
    ok, truncated, blocked = (int(status[STATUS_CODE[s]]) for s in (Status.OK, Status.TRUNCATED, Status.BLOCKED))
    found = {cause: int(n) for cause, n in zip(answers.causes, causes, strict=True) if n}
    return Counts(asked, ok, truncated, blocked, dict(Counter(found).most_common()))


def _pictures(study: Study, ledger: Ledger, panels: Sequence[Panel]) -> Iterator[Picture]:
    kinds = study.features.pictures if study.features is not None else ()
    store = PictureStore(ledger.path.parent)
    for panel in panels if kinds else ():
        if panel.perturbation.name == "none":
            yield from store.pictures(panel, kinds, study.seed)


def _examples(study: Study, ledger: Ledger, planned: Planned, panels: Sequence[Panel], images: Images) -> Iterator[Example]:
    """Per task, in turn: the case whose answers depend most on the wording, the most confidently wrong, the most often right."""
    by = study.reading_by(ledger)
    for task in planned.tasks:
        shown = [p for p in panels if p.task == task and p.perturbation.name == "none"]
        if not shown or not shown[0].prompts:
            continue
        for at, why in _worth_seeing(shown, study.report.examples):
            case = planned.cases(task)[at]
            answers = tuple(_answers(ledger, planned, shown, at, by))
            picture = images.get(task, {}).get(case.name)
            yield Example(task, case.name, case.label, why, answers, _png(picture) if picture else None)


def _worth_seeing(panels: Sequence[Panel], count: int) -> list[tuple[int, str]]:
    """(case, why it is shown), ``count`` different cases; ties go to the first."""
    codes = np.concatenate([p.outcome[:, :, 0] for p in panels], axis=1)
    read = (codes >= 0).sum(axis=1)  # an error is no answer: neither wrong nor another opinion
    asserted, denied = codes == OUTCOME_CODE[Outcome.POSITIVE], codes == OUTCOME_CODE[Outcome.NEGATIVE]
    label = panels[0].label[:, None] == 1
    right = np.where(label, asserted, denied).sum(axis=1) / np.where(read > 0, read, np.nan)  # never read: last in either order
    flips = np.mean([_flips(p.outcome[:, :, 0]) for p in panels], axis=0)
    orders = (
        (np.argsort(-flips, kind="stable"), "answers depend most on the wording"),
        _most_wrong(panels, right),
        (np.argsort(-right, kind="stable"), "most often answered rightly"),
    )
    chosen: dict[int, str] = {}
    for rank in range(len(right)):
        for order, why in orders:
            if len(chosen) < count:
                chosen.setdefault(int(order[rank]), why)
    return list(chosen.items())


def _most_wrong(panels: Sequence[Panel], right: NDArray[np.float64]) -> tuple[NDArray[np.int64], str]:
    """The cases by how likely the wrong answer is to models that give probabilities; where none does, by how often it is wrong."""
    margin = np.concatenate([p.margin[:, :, 0] for p in panels], axis=1)
    given = np.isfinite(margin)
    if not given.any():
        return np.argsort(right, kind="stable"), "most often answered wrongly"
    sign = np.where(panels[0].label == 1, 1.0, -1.0)[:, None]
    wrong = logistic(np.where(given, -sign * margin, 0.0))
    likely = np.where(given, wrong, 0.0).sum(axis=1) / np.maximum(given.sum(axis=1), 1)
    return np.argsort(-likely, kind="stable"), "most confidently wrong"


def _flips(codes: NDArray[np.int8]) -> NDArray[np.float64]:
    """(n,) share of pairs of prompts, both read, whose outcomes differ, of (n, P) codes; 0 where fewer than two were read."""
    valid = codes >= 0
    both = valid[:, :, None] & valid[:, None, :]
    differ = ((codes[:, :, None] != codes[:, None, :]) & both).sum(axis=(1, 2))
    pairs = both.sum(axis=(1, 2)) - valid.sum(axis=1)
    return np.asarray(differ / np.maximum(pairs, 1), dtype=np.float64)


def _answers(ledger: Ledger, planned: Planned, panels: Sequence[Panel], at: int, by: str) -> Iterator[ExampleAnswer]:
    for panel in panels:
        keys = planned.keys(panel.task, panel.model, panel.perturbation, panel.prompts, slice(at, at + 1))
        for prompt, first in zip(panel.prompts, islice(keys, 0, None, planned.repeats), strict=True):
            key = first.hex()
            responses = ledger.responses(key)
            if not responses:
                continue
            last = responses[-1]
            reading = next((r for r in ledger.readings(key) if r.attempt == last.attempt and r.by == by), None)
            words = last.answer.text if last.answer.status is not Status.ERROR else f"(no answer: {last.answer.error})"
            outcome, span = (reading.outcome, reading.span) if reading else (None, None)
            yield ExampleAnswer(panel.model, prompt.name, prompt.text, words, outcome, span, last.answer.margin)


def _png(case: Case) -> bytes | None:
    """The case's image, made small; None where it cannot be opened any more."""
    try:
        image = case.image.open()
    except (OSError, ValueError):
        return None
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
