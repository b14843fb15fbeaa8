"""A table of one's own: CSV, TSV, JSON lines or Parquet with named columns, one answer a row."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from palpate.errors import SourceError
from palpate.imports.rows import Faults, Row

TEXT = (".csv", ".tsv", ".tab")
LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
DELIMITERS = (",", "\t", ";", "|")
LONGEST_CELL = 10_000_000  # characters; Python's own limit of 131,072 is below a long answer's length


class OwnFormat:
    """The columns are Palpate's own, or are given by ``--map`` and ``--set``."""

    name: ClassVar[str] = "own"
    about: ClassVar[str] = "a CSV, TSV, JSON-lines or Parquet table with Palpate's columns"
    own_questions: ClassVar[bool] = False

    def fits(self, path: Path) -> bool:
        """By the file's ending."""
        return path.suffix.lower() in TEXT + LINES + PARQUET

    def rows(self, path: Path, label: str, faults: Faults) -> Iterator[Row]:
        """Raises SourceError for a file that is no such table."""
        suffix = path.suffix.lower()
        if suffix in PARQUET:
            records = _parquet(path)
        elif suffix in LINES:
            records = json_lines(path, label, faults)
        else:
            records = table(path, label, faults)
        for line, record in records:
            yield Row(label, line, record, record)


def table(path: Path, label: str, faults: Faults) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, columns) of a delimited text file with a header. A row of the wrong length is a fault."""
    where = str(path)
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            tab = path.suffix.lower() != ".csv"
            reader = csv.reader(file, delimiter="\t" if tab else max(DELIMITERS, key=first.count), strict=True)
            columns = [column.strip() for column in next(reader, [])]
            twice = [column for column, count in Counter(columns).items() if count > 1]
            if not any(columns) or twice:
                problem = f"line 1: column {twice[0]!r} is there twice" if twice else "is empty"
                raise SourceError(problem, where=where, expected="a header line with every column once")
            start = reader.line_num + 1
            for values in reader:
                if len(values) == len(columns):
                    yield start, dict(zip(columns, values, strict=True))
                elif values:
                    faults.add(f"{label}line {start}", "", f"{len(values)} values for {len(columns)} columns")
                start = reader.line_num + 1
    except csv.Error as fault:
        raise SourceError(f"line {reader.line_num}: {fault}", where=where, expected="a well-formed table") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise unreadable(path, fault) from None


def json_lines(path: Path, label: str, faults: Faults) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, object) of a file with one JSON object a line. A line that is none is a fault."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line, text in enumerate(file, start=1):
                if not text.strip():
                    continue
                try:
                    record = json.loads(text)
                except (ValueError, RecursionError) as fault:
                    faults.add(f"{label}line {line}", "", f"is not JSON: {fault}")
                    continue
                if isinstance(record, dict):
                    yield line, record
                else:
                    faults.add(f"{label}line {line}", "", "is no JSON object")
    except (OSError, UnicodeDecodeError) as fault:
        raise unreadable(path, fault) from None


def _parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    line = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for record in batch.to_pylist():
                    line += 1
                    yield line, record
    except (pa.ArrowException, OSError) as fault:
        problem = f"is not a readable Parquet file: {str(fault).splitlines()[0]}"
        raise SourceError(problem, where=str(path)) from None


def unreadable(path: Path, fault: OSError | UnicodeDecodeError) -> SourceError:
    """The error for a file that cannot be opened, or is no UTF-8 text."""
    if isinstance(fault, UnicodeDecodeError):
        return SourceError(f"is not UTF-8 text (byte {fault.start:,})", where=str(path), expected="a file saved as UTF-8")
    return SourceError(f"cannot be read: {fault.strerror or fault}", where=str(path), expected="a file of answers")
