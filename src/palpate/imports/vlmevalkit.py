"""The prediction tables of VLMEvalKit: ``MODEL_DATASET.xlsx`` or ``.tsv`` with index, question, answer and prediction.

Model and data set are both in the file's name, with the same sign between and within them: they have to be given.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from palpate.errors import SourceError
from palpate.imports.own import table
from palpate.imports.rows import Faults, Row
from palpate.imports.unpacking import check_members, open_archive

FIELDS = ("index", "question", "answer", "prediction")
LETTERS = "ABCDEFGHIJ"
FAILED = "Failed to obtain answer via API."
"""What the kit writes in place of an answer where a request failed: an error, never words of the model."""


class VLMEvalKitFormat:
    """The columns A and B, where filled, are the two options; a row with a C has more than two."""

    name: ClassVar[str] = "vlmevalkit"
    about: ClassVar[str] = "a prediction table of VLMEvalKit (.xlsx or .tsv)"
    own_questions: ClassVar[bool] = True

    def fits(self, path: Path) -> bool:
        """A spreadsheet, or a .tsv file with the kit's columns."""
        if path.suffix.lower() == ".xlsx":
            return True
        if path.suffix.lower() != ".tsv":
            return False
        first = next(table(path, "", Faults()), None)
        return first is not None and set(FIELDS) <= set(first[1])

    def rows(self, path: Path, label: str, faults: Faults) -> Iterator[Row]:
        """One row per line of the table. Raises SourceError where one of the kit's columns is missing."""
        records = _spreadsheet(path) if path.suffix.lower() == ".xlsx" else table(path, label, faults)
        for line, record in records:
            missing = [name for name in FIELDS if name not in record]
            if missing:
                raise SourceError(f"no column {missing[0]!r}", where=str(path), expected=f"the columns {', '.join(FIELDS)}")
            offered = [letter for letter in LETTERS if _there(record.get(letter))]
            values = {
                "case": record["index"],
                "prompt": record["question"],
                "target": record["answer"],
                # An empty cell of a spreadsheet is an empty answer: the kit writes one line per question asked.
                "response": "" if record["prediction"] is None else str(record["prediction"]),
            }
            if values["response"].startswith(FAILED):
                values |= {"status": "error", "error": FAILED}
            if offered == ["A", "B"]:
                values["options"] = f"{record['A']}|{record['B']}"
            unfit = f"offers {len(offered)} answers, not two" if len(offered) not in (0, 2) else ""
            yield Row(label, line, values, record, unfit)


def _there(value: Any) -> bool:
    return value is not None and str(value).strip().lower() not in ("", "nan")


BROKEN = (
    *(OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError),
    *(zipfile.BadZipFile, zlib.error, SyntaxError, RuntimeError),
)
"""What openpyxl and what it stands on raise for a damaged or hostile file; XML that is none is a SyntaxError."""
MOST_ROWS, MOST_COLUMNS = 1_048_576, 1_000
"""Excel's own limit, and far more than a table of answers has: a file may claim any number of empty ones."""


def _spreadsheet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        hint = "pip install 'palpate[xlsx]', or save the table as .tsv"
        raise SourceError("spreadsheets need the package openpyxl", where=str(path), hint=hint) from None
    with open_archive(path, "a spreadsheet") as archive:
        try:
            check_members(archive)
        except BROKEN as fault:
            raise SourceError(f"is no readable spreadsheet: {fault}", where=str(path)) from None
    with path.open("rb") as file:  # openpyxl leaves a file open that it cannot read
        yield from _lines(file, path)


def _lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import openpyxl

    try:
        sheet = openpyxl.load_workbook(file, read_only=True, data_only=True).worksheets[0]
        if (sheet.max_column or 0) > MOST_COLUMNS:
            raise ValueError(f"it claims {sheet.max_column:,} columns")
        lines = sheet.iter_rows(values_only=True)
        columns = [str(name).strip() if name is not None else "" for name in next(lines, ())]
        for line, values in enumerate(lines, start=2):
            if line > MOST_ROWS:
                raise ValueError(f"it claims more than {MOST_ROWS:,} rows")
            if any(value is not None for value in values):
                yield line, {name: value for name, value in zip(columns, values, strict=False) if name}
    except (*BROKEN, openpyxl.utils.exceptions.InvalidFileException) as fault:
        raise SourceError(f"is no readable spreadsheet: {fault}", where=str(path)) from None
