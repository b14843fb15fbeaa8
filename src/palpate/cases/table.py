"""Images listed in a CSV, TSV or Parquet file: one row per image, with its label, its patient and what to slice by."""

from __future__ import annotations

import os.path
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any, ClassVar

from palpate.cases import _grouping
from palpate.cases._grouping import Grouping
from palpate.cases._images import SUFFIXES
from palpate.cases._listing import Listed, case_set, existing, salt_of, text_option, unknown_labels, unknown_options
from palpate.cases._slides import REGION_COLUMNS, check_region, region_of
from palpate.cases._tables import ONE_EACH, SEVERAL, Row, fact, read_table, text
from palpate.errors import SourceError
from palpate.nouns import CaseSet, LeftOut
from palpate.parts import Labels, Sample

IMAGE_COLUMNS = ("file", "image", "path", "filename", "file_name", "image_path")


@dataclass(frozen=True, slots=True)
class _Columns:
    """Names of existing columns; "" where the source has none."""

    image: str
    label: str
    group: str
    metadata: tuple[str, ...]
    region: tuple[str, ...]

    def used(self) -> set[str]:
        return {c for c in (self.image, self.label, self.group, *self.metadata, *self.region) if c}


class TableSource:
    """One row per image. Only the columns named are read; of those, only ``metadata`` enters a case as it is."""

    name: ClassVar[str] = "table"
    options: ClassVar[Mapping[str, str]] = {
        "path": "the table: .csv, .tsv or .parquet",
        "image": f"column with the image's path (default: the first of {', '.join(IMAGE_COLUMNS)})",
        "label": "column with the label (default: label)",
        "group": "column with the patient or slide; it is hashed (default: none, every image stands alone)",
        "metadata": 'columns to slice by, such as ["age", "sex"]; never identifiers (default: none)',
        "region": f"true: rows are regions of whole slides, in columns {', '.join(REGION_COLUMNS)} (default: false)",
        "root": "folder the image paths are relative to (default: the table's own)",
        "outside": "true: paths may lead out of root (default: false)",
        "delimiter": "comma, tab, semicolon or bar, or the character (default: found in the first line)",
        **_grouping.OPTIONS,
    }

    def needs(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The modules it takes that the core goes without."""
        return ("tiffslide",) if options.get("region") else ()

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Cases sorted by image path. Raises SourceError for a table that is wrong as a whole; a bad row or image is LeftOut."""
        unknown_options(options, self.options)
        path = existing(options, folder=False)
        where = str(path)
        chosen = partial(_columns, options=options, where=where)
        columns, rows = read_table(path, text_option(options, "delimiter"), lambda found: chosen(found).used())
        used, root = chosen(columns), _root(options, path)
        _check_labels(rows, used.label, labels, where=where)
        group_of = Grouping(options, where=where)
        if used.group and group_of:
            raise SourceError("both group and a pattern or function for it are given", where=where, expected="one of them")
        listed: dict[str, Listed] = {}
        first_row: dict[str, int] = {}
        left_out: list[LeftOut] = []
        for row in rows:
            given = text(row.values[used.image])
            value = labels.of(text(row.values[used.label]))
            _refuse_several(given, row, used.image, where)
            name, problem = _below(given, root, outside=options.get("outside", False))
            region = ""
            if used.region and not problem:
                region, problem = region_of(row.values)
            if problem or value is None:
                left_out.append(LeftOut(given or f"line {row.number}", f"line {row.number} {problem or 'has no label'}"))
                continue
            file = root / name
            name += region
            _refuse_twice(name, row, first_row, used.image, where)
            group = text(row.values[used.group]) if used.group else group_of(name)
            facts = {key: found for key in used.metadata if (found := fact(row.values[key])) is not None}
            opened = partial(check_region, file, region) if used.region else None
            listed[name] = Listed(name, file, value, group or None, {**facts, **group_of.facts(group)}, opened)
        if not listed:
            first = f": {left_out[0].reason}" if left_out else ""
            raise SourceError(f"no row can be used{first}", where=where, expected="rows with an image and a label")
        _check_some_exist(listed, root, where=where)
        group_of.refuse_useless((entry.group for entry in listed.values()), len(listed), next(iter(listed)))
        return case_set(list(listed.values()), sample, salt_of(options), left_out)


# ---------------------------------------------------------------- columns and values


def _columns(columns: Sequence[str], options: Mapping[str, Any], *, where: str) -> _Columns:
    """The columns the options name. Raises SourceError for one that is not there."""
    image = text_option(options, "image") or next((c for c in IMAGE_COLUMNS if c in columns), "")
    if not image:
        raise SourceError(
            f"no column {', '.join(IMAGE_COLUMNS)}", where=where, expected=_has(columns), hint='image = "…", the column of paths'
        )
    label, group = text_option(options, "label", "label") or "label", text_option(options, "group")
    metadata = options.get("metadata", ())
    if not isinstance(metadata, list | tuple) or not all(isinstance(column, str) for column in metadata):
        raise SourceError(f"metadata = {metadata!r} is no list of columns", where=where, expected='metadata = ["age", "sex"]')
    region = REGION_COLUMNS if _flag(options, "region", where) else ()
    named = (("image", image), ("label", label), ("group", group), *_each("metadata", metadata), *_each("region", region))
    for option, column in named:
        if column and column not in columns:
            raise SourceError(
                f"no column {column!r}, named by {option}", where=where, expected=_has(columns), hint=f'{option} = "…"'
            )
    for column in metadata:
        if column in (image, group):
            expected = "facts to slice by: the ledger holds metadata as it is, and must hold no identifier"
            raise SourceError(f"metadata: column {column!r} names images or patients", where=where, expected=expected)
    return _Columns(image, label, group, tuple(metadata), region)


def _each(option: str, columns: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((option, column) for column in columns)


def _flag(options: Mapping[str, Any], key: str, where: str) -> bool:
    given = options.get(key, False)
    if not isinstance(given, bool):
        raise SourceError(f"{key} = {given!r} is neither true nor false", where=where, expected=f"{key} = true")
    return given


def _refuse_several(given: str, row: Row, column: str, where: str) -> None:
    """A cell that lists images is no image: which of them a model would be shown must not be guessed."""
    parts = [part.strip(" '\"[]") for part in re.split(r"[;|,]", given)]
    paths = [part for part in parts if Path(part).suffix.lower() in SUFFIXES]
    if len(paths) > 1 and len(paths) == len(parts):
        problem = f"line {row.number}, column {column!r}: {SEVERAL}, {paths[0]} and {len(paths) - 1} more"
        raise SourceError(problem, where=where, expected=ONE_EACH)


def _refuse_twice(name: str, row: Row, first_row: dict[str, int], column: str, where: str) -> None:
    if name in first_row:
        raise SourceError(
            f"lines {first_row[name]} and {row.number}, column {column!r}: both name {name}",
            where=where,
            expected="one row per image: several labels of one image are no two cases",
        )
    first_row[name] = row.number


def _has(columns: Sequence[str]) -> str:
    return f"one of its columns: {', '.join(columns[:30])}{' …' if len(columns) > 30 else ''}" if columns else "a header line"


def _root(options: Mapping[str, Any], table: Path) -> Path:
    given = text_option(options, "root")
    return existing({"path": given}, folder=True) if given else table.parent


def _check_labels(rows: Sequence[Row], column: str, labels: Labels, *, where: str) -> None:
    counts = Counter(text(row.values[column]) for row in rows)
    strangers = {value: count for value, count in counts.items() if value and labels.of(value) is None}
    if strangers:
        raise unknown_labels(strangers, labels, where=where, noun=f"column {column!r}: rows")


def _check_some_exist(listed: Mapping[str, Listed], root: Path, *, where: str) -> None:
    if not any(os.path.exists(entry.path) for entry in listed.values()):  # noqa: PTH110 - Path's own raises for too long a name
        first = next(iter(listed))
        name = first if len(first) <= 80 else f"{first[:80]}…"
        raise SourceError(
            f"none of its {len(listed):,} images is below {root}: no {name} there",
            where=where,
            expected="image paths relative to the table's folder",
            hint='root = "…", the folder the paths start from',
        )


def _below(given: str, root: Path, *, outside: bool) -> tuple[str, str]:
    """(path relative to ``root``, why it is not followed): a table must not reach files its folder does not hold."""
    if not given:
        return "", "names no image"
    foreign_drive = bool(PureWindowsPath(given).drive) and not Path(given).is_absolute()
    inside = Path(os.path.normpath(root / given))  # not resolve(): a link inside the folder may lead to where the data are
    base = Path(os.path.normpath(root))
    if "\0" in given or foreign_drive:
        return "", "names no path of this system"
    if inside.is_relative_to(base):
        return inside.relative_to(base).as_posix(), ""
    return (inside.as_posix(), "") if outside else ("", f"names a path outside {root}")


PARTS = (TableSource(),)
