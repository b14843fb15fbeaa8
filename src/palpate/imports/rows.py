"""What every format gives: rows with named columns, and the faults found on the way, all of them counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from palpate.errors import SourceError

SHOWN = 20  # faults written out; the others are counted

COLUMNS: Mapping[str, str] = {
    "model": "the model's name",
    "task": "the task; a built-in task's name brings its words",
    "case": "the image, or the question where each has its own",
    "group": "the patient or slide; empty: the case stands alone",
    "label": "1 where the condition is present, else 0",
    "target": "the right answer (yes or no, A or B, an option's text), where there is no label",
    "prompt": "the question as it was put; where every case has its own, what they have in common",
    "question": "the question put to this case, where each has its own",
    "name": "a short name of the prompt",
    "form": "yes-no, A-B, B-A, open or describe",
    "polarity": "positive or negative: what “yes”, or the first-named option, asserts",
    "cell": "the intent: only prompts of one cell ask the same question",
    "options": "first|second: the two options' texts in the order they are named; A is the first",
    "response": "the answer's text; an empty text is an answer",
    "condition": "the perturbation of the image, such as no_image or gaussian_noise-3; empty: none",
    "repeat": "which repeat of the same question, a whole number",
    "status": "ok, truncated, blocked or error; empty: ok",
    "error": "why there is no answer",
    "margin": "log odds for the condition, natural logarithm",
    "mass": "total probability of the answer words, 0 to 1",
    "seconds": "how long the answer took",
}
"""Every column that is understood. ``factor.NAME`` besides: how a prompt was made, such as ``factor.suffix``."""

FACTOR = "factor."


@dataclass(frozen=True, slots=True)
class Row:
    """One answer as a format found it: ``line`` in its file (from 1), its columns, and the record they were taken from."""

    file: str
    line: int
    values: Mapping[str, Any]
    record: Mapping[str, Any] = field(default_factory=dict)
    unfit: str = ""  # why it is no question with two answers, where the format can tell

    @property
    def place(self) -> str:
        """Where to look for it."""
        return row_place(self.file, self.line)


def row_place(file: str, line: int) -> str:
    """``answers.csv line 12``; the file's name only where there are several."""
    return f"{file}line {line}"


@dataclass(slots=True)
class Faults:
    """What is wrong, by line and column: the first twenty in words, all of them counted."""

    shown: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, place: str, column: str, problem: str) -> None:
        """One more."""
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{place}{f', column {column!r}' if column else ''}: {problem}")

    def stop(self, where: str, hint: str = "") -> None:
        """Raises SourceError where there was any fault."""
        if not self.count:
            return
        more = f"\n    … and {self.count - len(self.shown):,} more" if self.count > len(self.shown) else ""
        noun = "fault" if self.count == 1 else "faults"
        listed = "".join(f"\n    {line}" for line in self.shown)
        raise SourceError(f"{self.count:,} {noun}, nothing was imported{listed}{more}", where=where, hint=hint)


class Format(Protocol):
    """A kind of file. ``own_questions``: every case may have a question of its own, as in a benchmark."""

    name: ClassVar[str]
    about: ClassVar[str]
    own_questions: ClassVar[bool]

    def fits(self, path: Path) -> bool:
        """Whether the file looks like one of these."""
        ...

    def rows(self, path: Path, label: str, faults: Faults) -> Iterator[Row]:
        """Its rows; ``label`` goes before a line number. A bad row is a fault; raises SourceError for a file that is none."""
        ...


@dataclass(frozen=True, slots=True)
class Fill:
    """What the files do not say, or say under another name: ``--set`` and ``--map``."""

    values: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)  # column → field of the record; dots go down into tables

    def filled(self, row: Row) -> dict[str, Any]:
        """The row's columns: a mapped field before the file's own column, and a set value before both."""
        mapped = {column: found for column, path in self.fields.items() if (found := reach(row.record, path)) is not None}
        return {**row.values, **mapped, **self.values}


def reach(record: Mapping[str, Any], path: str) -> Any:
    """``doc.patient`` in nested tables; None where it is not there. A field's own name may hold dots."""
    if path in record:
        return record[path]
    found: Any = record
    for step in path.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found
