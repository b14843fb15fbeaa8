"""What answers can be chosen by, as columns in memory: taken from the ledger once, then kept up with it while a run writes.

Nothing is written: no index in the ledger, no file beside it. A million answers are some 30 MB of small integers; any combination
of conditions is a few comparisons of whole columns, its count is exact, and a page is cut out of the matching row numbers by the
row it begins after. What is then shown is read from the ledger by row number.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate.errors import unknown_name
from palpate.nouns import OUTCOME_CODE, OUTCOMES, Outcome, Perturbation, Prompt, Status
from palpate.store.ledger import Ledger, prompt_from

CHUNK = 20_000  # rows taken in at once: some 30 ms
DENSE = 1 << 26  # groups of answers that are kept track of by position rather than by sorting
STATUSES = tuple(Status)
PERSON = "person "
Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which answers: every condition given must hold; an empty one holds always.

    ``outcome`` is an Outcome as the primary reading has it, or ``right``, ``wrong``, ``unread``. ``factor`` is ``name=value``.
    ``flips``: the model gives, on this case under this perturbation, both definite answers to different wordings of one cell.
    ``disagree``: two of the study's readings, or a person, read this answer differently.
    """

    model: str = ""
    task: str = ""
    perturbation: str = ""
    form: str = ""
    cell: str = ""
    prompt: str = ""
    factor: str = ""
    status: str = ""
    outcome: str = ""
    label: str = ""
    flips: bool = False
    disagree: bool = False


CHOSEN_BY = tuple(f.name for f in fields(Wanted) if f.type == "str")
"""What answers are chosen by, flags apart."""


def wanted_from(given: Mapping[str, str], *, flips: bool = False, disagree: bool = False) -> Wanted:
    """``Wanted`` by names; raises UnknownName for a name that nothing is chosen by."""
    for name in given:
        if name not in CHOSEN_BY:
            raise unknown_name(name, CHOSEN_BY, noun="property", where="--where")
    return Wanted(**given, flips=flips, disagree=disagree)


@dataclass(frozen=True, slots=True)
class Page:
    """Row numbers of one page, in the order shown; where the pages before and after it begin (None: there is none); how many
    answers match in all, and how many come before this page."""

    rows: tuple[int, ...]
    total: int
    ahead: int
    after: int | None
    before: int | None


class _Column:
    """An array that grows at its end."""

    def __init__(self, kind: type[np.generic], fill: int = 0) -> None:
        self._held = np.full(1024, fill, kind)
        self._fill, self._n = fill, 0

    @property
    def values(self) -> NDArray[Any]:
        return self._held[: self._n]

    def grow(self, n: int) -> None:
        """Be ``n`` long at the least."""
        if n > len(self._held):
            fresh = np.full(max(n, len(self._held) * 3 // 2), self._fill, self._held.dtype)
            fresh[: self._n] = self.values
            self._held = fresh
        self._n = max(n, self._n)

    def extend(self, values: NDArray[Any]) -> None:
        start = self._n
        self.grow(start + len(values))
        self._held[start : self._n] = values


class Columns:
    """The answers of a ledger (all plans' ones, each trial by its last attempt), to choose among."""

    def __init__(self) -> None:
        self.rows = _Column(np.int64)  # row numbers, ascending
        self._codes = {name: _Column(np.int32) for name in ("model", "case_", "perturbation", "prompt")}
        self._repeated = False
        self._status, self._last = _Column(np.int8), _Column(np.bool_, 1)
        self._methods: tuple[str, ...] = ()
        self._read: dict[str, _Column] = {}  # reader → codes into OUTCOMES, −1 where it read nothing
        self._people_to = self._tail = 0
        self._cursor: int | None = None  # how far the present pass over all readings has come
        self._pending, self._state = True, (0, 0, 0, 0)
        self._flipped: Flags | None = None
        self.models: dict[int, str] = {}
        self.perturbations: dict[int, Perturbation] = {}
        self.prompts: dict[int, tuple[str, Prompt]] = {}  # row → (task, prompt)
        self.tasks: list[str] = []
        self._task_of, self._label_of = _Column(np.int16, -1), _Column(np.int8, -1)  # by row number of the case
        self._label_row, self._labels_to = _Column(np.int64), 0

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of the study's readings, the primary one first."""
        return self._methods

    # ------------------------------------------------------------ keeping up

    def catch_up(self, ledger: Ledger, methods: Sequence[str], *, seconds: float = inf) -> bool:
        """Take in what the ledger has and the columns have not, for about so long; False where something is left.

        ``methods`` are the names under which the study's readings are kept, the primary one first.
        """
        deadline = time.monotonic() + seconds
        if tuple(methods) != self._methods:
            self._methods = tuple(methods)
            people = {name: column for name, column in self._read.items() if name.startswith(PERSON)}
            self._read = {name: _Column(np.int8, -1) for name in self._methods} | people
            for column in self._read.values():
                column.grow(len(self.rows.values))
            self._pending, self._cursor, self._tail = True, None, 0
        state = _state(ledger.path)
        if state != self._state:
            self._state, self._pending = state, True
        elif not self._pending and self._cursor is None:
            return True
        self._flipped = None
        self._nouns(ledger)
        if not self._take_answers(ledger, deadline):
            return False
        self._take_people(ledger)
        return self._take_readings(ledger, deadline)

    def unread_after(self, row: int) -> int | None:
        """The first answer past ``row`` that the primary reading has not read, errors apart; None where there is none."""
        start = int(np.searchsorted(self.rows.values, row, side="right"))
        open_ = (self._primary[start:] < 0) & (self._status.values[start:] != STATUSES.index(Status.ERROR))
        at = int(open_.argmax()) if len(open_) else 0
        return int(self.rows.values[start + at]) if len(open_) and open_[at] else None

    def foretell(self, outcomes: Mapping[int, Outcome]) -> None:
        """Take these, by row number, for what the primary reading will read; what it does read takes their place."""
        at, there = self._at(np.array(list(outcomes), dtype=np.int64))
        codes = np.array([OUTCOME_CODE[outcome] for outcome in outcomes.values()], dtype=np.int8)
        self._primary[at[there]] = codes[there]
        self._flipped = None

    def _nouns(self, ledger: Ledger) -> None:
        self.models = dict(ledger._select("SELECT id, name FROM model ORDER BY id"))
        found = ledger._select("SELECT id, name, severity FROM perturbation ORDER BY id")
        self.perturbations = {row: Perturbation(name, severity) for row, name, severity in found}
        known = max(self.prompts, default=0)
        for row, task, record in ledger._select("SELECT id, task, record FROM prompt WHERE id > ? ORDER BY id", (known,)):
            self.prompts[row] = (task, prompt_from(json.loads(record)))
        cases = ledger._select("SELECT id, task FROM case_ WHERE id >= ?", (len(self._task_of.values),))
        for row, task in cases:
            if task not in self.tasks:
                self.tasks.append(task)
            self._task_of.grow(row + 1)
            self._task_of.values[row] = self.tasks.index(task)
        self._label_of.grow(len(self._task_of.values))
        self._label_row.grow(len(self._task_of.values))
        for row, case, label in ledger._select("SELECT id, case_, label FROM label WHERE id > ? ORDER BY id", (self._labels_to,)):
            if case >= len(self._label_of.values):  # of a case that was recorded a moment ago: the next call knows it
                break
            self._label_of.values[case], self._label_row.values[case], self._labels_to = label, row, row

    def _take_answers(self, ledger: Ledger, deadline: float) -> bool:
        while True:
            after = int(self.rows.values[-1]) if len(self.rows.values) else 0
            found = np.array(list(ledger._select(_ANSWERS, (after, CHUNK))), dtype=np.int64).reshape(-1, 8)
            if len(found):
                self.rows.extend(found[:, 0])
                for i, column in enumerate(self._codes.values()):
                    column.extend(found[:, i + 1])
                self._repeated = self._repeated or bool(found[:, 5].any())
                self._status.extend(found[:, 6])
                self._last.grow(len(self.rows.values))
                for column in self._read.values():
                    column.grow(len(self.rows.values))
                if (found[:, 7] > 1).any():
                    earlier = [row for (row,) in ledger._select(_EARLIER, (after, int(found[-1, 0])))]
                    at, there = self._at(np.array(earlier, dtype=np.int64))
                    self._last.values[at[there]] = False
            if len(found) < CHUNK:
                return True
            if time.monotonic() > deadline:
                return False

    def _take_people(self, ledger: Ledger) -> None:
        if not ledger.has_readers:
            return
        query = "SELECT id, response, annotator, outcome FROM human_reading WHERE id > ? ORDER BY id"
        for row, response, alias, outcome in ledger._select(query, (self._people_to,)):
            column = self._read.setdefault(PERSON + alias, _Column(np.int8, -1))
            column.grow(len(self.rows.values))
            at, there = self._at(np.array([response], dtype=np.int64))
            column.values[at[there]] = OUTCOME_CODE[outcome]
            self._people_to = row

    def _take_readings(self, ledger: Ledger, deadline: float) -> bool:
        """Readings are known by what they read, not by when: so the newest answers first, then a pass over all from the start."""
        self._tail = self._pass(ledger, self._tail, deadline)[0]
        while self._pending or self._cursor is not None:
            if self._cursor is None:
                self._cursor, self._pending = 0, False
            self._cursor, ended = self._pass(ledger, self._cursor, deadline)
            if not ended:
                return False
            self._cursor = None
        return True

    def _pass(self, ledger: Ledger, start: int, deadline: float) -> tuple[int, bool]:
        """Take in readings of responses from ``start`` on; returns how far that came and whether it reached the end."""
        query = _READINGS.format(method=" ".join(f"WHEN ? THEN {i}" for i in range(len(self._methods))))
        while True:
            found = np.array(list(ledger._select(query, (*self._methods, start, CHUNK))), dtype=np.int64).reshape(-1, 3)
            at, there = self._at(found[:, 0])
            for i, name in enumerate(self._methods):
                mine = there & (found[:, 1] == i)
                self._read[name].values[at[mine]] = found[mine, 2]
            if len(found):
                start = min(int(found[-1, 0]), int(self.rows.values[-1]) if len(self.rows.values) else 0)
            if len(found) < CHUNK:
                return start, True
            if time.monotonic() > deadline:
                return start, False

    def _at(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.intp], Flags]:
        """Where responses stand in the columns, and which of them are there."""
        at = np.searchsorted(self.rows.values, rows)
        there = at < len(self.rows.values)
        there[there] = self.rows.values[at[there]] == rows[there]
        return at, there

    # ------------------------------------------------------------ choosing

    def page(self, wanted: Wanted, size: int, *, after: int | None = None, before: int | None = None, newest: bool = False) -> Page:
        """The first ``size`` answers, or those ``after`` (or ``before``) a row number; the newest first where asked."""
        rows = self.rows.values[self._matching(wanted)]
        sign = -1 if newest else 1
        order = sign * (rows[::-1] if newest else rows)  # ascending either way
        if before is not None:
            end = int(np.searchsorted(order, sign * before))
            start = max(0, end - size)
        else:
            start = 0 if after is None else int(np.searchsorted(order, sign * after, side="right"))
        shown = tuple(int(row) for row in sign * order[start : start + size])
        more = start + size < len(rows)
        return Page(shown, len(rows), start, shown[-1] if more and shown else None, shown[0] if start and shown else None)

    def of_case(self, case: int, perturbation: int | None = None, models: Sequence[str] = ()) -> tuple[int, ...]:
        """Row numbers of all answers on a case, by its row number; under one perturbation or of some models where given."""
        mask = self._last.values & (self._codes["case_"].values == case)
        if perturbation is not None:
            mask &= self._codes["perturbation"].values == perturbation
        if models:
            mask &= self._among("model", self.models, lambda name: name in models)
        return tuple(int(row) for row in self.rows.values[mask])

    def perturbations_of(self, case: int) -> list[int]:
        """Row numbers of the perturbations under which a case was asked about."""
        mask = self._last.values & (self._codes["case_"].values == case)
        return [int(row) for row in np.unique(self._codes["perturbation"].values[mask])]

    def neighbours(self, case: int) -> tuple[int | None, int | None]:
        """The cases recorded before and after this one in its task."""
        same = np.flatnonzero(self._task_of.values == self._task_of.values[case])
        at = int(np.searchsorted(same, case))
        return (int(same[at - 1]) if at else None), (int(same[at + 1]) if at + 1 < len(same) else None)

    def label_row(self, case: int) -> int:
        """Row number of a case's label as last recorded; 0 where there is none."""
        return int(self._label_row.values[case]) if 0 <= case < len(self._label_row.values) else 0

    def label(self, case: int) -> int:
        """A case's label as last recorded."""
        return int(self._label_of.values[case])

    def people(self, row: int) -> dict[str, Outcome]:
        """What people read in an answer."""
        at, there = self._at(np.array([row]))
        read = {n: int(c.values[at[0]]) for n, c in self._read.items() if n.startswith(PERSON)} if there[0] else {}
        return {name: OUTCOMES[code] for name, code in read.items() if code >= 0}

    def _matching(self, wanted: Wanted) -> Flags:
        mask = self._last.values.copy()
        if wanted.model:
            mask &= self._among("model", self.models, lambda name: name == wanted.model)
        if wanted.perturbation:
            mask &= self._among("perturbation", self.perturbations, lambda p: str(p) == wanted.perturbation)
        if any((wanted.form, wanted.cell, wanted.prompt, wanted.factor)):
            mask &= self._among("prompt", self.prompts, lambda found: _asks(wanted, found[1]))
        if wanted.task:
            code = self.tasks.index(wanted.task) if wanted.task in self.tasks else -2
            mask &= (self._task_of.values == code)[self._codes["case_"].values]
        if wanted.label:
            mask &= (self._label_of.values == {"1": 1, "0": 0}.get(wanted.label, -2))[self._codes["case_"].values]
        if wanted.status:
            mask &= self._status.values == (STATUSES.index(Status(wanted.status)) if wanted.status in STATUSES else -2)
        if wanted.outcome:
            mask &= self._read_as(wanted.outcome)
        if wanted.disagree:
            mask &= self._disagree()
        if wanted.flips:
            mask &= self.flips()
        return mask

    def _among(self, column: str, known: dict[int, Any], holds: Callable[[Any], bool]) -> Flags:
        table = np.zeros(max(known, default=0) + 1, dtype=bool)
        for row, value in known.items():
            table[row] = holds(value)
        return np.asarray(table[self._codes[column].values])

    @property
    def _primary(self) -> NDArray[np.int8]:
        return self._read[self._methods[0]].values

    def _read_as(self, outcome: str) -> Flags:
        read = self._primary
        if outcome == "unread":
            return np.asarray((read < 0) & (self._status.values != STATUSES.index(Status.ERROR)))
        positive, negative = read == OUTCOME_CODE[Outcome.POSITIVE], read == OUTCOME_CODE[Outcome.NEGATIVE]
        if outcome in ("right", "wrong"):
            present = (self._label_of.values == 1)[self._codes["case_"].values]
            right = np.where(present, positive, negative)
            return np.asarray(right if outcome == "right" else (positive | negative) & ~right)
        return np.asarray(read == OUTCOME_CODE.get(outcome, -2))

    def _disagree(self) -> Flags:
        found = np.zeros(len(self.rows.values), dtype=bool)
        columns = [column.values for column in self._read.values()]
        for i, one in enumerate(columns):
            for other in columns[i + 1 :]:
                found |= (one >= 0) & (other >= 0) & (one != other)
        return found

    def flips(self) -> Flags:
        """Answers to whose question, asked in other words, the same model gave the opposite answer (see ``Wanted``)."""
        if self._flipped is None:
            self._flipped = self._find_flips()
        return self._flipped

    def _find_flips(self) -> Flags:
        cells = {cell: i for i, cell in enumerate(sorted({p.cell for _, p in self.prompts.values()}))}
        cell_of = np.zeros(max(self.prompts, default=0) + 1, dtype=np.int64)
        for row, (_, prompt) in self.prompts.items():
            cell_of[row] = cells[prompt.cell]
        parts = [*(self._codes[n].values for n in ("model", "case_", "perturbation")), cell_of[self._codes["prompt"].values]]
        sizes = [int(p.max()) + 1 if len(p) else 1 for p in parts]
        group = np.zeros(len(self.rows.values), dtype=np.int64)
        for values, size in zip(parts, sizes, strict=True):
            group *= size
            group += values
        count = prod(sizes)
        if count > DENSE:
            kept, group = np.unique(group, return_inverse=True)
            count = len(kept)
        both = np.ones(count, dtype=bool)
        sides = [self._last.values & (self._primary == OUTCOME_CODE[o]) for o in (Outcome.POSITIVE, Outcome.NEGATIVE)]
        for side in sides:
            seen = np.zeros(count, dtype=bool)
            seen[group[side]] = True
            both &= seen
        flipped = both[group] & (sides[0] | sides[1])
        return self._by_wording(flipped, group) if self._repeated else flipped

    def _by_wording(self, flipped: Flags, group: Codes) -> Flags:
        """Without the groups whose opposite answers are all repeats of one wording: that is chance, not wording."""
        at = np.flatnonzero(flipped)
        _, near = np.unique(group[at], return_inverse=True)
        prompts = self._codes["prompt"].values[at]
        order = np.lexsort((prompts, near))
        several = np.zeros(int(near.max()) + 1 if len(near) else 0, dtype=bool)
        different = (np.diff(near[order]) == 0) & (np.diff(prompts[order]) != 0)
        several[near[order][1:][different]] = True
        found = np.zeros_like(flipped)
        found[at[several[near]]] = True
        return found


def _asks(wanted: Wanted, prompt: Prompt) -> bool:
    name, _, value = wanted.factor.partition("=")
    pairs = ((wanted.form, prompt.form), (wanted.cell, prompt.cell), (wanted.prompt, prompt.name))
    return all(not want or want == is_ for want, is_ in pairs) and (not wanted.factor or prompt.factors.get(name) == value)


def _state(path: Path) -> tuple[int, int, int, int]:
    """Size and time of the ledger and of its log: what differs when something was written. An empty log is none."""
    found: list[int] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            stat = file.stat()
        except OSError:
            stat = None
        found += [stat.st_size, stat.st_mtime_ns] if stat is not None and stat.st_size else [0, 0]
    return found[0], found[1], found[2], found[3]


def _coded(column: str, values: Sequence[str]) -> str:
    return f"CASE {column} {' '.join(f'WHEN {value!r} THEN {i}' for i, value in enumerate(map(str, values)))} ELSE -1 END"


_ANSWERS = (
    f"SELECT id, model, case_, perturbation, prompt, repeat, {_coded('status', STATUSES)}, attempt FROM response"
    " WHERE id > ? ORDER BY id LIMIT ?"
)
_EARLIER = (
    "SELECT b.id FROM response r JOIN response b ON b.key = r.key AND b.attempt < r.attempt"
    " WHERE r.id > ? AND r.id <= ? AND r.attempt > 1"
)
_READINGS = (
    f"SELECT response, CASE method {{method}} ELSE -1 END, {_coded('outcome', OUTCOMES)} FROM reading"
    " WHERE response >= ? ORDER BY response LIMIT ?"
)
