"""Rows → answers that fit together: every value checked, every contradiction found, nothing guessed.

A case has one label and one group, a prompt one form, polarity, cell and pair of options, and each is asked once per model,
condition and repeat. What breaks that is a fault with its line and column.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palpate.errors import SourceError
from palpate.imports.formats import format_of
from palpate.imports.rows import COLUMNS, FACTOR, Faults, Fill, Row, row_place
from palpate.imports.values import Values, plain
from palpate.nouns import Answer, LeftOut, Perturbation, Prompt

NEEDED = ("model", "task", "case", "prompt", "form", "polarity", "cell", "response")
SPARSE_FROM = 2_000_000  # places in the table of cases × prompts
SPARSE = 50  # places per answer


@dataclass(frozen=True, slots=True)
class ImportedCase:
    """A case as the file names it; ``group`` None where it stands alone. ``question``: its own, where it has one."""

    name: str
    label: int
    group: str | None
    question: str | None = None


@dataclass(frozen=True, slots=True)
class ImportedAnswer:
    """One answer: to which prompt of which case, under which condition, and what came back."""

    model: str
    task: str
    case: str
    prompt: str
    condition: Perturbation
    repeat: int
    answer: Answer


@dataclass(frozen=True)
class Answers:
    """Everything the files hold, checked. Prompts and cases by task, in the order of their first answer."""

    answers: tuple[ImportedAnswer, ...]
    models: tuple[str, ...]
    prompts: Mapping[str, Mapping[str, Prompt]]  # task → text → prompt
    cases: Mapping[str, Mapping[str, ImportedCase]]
    conditions: tuple[Perturbation, ...]
    repeats: int
    left_out: Mapping[str, tuple[LeftOut, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def n_errors(self) -> int:
        """Answers that are none."""
        return sum(a.answer.error is not None for a in self.answers)


def read_answers(paths: Sequence[Path], *, given: str = "auto", fill: Fill | None = None, skip_unfit: bool = False) -> Answers:
    """The answers in these files. Raises SourceError that lists what is wrong by line and column (all counted, 20 shown).

    ``given``: the format, found out per file where ``auto``. ``skip_unfit``: leave out questions that have not two answers.
    """
    fill = fill or Fill()
    strange = [c for c in (*fill.values, *fill.fields) if c not in COLUMNS and not c.startswith(FACTOR)]
    if strange:
        raise SourceError(f"no column is called {strange[0]!r}", where="--set or --map", expected=", ".join(COLUMNS))
    where = ", ".join(map(str, paths))
    notes: list[str] = []
    broken, faults, columns = Faults(), Faults(), _Columns()
    gathered = _Gathered(faults, skip_unfit)
    for path in paths:
        kind = format_of(path, given)
        label = f"{path.name} " if len(paths) > 1 else ""
        rows: Iterable[tuple[Row, dict[str, Any]]] = ((row, fill.filled(row)) for row in kind.rows(path, label, broken))
        of_file: list[str] = []
        if kind.own_questions:  # how its questions hang together is known at the end: these logs are held
            rows = list(rows)
            of_file = _own_questions([values for _, values in rows])
        before = columns.rows
        for row, values in rows:  # a table of any length is read row by row
            columns.add(row, values)
            gathered.add(row, values)
        notes += [f"{path.name}: {kind.about}, {columns.rows - before:,} rows", *of_file]
    if not columns.rows and not broken.count:
        raise SourceError("holds no answer", where=where, expected="one answer a row")
    broken.stop(where)  # a broken line would otherwise show up again as something missing
    _columns_there(columns.held, where)
    unfit = "leave out questions that have not two answers with --skip-unfit" if gathered.unfit and not skip_unfit else ""
    faults.stop(where, unfit)
    return gathered.answers(where, [*notes, *_remarks(columns, fill)])


class _Columns:
    """Which columns the rows have, seen row by row."""

    def __init__(self) -> None:
        self.rows = 0
        self.held: set[str] = set()  # with a value in some row
        self.filled: set[str] = set()  # with one that is not empty
        self.plain: set[str] = set()  # a table's own columns

    def add(self, row: Row, values: Mapping[str, Any]) -> None:
        """One more row."""
        self.rows += 1
        for column, value in values.items():
            if value is not None and column not in self.filled:
                self.held.add(column)
                if value != "":
                    self.filled.add(column)
        if row.record is row.values:
            self.plain.update(row.record)


def _own_questions(rows: list[dict[str, Any]]) -> list[str]:
    """A benchmark asks every case its own question: then what the questions have in common is the task's one wording.

    Where some case is asked several questions, each question is a wording, as it stands.
    """
    by_task: dict[Any, dict[Any, set[Any]]] = {}
    for values in rows:
        by_task.setdefault(values.get("task"), {}).setdefault(str(values.get("case")), set()).add(values.get("prompt"))
    notes = []
    for task, asked in by_task.items():
        several = len(set().union(*asked.values()))
        if several < 2 or max(map(len, asked.values())) > 1:
            continue
        for values in (v for v in rows if v.get("task") == task):
            values["question"], values["prompt"] = values.get("prompt"), f"{{question}}, as asked by {task}"
        notes.append(f"{task}: {several:,} different questions, one to a case: taken as one wording")
    return notes


def _columns_there(held: set[str], where: str) -> None:
    """Raises SourceError for a needed column that no row has: said once, not in every line."""
    missing = [c for c in NEEDED if c not in held and not (c == "response" and "status" in held)]
    if not {"label", "target"} & held:
        missing.append("label")
    if missing:
        named = "; ".join(f"{c}: {COLUMNS[c]}" for c in missing)
        first = next((c for c in missing if c not in ("case", "label", "response", "prompt")), "")
        hint = f"--set {first}=VALUE gives every row the same, " if first else ""
        other = sorted(c for c in held if c not in COLUMNS)[:12]
        also = f" (the file has {', '.join(other)})" if other else ""
        problem = f"no column {', '.join(map(repr, missing))}{also}"
        raise SourceError(problem, where=where, expected=named, hint=f"{hint}--map {missing[0]}=FIELD takes it from another field")


def _remarks(columns: _Columns, fill: Fill) -> list[str]:
    """What a reader of the results should know of the file, and what of it was not used."""
    notes = [] if "group" in columns.filled else ["no group is given: every case counts as a patient of its own"]
    used = {path.split(".")[0] for path in fill.fields.values()}
    other = sorted(c for c in columns.plain - used if c not in COLUMNS and not c.startswith(FACTOR))
    if other:
        notes.append(f"columns not used: {', '.join(other[:20])}{' …' if len(other) > 20 else ''}")
    return notes


class _Gathered:
    """Answers row by row, held against those before."""

    def __init__(self, faults: Faults, skip_unfit: bool) -> None:
        self.faults, self.skip_unfit = faults, skip_unfit
        self.found: list[ImportedAnswer] = []
        self.cases: dict[str, dict[str, ImportedCase]] = {}
        self.prompts: dict[str, dict[str, Prompt]] = {}
        self.left_out: dict[str, list[LeftOut]] = {}
        self.first: dict[tuple[Any, ...], str] = {}  # what was said → where it was first said
        self.answered: dict[tuple[Any, ...], tuple[str, int]] = {}  # what was asked → file and line of its answer
        self.conditions: dict[Perturbation, Perturbation] = {}
        self.unfit = 0

    def add(self, row: Row, given: Mapping[str, Any]) -> None:
        """Check one row and keep it. A row with a fault is not kept, and hides no other's fault."""
        before = self.faults.count
        values = Values(row, given, self.faults)
        # A million rows repeat a few thousand names: each is kept once.
        texts = {name: sys.intern(values.needed(name)) for name in ("model", "task", "case", "prompt")}
        if row.unfit:
            self._unfit(row, texts, row.unfit)
            return
        prompt = values.prompt(texts["prompt"])
        label, unfit = values.label(prompt)
        condition, repeat, answer = values.condition(), values.repeat(), values.answer()
        condition = self.conditions.setdefault(condition, condition)
        if unfit:
            self._unfit(row, texts, unfit)
            return
        case = ImportedCase(texts["case"], label or 0, values.text("group") or None, values.text("question") or None)
        if self.faults.count > before or prompt is None or answer is None:
            return
        task = texts["task"]
        self._agree(row, case, prompt, task)
        key = (texts["model"], task, case.name, texts["prompt"], condition, repeat)
        if key in self.answered:
            columns = "model, task, case, prompt, condition and repeat"
            self.faults.add(row.place, "", f"the same {columns} as {row_place(*self.answered[key])}")
        self.answered.setdefault(key, (row.file, row.line))
        if self.faults.count == before:
            self.found.append(ImportedAnswer(texts["model"], task, texts["case"], texts["prompt"], condition, repeat, answer))

    def _unfit(self, row: Row, texts: Mapping[str, str], why: str) -> None:
        self.unfit += 1
        if self.skip_unfit:
            self.left_out.setdefault(texts["task"], []).append(LeftOut(f"{row.place}, case {texts['case']}", why))
        else:
            self.faults.add(row.place, "target", why)

    def _agree(self, row: Row, case: ImportedCase, prompt: Prompt, task: str) -> None:
        known = self.cases.setdefault(task, {}).setdefault(case.name, case)
        for column in ("label", "group", "question"):
            self._same(row, column, f"case {case.name!r}", getattr(known, column), getattr(case, column), ("case", task, case.name))
        asked = self.prompts.setdefault(task, {}).setdefault(prompt.text, prompt)
        for column in ("form", "polarity", "cell", "options", "factors", "name"):
            before, now = getattr(asked, column), getattr(prompt, column)
            self._same(row, column, "this prompt", before, now, ("prompt", task, prompt.text))
        self.first.setdefault(("case", task, case.name), row.place)
        self.first.setdefault(("prompt", task, prompt.text), row.place)

    def _same(self, row: Row, column: str, what: str, before: Any, now: Any, key: tuple[str, ...]) -> None:
        if before != now:
            shown = [repr(plain(value)) for value in (now, before)]
            self.faults.add(row.place, column, f"{what} has {shown[0]} here and {shown[1]} in {self.first[key]}")

    def answers(self, where: str, notes: list[str]) -> Answers:
        """All of it. Raises SourceError where nothing is left, or the table would be nearly empty."""
        for task, left in self.left_out.items():
            first = f"{left[0].name}: {left[0].reason}"
            notes.append(f"{task}: {len(left):,} rows left out, for they have not two answers (the first: {first})")
        if not self.found:
            raise SourceError("no answer is left", where=where, expected="questions with two answers: yes or no, A or B")
        repeats = {r: i for i, r in enumerate(sorted({a.repeat for a in self.found}))}
        if list(repeats) != list(repeats.values()):
            notes.append(f"repeats are numbered {', '.join(map(str, list(repeats)[:5]))} in the file, from 0 here")
        conditions = _ordered(a.condition for a in self.found)
        found = tuple(_renumbered(a, repeats) for a in self.found)
        named = {task: _named(prompts) for task, prompts in self.prompts.items()}
        models = _ordered(a.model for a in found)
        self._not_sparse(len(models) * len(conditions) * len(repeats), where)
        left_out = {task: tuple(out) for task, out in self.left_out.items()}
        return Answers(found, models, named, self.cases, conditions, len(repeats), left_out, tuple(notes))

    def _not_sparse(self, times: int, where: str) -> None:
        for task, prompts in self.prompts.items():
            places = len(prompts) * len(self.cases[task]) * times
            if places > SPARSE_FROM and places > SPARSE * len(self.found):
                raise SourceError(
                    f"task {task!r}: {len(prompts):,} prompts for {len(self.cases[task]):,} cases, nearly none of them ever put",
                    where=where,
                    expected="prompts that were put to many cases",
                    hint="where every case has its own question, put what they have in common in the column prompt: {question}",
                )


def _ordered(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _renumbered(answer: ImportedAnswer, repeats: Mapping[int, int]) -> ImportedAnswer:
    if repeats[answer.repeat] == answer.repeat:
        return answer
    a = answer
    return ImportedAnswer(a.model, a.task, a.case, a.prompt, a.condition, repeats[a.repeat], a.answer)


def _named(prompts: Mapping[str, Prompt]) -> dict[str, Prompt]:
    """Every prompt with a name of its own: the given one, else its text where that is short and plain, else p1, p2 …"""
    taken: set[str] = set()
    named = {}
    for number, (text, p) in enumerate(prompts.items(), start=1):
        short = text if len(text) <= 32 and all(c.isalnum() or c in " -_." for c in text) else f"p{number}"
        name = base = p.name or short
        suffix = 2
        while name in taken:
            name, suffix = f"{base}-{suffix}", suffix + 1
        taken.add(name)
        named[text] = Prompt(name, p.text, p.form, p.polarity, p.cell, p.options, p.factors)
    return named
