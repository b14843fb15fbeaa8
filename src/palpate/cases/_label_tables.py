"""A table that says which label a file has: for sources whose files are found first and labelled afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from palpate.cases._listing import existing, text_option, unknown_labels
from palpate.cases._tables import read_table, text
from palpate.errors import SourceError
from palpate.parts import Labels


def label_table(options: Mapping[str, Any], labels: Labels, ways: Sequence[str]) -> tuple[str, dict[str, int]]:
    """(what finds a file: one of ``ways``, its value → label) of the option ``table``. Raises SourceError."""
    path = existing({"path": text_option(options, "table")}, folder=False)
    where, column = str(path), text_option(options, "label", "label") or "label"

    def used(columns: Sequence[str]) -> list[str]:
        by = text_option(options, "by") or next((way for way in ways if way in columns), "")
        if by not in ways or by not in columns or column not in columns:
            expected = f"a column {column!r}, and one of {', '.join(ways)}; it has {', '.join(columns[:20])}"
            raise SourceError("cannot tell which file a row is of", where=where, expected=expected)
        return [by, column]

    columns, rows = read_table(path, "", used)
    by, _ = used(columns)
    known: dict[str, int] = {}
    strangers: Counter[str] = Counter()
    for row in rows:
        key, given = text(row.values[by]), text(row.values[column])
        label = labels.of(given)
        if label is None:
            strangers.update([given] if given else [])
        elif not key:  # else every file that does not say its number would get this label
            continue
        elif known.setdefault(key, label) != label:
            raise SourceError(f"line {row.number}: one {by} has two labels", where=where, expected="one label for each")
    if strangers:
        raise unknown_labels(strangers, labels, where=where, noun=f"column {column!r}: rows")
    return by, known
