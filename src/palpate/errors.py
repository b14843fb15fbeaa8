"""Every error Palpate raises on purpose.

    PalpateError                 something the user can act on; the command line prints it without a traceback, exit 2
    ├── StudyError               a study or task file is wrong: names file and key
    ├── UnknownName              no task, model, prompt set, measure… of that name: names the nearest ones
    ├── SourceError              a source of images cannot be read
    ├── ModelError               a model cannot be loaded or cannot do what the study asks of it
    ├── LedgerError              the ledger cannot be opened, written or understood
    └── RunError                 a run folder is missing, unwritable or belongs to another study

A failure of *one* question (a time-out, an unreadable image) is not an exception but a Response with status ``error``:
it is recorded, retried and reported apart, and never counted as an answer.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PalpateError(Exception):
    """Base of all errors a user can act on.

    An error says five things: what was given, where, what was expected, the nearest valid names, what to do next.
    """

    def __init__(self, problem: str, *, where: str = "", expected: str = "", hint: str = "") -> None:
        self.problem, self.where, self.expected, self.hint = problem, where, expected, hint
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.problem}" if self.where else self.problem]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)

    def at(self, where: str) -> PalpateError:
        """The same error, located: ``chest.toml: tasks[1]``. An error that already knows its place keeps it."""
        return type(self)(self.problem, where=self.where or where, expected=self.expected, hint=self.hint)


class StudyError(PalpateError):
    """A study or task file is wrong."""


class UnknownName(PalpateError):
    """A name that no part, task or model has."""


class SourceError(PalpateError):
    """A source of cases cannot be read."""


class ModelError(PalpateError):
    """A model cannot be loaded or used."""


class LedgerError(PalpateError):
    """The ledger cannot be opened, written or understood."""


class RunError(PalpateError):
    """A run folder is missing, unwritable or belongs to another study."""


MANY = 40  # names: a longer list hides the error it stands in
LISTED = ("task", "model", "source", "perturbation", "reading", "measure")


def unknown_name(given: str, known: Iterable[str], *, noun: str, where: str = "") -> UnknownName:
    """An UnknownName that lists the nearest valid names (and all of them, where they are not too many to read)."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    hint = "did you mean " + " or ".join(repr(n) for n in near) + "?" if near else f"`palpate list {noun}s` shows all"
    many = noun in LISTED and near and len(names) > MANY
    expected = f"one of the {len(names)} that `palpate list {noun}s` shows" if many else f"one of {', '.join(names)}"
    return UnknownName(f"no {noun} is called {given!r}", where=where, expected=expected, hint=hint)
