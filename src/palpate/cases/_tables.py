"""Tables of cases: CSV, TSV and Parquet files as rows of plain values."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palpate.errors import SourceError

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "bar": "|"}
SEVERAL = "several images to a case"
MOST_ROWS, MOST_BYTES, BATCH = 50_000_000, 4 * 2**30, 1024
"""Of a Parquet file: how many rows of the columns that are read, how many bytes they unpack to, and rows unpacked at once."""
ONE_EACH = "one image to a row: a case is one image; give each image a row, and the patient in the group column"

Wanted = Callable[[Sequence[str]], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line in a text file, its number (from 1) in a Parquet file, and its values by column."""

    number: int
    values: Mapping[str, Any]


def read_table(path: Path, delimiter: str, wanted: Wanted) -> tuple[list[str], list[Row]]:
    """(columns, rows) of a CSV, TSV or Parquet file. ``wanted``: columns → those that are used; only they are read from Parquet.

    Raises SourceError for a file that is none of these, or malformed.
    """
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path, wanted)
    return _read_text(path, delimiter)


def _read_parquet(path: Path, wanted: Wanted) -> tuple[list[str], list[Row]]:
    """Only the columns that are asked for: a Parquet file of images may hold gigabytes in the others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = list(file.schema_arrow.names)
            used = sorted(wanted(columns))
            for column in used:
                _refuse_nested(file.schema_arrow, column, str(path))
            data = _bounded(file, used, str(path))
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise SourceError(
            f"is not a readable Parquet file: {(str(error).splitlines() or ['damaged'])[0]}", where=str(path)
        ) from error
    names = list(data)
    return columns, [
        Row(n, dict(zip(names, values, strict=True))) for n, values in enumerate(zip(*data.values(), strict=True), start=1)
    ]


def _bounded(file: Any, used: Sequence[str], where: str) -> dict[str, list[Any]]:
    """The columns as lists. Raises SourceError where a small file unpacks to more than any table of cases holds."""
    if file.metadata.num_rows > MOST_ROWS:
        raise SourceError(f"has {file.metadata.num_rows:,} rows", where=where, expected=f"at most {MOST_ROWS:,}", hint="split it")
    data: dict[str, list[Any]] = {column: [] for column in used}
    unpacked = 0
    for batch in file.iter_batches(batch_size=BATCH, columns=used):
        unpacked += batch.nbytes
        if unpacked > MOST_BYTES:
            raise SourceError(f"unpacks to more than {MOST_BYTES / 2**30:.0f} GB", where=where, expected="a table of cases")
        for column, values in batch.to_pydict().items():
            data[column] += values
    return data


def _refuse_nested(schema: Any, column: str, where: str) -> None:
    kind = str(schema.field(column).type)
    if kind.startswith(("list", "large_list", "fixed_size_list")):
        raise SourceError(f"column {column!r} holds {kind}: {SEVERAL}", where=where, expected=ONE_EACH)
    if kind.startswith("struct") or "binary" in kind:
        raise SourceError(
            f"column {column!r} holds {kind}, not paths",
            where=where,
            expected="a text column with the images' paths",
            hint='kind = "hub" reads Parquet files that hold the images themselves',
        )


def _read_text(path: Path, delimiter: str) -> tuple[list[str], list[Row]]:
    where = str(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=_delimiter(delimiter, path, first), strict=True)
            columns = [column.strip() for column in next(reader, [])]
            rows = list(_rows(reader, columns, where))
    except UnicodeDecodeError as error:
        raise SourceError(
            f"is not UTF-8 text (byte {error.start:,})", where=where, expected="a CSV file saved as UTF-8, or Parquet"
        ) from error
    except csv.Error as error:
        raise SourceError(f"line {reader.line_num}: {error}", where=where, expected="a well-formed CSV file") from error
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", where=where) from error
    repeated = [column for column, count in Counter(columns).items() if count > 1]
    if repeated:
        raise SourceError(f"line 1: column {repeated[0]!r} appears {columns.count(repeated[0])} times", where=where)
    return columns, rows


def _rows(reader: Any, columns: Sequence[str], where: str) -> Iterator[Row]:
    for values in reader:
        if not values:
            continue  # an empty line
        if len(values) != len(columns):
            problem = f"line {reader.line_num}: {len(values)} values for {len(columns)} columns"
            raise SourceError(problem, where=where, expected=f"one value each for {', '.join(columns)}")
        yield Row(reader.line_num, dict(zip(columns, values, strict=True)))


def _delimiter(given: str, path: Path, first_line: str) -> str:
    if given:
        character = DELIMITERS.get(given, given)
        if len(character) != 1 or character in '\r\n"':
            raise SourceError(f"delimiter = {given!r} is no single character", where=str(path), expected=", ".join(DELIMITERS))
        return character
    if path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    # The one the header has most of; a comma where it has none.
    return max(DELIMITERS.values(), key=first_line.count)


def text(value: Any) -> str:
    """A value as the text it is compared by: 1.0 in a column of numbers with gaps is the label 1."""
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value) if math.isfinite(value) else ""
    return str(value).strip()


def fact(value: Any) -> str | int | float | bool | None:
    """A value as a fact to slice by: a number, a text, or None where there is none."""
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return text(value) or None
