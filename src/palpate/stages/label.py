"""label: a sample of answers → people's readings of them. Needs no model and no image; shows nobody what a machine read."""

from __future__ import annotations

import hashlib
import math
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palpate.errors import RunError
from palpate.nouns import Form, Outcome, Polarity, Prompt
from palpate.store import keys
from palpate.store.ledger import Ledger, prompt_from
from palpate.store.people import People
from palpate.store.planned import Planned, none_read
from palpate.study import Study

ALIAS = re.compile(r"[\w.-]{1,32}")
AT_LEAST = 5  # answers of a stratum, where it has so many

CHOICES: tuple[tuple[str, Outcome, str], ...] = (
    ("p", Outcome.POSITIVE, "says that the condition is present"),
    ("n", Outcome.NEGATIVE, "says that the condition is absent"),
    ("h", Outcome.HEDGE, "says both, or commits to neither"),
    ("r", Outcome.REFUSE_POLICY, "will not answer, or leaves it to a doctor"),
    ("c", Outcome.REFUSE_CAPABILITY, "says that it cannot see the image or cannot tell"),
    ("u", Outcome.UNPARSED, "says nothing about the condition, or cannot be read"),
    ("o", Outcome.OFF_TOPIC, "is degenerate, or about something else"),
)
"""(key, outcome, what the answer does): what a person chooses among."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One answer to be read by a person, and the responses it stands for (the same text to the same question).

    ``stratum`` is model, form and what the primary reading made of it: for the ledger, never shown.
    """

    rows: tuple[int, ...]
    stratum: str
    condition: str
    prompt: Prompt
    text: str


def draw(study: Study, ledger: Ledger, count: int) -> list[Drawn]:
    """``count`` answers of the last plan, stratified by model × form × primary reading, in an order that shows none of these.

    The sample depends on the study's seed alone: it is the same for every person and every day, and a larger one holds a smaller
    one of the same strata. Closed questions only. Raises RunError where nothing was read.
    """
    by = study.reading_by(ledger)
    strata = _strata(study, ledger, by)
    if not strata:
        raise none_read(ledger, by)
    taken: dict[int, str] = {}
    for stratum, size in allocation({s: len(rows) for s, (_, rows) in strata.items()}, count).items():
        ranks, rows = (np.frombuffer(held, held.typecode) for held in strata[stratum])
        taken.update((int(row), stratum) for row in rows[np.lexsort((rows, ranks))[:size]])
    return _shown(study, ledger, taken)


def allocation(sizes: dict[str, int], count: int) -> dict[str, int]:
    """How many of each stratum: in proportion to the root of its size (so that rare verdicts are seen too), a few at the least."""
    left = min(count, sum(sizes.values()))
    given = dict.fromkeys(sizes, 0)
    roots = {s: math.sqrt(n) for s, n in sizes.items()}
    for s in sorted(sizes, key=lambda s: (sizes[s], s)):
        given[s] = min(sizes[s], AT_LEAST, left)
        left -= given[s]
    while left:
        open_ = [s for s in sizes if given[s] < sizes[s]]
        s = max(open_, key=lambda s: (roots[s] / (given[s] + 1), s))
        given[s] += 1
        left -= 1
    return given


def record(ledger: Ledger, annotator: str, drawn: Drawn, outcome: Outcome) -> None:
    """Keep a person's reading, for every response that the answer stands for."""
    People(ledger).append([(row, annotator, outcome, drawn.stratum) for row in drawn.rows])


def waiting(drawn: Sequence[Drawn], ledger: Ledger, annotator: str) -> list[Drawn]:
    """What this person has not read yet."""
    done = People(ledger).by_row(annotator)
    return [d for d in drawn if any(row not in done for row in d.rows)]


def check_alias(alias: str) -> str:
    """The alias, as it goes into the ledger. Raises RunError for what is none."""
    if not ALIAS.fullmatch(alias):
        raise RunError(
            f"{alias!r} is no alias", where="--as", expected="1 to 32 letters, digits, dots and dashes; no name of a person"
        )
    return alias


def means(prompt: Prompt) -> str:
    """What the answers that a closed question offers say about the condition, for the person who reads."""
    first, second = ("present", "absent") if prompt.polarity is Polarity.POSITIVE else ("absent", "present")
    if prompt.form is Form.YES_NO:
        return f"“Yes” says that the condition is {first}, “no” that it is {second}."
    a, b = (f" ({o})" for o in prompt.options) if prompt.options else ("", "")
    return f"A{a} says that the condition is {first}, B{b} that it is {second}."


def _strata(study: Study, ledger: Ledger, by: str) -> dict[str, tuple[array[int], array[int]]]:
    """Stratum → ranks and rows of its answers: of every trial of the plan that was read the last attempt, closed questions only.

    Held are 16 bytes an answer and the plan's keys: of a million, some 150 MB.
    """
    planned = Planned(ledger)
    models = {digest: name for name, digest in planned.models.items()}
    waiting = set(planned.all_keys())
    strata: dict[str, tuple[array[int], array[int]]] = {}
    for row, key, model, form, outcome in People(ledger).read_answers(by):
        if key not in waiting:  # of another plan, or an earlier attempt
            continue
        waiting.discard(key)
        if Form(form).closed:
            ranks, rows = strata.setdefault(f"{models.get(model, model)} | {form} | {outcome}", (array("Q"), array("q")))
            ranks.append(int.from_bytes(_rank(study.seed, key), "big"))
            rows.append(row)
    return strata


def _shown(study: Study, ledger: Ledger, taken: dict[int, str]) -> list[Drawn]:
    """One entry per text and question, in an order of its own."""
    conditions = {task.name: task.condition for task in study.tasks}
    by_question = {keys.prompt_digest(p): task.condition for task in study.tasks for p in task.prompts}
    groups: dict[tuple[str, str, str], list[int]] = {}
    asked: dict[tuple[str, str, str], tuple[Prompt, str, str]] = {}
    for row, task, record_, text in People(ledger).texts_of(sorted(taken)):
        prompt = prompt_from(record_)
        question = keys.prompt_digest(prompt)
        place = (question, text, taken[row])
        groups.setdefault(place, []).append(row)
        asked[place] = (prompt, text, conditions.get(task) or by_question.get(question, task))
    found = [Drawn(tuple(rows), place[2], asked[place][2], *asked[place][:2]) for place, rows in groups.items()]
    return sorted(found, key=lambda d: _rank(study.seed, repr((d.prompt.text, d.text)).encode("utf-8", "replace")))


def _rank(seed: int, what: bytes) -> bytes:
    return hashlib.blake2b(what, digest_size=8, key=str(seed).encode()).digest()
