"""The prediction tables of VLMEvalKit: ``MODEL_DATASET.xlsx`` or ``.tsv`` with index, question, answer and prediction.

Model and data set are both in the file's name, with the same sign between and within them: they have to be given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from palpate.errors import SourceError
from palpate.imports.own import table
from palpate.imports.rows import Faults, Row
from palpate.imports.unpacking import open_archive

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


def _spreadsheet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        import openpyxl
    except ImportError:
        hint = "pip install 'palpate[xlsx]', or save the table as .tsv"
        raise SourceError("spreadsheets need the package openpyxl", where=str(path), hint=hint) from None
    import zipfile

    open_archive(path, "a spreadsheet").close()
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, openpyxl.utils.exceptions.InvalidFileException) as fault:
        raise SourceError(f"is no readable spreadsheet: {fault}", where=str(path)) from None
    try:
        lines = book.worksheets[0].iter_rows(values_only=True)
        columns = [str(name).strip() if name is not None else "" for name in next(lines, ())]
        for line, values in enumerate(lines, start=2):
            if any(value is not None for value in values):
                yield line, {name: value for name, value in zip(columns, values, strict=False) if name}
    finally:
        book.close()
