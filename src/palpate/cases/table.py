"""Images listed in a CSV, TSV or Parquet file: one row per image, with its label, its patient and what to slice by."""

from __future__ import annotations

import csv
import math
import os.path
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, ClassVar

from palpate.cases._listing import Listed, case_set, existing, text_option, unknown_labels, unknown_options
from palpate.errors import SourceError
from palpate.nouns import CaseSet, LeftOut
from palpate.parts import Labels, Sample

IMAGE_COLUMNS = ("file", "image", "path", "filename", "file_name", "image_path")
DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "bar": "|"}


@dataclass(frozen=True, slots=True)
class _Row:
    number: int  # the line in a text file, the row (from 1) in a Parquet file
    values: Mapping[str, Any]


class TableSource:
    """One row per image. Only the columns named are read; of those, only ``metadata`` enters a case as it is."""

    name: ClassVar[str] = "table"
    options: ClassVar[Mapping[str, str]] = {
        "path": "the table: .csv, .tsv or .parquet",
        "image": f"column with the image's path (default: the first of {', '.join(IMAGE_COLUMNS)})",
        "label": "column with the label (default: label)",
        "group": "column with the patient or slide; it is hashed (default: none, every image stands alone)",
        "metadata": 'columns to slice by, such as ["age", "sex"]; never identifiers (default: none)',
        "root": "folder the image paths are relative to (default: the table's own)",
        "delimiter": "comma, tab, semicolon or bar, or the character (default: found in the first line)",
        "salt": "secret text that keys the hash of patient and slide names (default: none)",
    }

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Cases sorted by image path. Raises SourceError for a table that is wrong as a whole; a bad row or image is LeftOut."""
        unknown_options(options, self.options)
        path = existing(options, folder=False)
        columns, rows = _read(path, options)
        image, label, group, metadata = _columns(columns, options, where=str(path))
        root = _root(options, path)
        _check_labels(rows, label, labels, where=str(path))
        listed: dict[str, Listed] = {}
        first_row: dict[str, int] = {}
        left_out: list[LeftOut] = []
        for row in rows:
            given = _text(row.values[image])
            value = labels.of(_text(row.values[label]))
            name, problem = _below(given, root)
            if problem or value is None:
                left_out.append(LeftOut(given or f"line {row.number}", f"line {row.number} {problem or 'has no label'}"))
                continue
            if name in first_row:
                raise SourceError(
                    f"lines {first_row[name]} and {row.number}, column {image!r}: both name {name}",
                    where=str(path),
                    expected="one row per image: several labels of one image are no two cases",
                )
            first_row[name] = row.number
            of_group = _text(row.values[group]) if group else ""
            facts = {key: fact for key in metadata if (fact := _fact(row.values[key])) is not None}
            listed[name] = Listed(name, root / name, value, of_group or None, facts)
        if not listed:
            first = f": {left_out[0].reason}" if left_out else ""
            raise SourceError(f"no row can be used{first}", where=str(path), expected="rows with an image and a label")
        _check_some_exist(listed, root, where=str(path))
        return case_set(list(listed.values()), sample, text_option(options, "salt"), left_out)


# ---------------------------------------------------------------- reading


def _read(path: Path, options: Mapping[str, Any]) -> tuple[list[str], list[_Row]]:
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path, options)
    return _read_text(path, text_option(options, "delimiter"))


def _read_parquet(path: Path, options: Mapping[str, Any]) -> tuple[list[str], list[_Row]]:
    """Only the columns that are asked for: a Parquet file of images may hold gigabytes in the others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = list(file.schema_arrow.names)
            _refuse_embedded(file.schema_arrow, _columns(columns, options, where=str(path))[0], str(path))
            wanted = [column for column in _columns(columns, options, where=str(path)) if column]
            flat = {column for part in wanted for column in ([part] if isinstance(part, str) else part)}
            data = file.read(columns=sorted(flat)).to_pydict()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(f"is not a readable Parquet file: {str(error).splitlines()[0]}", where=str(path)) from error
    names = list(data)
    return columns, [
        _Row(n, dict(zip(names, values, strict=True))) for n, values in enumerate(zip(*data.values(), strict=True), start=1)
    ]


def _refuse_embedded(schema: Any, column: str, where: str) -> None:
    kind = str(schema.field(column).type)
    if "string" not in kind or kind.startswith(("struct", "list")):
        raise SourceError(
            f"column {column!r} holds {kind}, not paths", where=where, expected="a text column with the images' paths"
        )


def _read_text(path: Path, delimiter: str) -> tuple[list[str], list[_Row]]:
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


def _rows(reader: Any, columns: Sequence[str], where: str) -> Iterator[_Row]:
    for values in reader:
        if not values:
            continue  # an empty line
        if len(values) != len(columns):
            problem = f"line {reader.line_num}: {len(values)} values for {len(columns)} columns"
            raise SourceError(problem, where=where, expected=f"one value each for {', '.join(columns)}")
        yield _Row(reader.line_num, dict(zip(columns, values, strict=True)))


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


# ---------------------------------------------------------------- columns and values


def _columns(columns: Sequence[str], options: Mapping[str, Any], *, where: str) -> tuple[str, str, str, tuple[str, ...]]:
    """(image, label, group or "", metadata) as names of existing columns."""
    image = text_option(options, "image") or next((c for c in IMAGE_COLUMNS if c in columns), "")
    if not image:
        raise SourceError(
            f"no column {', '.join(IMAGE_COLUMNS)}", where=where, expected=_has(columns), hint='image = "…", the column of paths'
        )
    label, group = text_option(options, "label", "label") or "label", text_option(options, "group")
    metadata = options.get("metadata", ())
    if not isinstance(metadata, list | tuple) or not all(isinstance(column, str) for column in metadata):
        raise SourceError(f"metadata = {metadata!r} is no list of columns", where=where, expected='metadata = ["age", "sex"]')
    for option, column in (("image", image), ("label", label), ("group", group), *(("metadata", column) for column in metadata)):
        if column and column not in columns:
            raise SourceError(
                f"no column {column!r}, named by {option}", where=where, expected=_has(columns), hint=f'{option} = "…"'
            )
    for column in metadata:
        if column in (image, group):
            expected = "facts to slice by: the ledger holds metadata as it is, and must hold no identifier"
            raise SourceError(f"metadata: column {column!r} names images or patients", where=where, expected=expected)
    return image, label, group, tuple(metadata)


def _has(columns: Sequence[str]) -> str:
    return f"one of its columns: {', '.join(columns[:30])}{' …' if len(columns) > 30 else ''}" if columns else "a header line"


def _root(options: Mapping[str, Any], table: Path) -> Path:
    given = text_option(options, "root")
    return existing({"path": given}, folder=True) if given else table.parent


def _check_labels(rows: Sequence[_Row], column: str, labels: Labels, *, where: str) -> None:
    counts = Counter(_text(row.values[column]) for row in rows)
    strangers = {value: count for value, count in counts.items() if value and labels.of(value) is None}
    if strangers:
        raise unknown_labels(strangers, labels, where=where, noun=f"column {column!r}: rows")


def _check_some_exist(listed: Mapping[str, Listed], root: Path, *, where: str) -> None:
    if not any(entry.path.exists() for entry in listed.values()):
        name = next(iter(listed))
        raise SourceError(
            f"none of its {len(listed):,} images is below {root}: no {name} there",
            where=where,
            expected="image paths relative to the table's folder",
            hint='root = "…", the folder the paths start from',
        )


def _below(given: str, root: Path) -> tuple[str, str]:
    """(path relative to ``root``, why it is not followed): a table must not reach files its folder does not hold."""
    if not given:
        return "", "names no image"
    foreign_drive = bool(PureWindowsPath(given).drive) and not Path(given).is_absolute()
    inside = Path(os.path.normpath(root / given))  # not resolve(): a link inside the folder may lead to where the data are
    base = Path(os.path.normpath(root))
    if "\0" in given or foreign_drive or not inside.is_relative_to(base):
        return "", f"names a path outside {root}"
    return inside.relative_to(base).as_posix(), ""


def _text(value: Any) -> str:
    """A value as the text it is compared by: 1.0 in a column of numbers with gaps is the label 1."""
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value) if math.isfinite(value) else ""
    return str(value).strip()


def _fact(value: Any) -> str | int | float | bool | None:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _text(value) or None


PARTS = (TableSource(),)
