"""One row's values as what they stand for; a value that stands for nothing is a fault with its line and column."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from palpate.errors import PalpateError
from palpate.imports.rows import FACTOR, Faults, Row
from palpate.nouns import Answer, Form, Perturbation, Polarity, Prompt, Status
from palpate.registry import part

YES, NO = "yes", "no"
PRESENT, ABSENT = ("1", "1.0", "true"), ("0", "0.0", "false")
WITH_TEXT = (Status.OK, Status.TRUNCATED)
NO_CAUSE = "no cause given"


class Values:
    """The columns of one row."""

    def __init__(self, row: Row, given: Mapping[str, Any], faults: Faults) -> None:
        self.row, self.given, self.faults = row, given, faults

    def fault(self, column: str, problem: str) -> None:
        """Note what is wrong with a column of this row."""
        self.faults.add(self.row.place, column, problem)

    def text(self, column: str) -> str:
        """The column's text without surrounding blanks; empty where there is none."""
        value = self.given.get(column)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # 3.0: a spreadsheet's whole number
        return "" if value is None else clean(str(value)).strip()

    def needed(self, column: str) -> str:
        """The same; a fault where it is empty."""
        found = self.text(column)
        if not found:
            self.fault(column, "is empty")
        return found

    def prompt(self, text: str) -> Prompt | None:
        """The prompt of this row, its name empty where none is given; None with a fault."""
        form = self._one_of(Form, "form")
        polarity = self._one_of(Polarity, "polarity")
        cell = self.needed("cell")
        options = self._options(form)
        factors = {c.removeprefix(FACTOR): self.text(c) for c in self.given if c.startswith(FACTOR) and self.text(c)}
        if form is None or polarity is None:
            return None
        return Prompt(self.text("name"), text, form, polarity, cell, options, factors)

    def _one_of(self, kind: type[Form] | type[Polarity], column: str) -> Any:
        given = self.text(column).casefold()
        found = {str(member).casefold(): member for member in kind}.get(given)
        if found is None:
            self.fault(column, f"{shown(self.text(column))} is not one of {', '.join(kind)}")
        return found

    def _options(self, form: Form | None) -> tuple[str, str] | None:
        """The two options in the order they are named; lettered questions need them, to know what an answer in words means."""
        given = self.text("options")
        if form not in (Form.AB, Form.BA):
            return None
        parts = [part.strip() for part in given.split("|")]
        if len(parts) != 2 or not all(parts) or parts[0].casefold() == parts[1].casefold():
            problem = "is needed for a lettered question: first|second (A|B where answers are letters only)"
            self.fault("options", problem if not given else f"{shown(given)} is not first|second")
            return None
        return parts[0], parts[1]

    def label(self, prompt: Prompt | None) -> tuple[int | None, str]:
        """(1 or 0, "") or, from a target that is neither of two answers, (None, why)."""
        given = self.text("label").casefold()
        if given:
            if given not in PRESENT + ABSENT:
                self.fault("label", f"{shown(self.text('label'))} is neither 1 nor 0")
            return int(given in PRESENT), ""
        target = self.text("target").rstrip(".").casefold()
        if not target:
            self.fault("label", "is empty, and there is no target")
            return None, ""
        if prompt is None:
            return None, ""
        first, second = self._two_answers(prompt)
        if target not in first | second:
            return None, f"{shown(self.text('target'))} is neither {' or '.join(sorted(first))} nor {' or '.join(sorted(second))}"
        return int((target in first) is (prompt.polarity is Polarity.POSITIVE)), ""

    @staticmethod
    def _two_answers(prompt: Prompt) -> tuple[set[str], set[str]]:
        """What a target may say for "yes" or the first-named option, and for the other."""
        if prompt.form not in (Form.AB, Form.BA):
            return {YES}, {NO}
        assert prompt.options is not None
        first, second = ({letter, option.casefold()} for letter, option in zip("ab", prompt.options, strict=True))
        return first - second, second - first

    def condition(self) -> Perturbation:
        """The perturbation; ``none`` where the column is empty."""
        text = self.text("condition") or "none"
        name, _, severity = text.rpartition("-") if text.rpartition("-")[2].isdecimal() else (text, "", "0")
        try:
            allowed = part("perturbations", name).severities
        except PalpateError as fault:
            self.fault("condition", f"{fault.problem} ({fault.expected})")
            return Perturbation()
        if int(severity) not in allowed:
            self.fault("condition", f"{shown(text)}: {name} has the severities {', '.join(map(str, allowed))}")
            return Perturbation()
        return Perturbation(name, int(severity))

    def repeat(self) -> int:
        """Which repeat, 0 where the column is empty."""
        given = self.text("repeat") or "0"
        if not given.isdecimal():
            self.fault("repeat", f"{shown(given)} is no whole number from 0")
            return 0
        return int(given)

    def answer(self) -> Answer | None:
        """What came back; None with a fault. A row with an error is no answer, whatever text stands beside it."""
        cause = self.text("error")
        given = self.text("status").casefold() or (Status.ERROR if cause else Status.OK)
        if given not in list(Status):
            self.fault("status", f"{shown(given)} is not one of {', '.join(Status)}")
            return None
        status = Status(given)
        if status is Status.ERROR:
            return Answer(status, error=cause or NO_CAUSE)
        text = self.given.get("response")
        if text is None and status in WITH_TEXT:
            self.fault("response", "is missing: an empty text is an answer, nothing at all is not (or say status = error)")
            return None
        margin, mass = self._number("margin"), self._number("mass", (0.0, 1.0))
        words = "" if text is None else clean(str(text))
        return Answer(status, words, margin, mass, seconds=self._number("seconds", (0.0, math.inf)))

    def _number(self, column: str, bounds: tuple[float, float] = (-math.inf, math.inf)) -> float | None:
        given = self.text(column)
        if not given:
            return None
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and bounds[0] <= value <= bounds[1]):
            low, high = (f" {word} {b:g}" if math.isfinite(b) else "" for word, b in zip(("from", "to"), bounds, strict=True))
            self.fault(column, f"{shown(given)} is no number{low}{high}")
            return None
        return value


def clean(text: str) -> str:
    """Half of a surrogate pair, as a cut-off text may end in, is no Unicode and could not be written."""
    return text.encode("utf-8", "replace").decode("utf-8")


def shown(text: str) -> str:
    """A value in quotation marks, cut short."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


def plain(value: Any) -> Any:
    """A value as a person would write it."""
    if isinstance(value, tuple):
        return "|".join(value)
    return str(value) if isinstance(value, Form | Polarity) else value
