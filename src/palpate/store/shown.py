"""Answers and cases to be shown, by their row numbers in the ledger: a few at a time, each with every reading of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palpate.nouns import Outcome, Perturbation, Prompt, Reading, Status
from palpate.store.ledger import Ledger, prompt_from


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One attempt at one trial. ``text`` may be cut; ``length`` is what it has in all."""

    row: int
    key: str
    attempt: int
    model: str
    task: str
    case_row: int
    case: str
    perturbation_row: int
    perturbation: Perturbation
    prompt: Prompt
    repeat: int
    status: Status
    text: str
    length: int
    margin: float | None
    mass: float | None
    error: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class ShownCase:
    """One case as recorded: its image's digest, its label and group as they stand now, the facts to slice by."""

    row: int
    task: str
    name: str
    image: str
    label: int | None
    group: str
    facts: Mapping[str, Any]


def answers(ledger: Ledger, rows: Sequence[int], letters: int) -> list[ShownAnswer]:
    """Responses in the order given, each with at most so many letters of its text."""
    marks = ",".join("?" * len(rows))
    readings: dict[int, list[tuple[Any, ...]]] = {}
    for row, *reading in ledger._select(READINGS.format(marks=marks), tuple(rows)):
        readings.setdefault(row, []).append(tuple(reading))
    prompts: dict[str, Prompt] = {}
    found = {}
    for values in ledger._select(ANSWERS.format(marks=marks), (letters, *rows)):
        row, key, attempt, model, task, case_row, case, change_row, change, severity, record, repeat, status, *rest = values
        text, length, margin, mass, error = rest
        prompt = prompts.get(record) or prompts.setdefault(record, prompt_from(json.loads(record)))
        found[row] = ShownAnswer(
            *(row, key.hex(), attempt, model, task, case_row, case, change_row, Perturbation(change, severity), prompt, repeat),
            *(Status(status), text, length, margin, mass, error or ""),
            tuple(_reading(key.hex(), attempt, r) for r in readings.get(row, ())),
        )
    return [found[row] for row in rows if row in found]


def case(ledger: Ledger, row: int, label_row: int) -> ShownCase | None:
    """A case by its row number, with its label by that of its own; None where there is none."""
    found = next(ledger._select("SELECT task, name, image FROM case_ WHERE id = ?", (row,)), None)
    if found is None:
        return None
    last = next(ledger._select(LABEL, (label_row,)), None)
    label, group, facts = (last[0], last[1], json.loads(last[2])) if last else (None, "", {})
    task, name, image = found
    return ShownCase(row, task, name, image, label, group, facts)


def case_named(ledger: Ledger, name: str) -> int | None:
    """Row number of the case of that name, the first where several tasks have it; None where there is none."""
    found = next(ledger._select("SELECT id FROM case_ WHERE name = ? ORDER BY id", (name,)), None)
    return None if found is None else int(found[0])


def perturbation(ledger: Ledger, row: int) -> tuple[Perturbation, str] | None:
    """A perturbation and its digest by its row number; None where there is none."""
    found = next(ledger._select("SELECT name, severity, digest FROM perturbation WHERE id = ?", (row,)), None)
    return None if found is None else (Perturbation(found[0], found[1]), found[2])


def _reading(key: str, attempt: int, values: tuple[Any, ...]) -> Reading:
    by, outcome, low, high, rule = values
    return Reading(key, attempt, by, Outcome(outcome), None if low is None else (low, high), rule)


ANSWERS = (
    "SELECT r.id, r.key, r.attempt, m.name, c.task, c.id, c.name, v.id, v.name, v.severity, p.record, r.repeat, r.status,"
    " substr(r.text, 1, ?), length(r.text), r.margin, r.mass, r.error"
    " FROM response r JOIN model m ON m.id = r.model JOIN case_ c ON c.id = r.case_"
    " JOIN perturbation v ON v.id = r.perturbation JOIN prompt p ON p.id = r.prompt WHERE r.id IN ({marks})"
)
READINGS = "SELECT response, method, outcome, low, high, rule FROM reading WHERE response IN ({marks}) ORDER BY response, method"
LABEL = "SELECT label, grp, facts FROM label WHERE id = ?"
