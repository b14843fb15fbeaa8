"""A large table as a folder of Parquet files, one folder a value (Hive's layout): read whole, or only what is asked for.

``trials/model=base/task=chest/part-00000.parquet``: DuckDB, Polars, pandas and Arrow take the folder as one table, with the columns
it is divided by, and open no file that a filter on these rules out.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, groupby, islice
from pathlib import Path
from urllib.parse import quote

from palpate.errors import RunError
from palpate.store.export import BATCH, Row, Table

FILE_ROWS = 1_000_000
"""Rows a file, at most."""
PART = re.compile(r"part-\d{5}\.parquet")


def write_partitions(table: Table, target: Path, by: Sequence[str]) -> int:
    """Write a table into the folder ``target``, divided by the columns ``by``, whose rows stand together; returns how many rows.

    The folder appears whole, in the place of an earlier one. Raises RunError where it holds anything else, or cannot be written.
    """
    foreign = next((f for f in target.rglob("*") if f.is_file() and not _ours(f, target, table)), None) if target.exists() else None
    if foreign is not None or target.is_file():
        problem = f"holds {foreign.name}, which is no part of an export" if foreign is not None else "is a file"
        raise RunError(problem, where=str(target), expected="a folder of this export's alone", hint="choose another --out")
    fresh = target.with_name(f".{target.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        count = _parts(table, fresh, by)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    except OSError as fault:
        raise RunError(f"cannot be written: {fault.strerror or fault}", where=str(target), hint="choose another --out") from None
    finally:
        with suppress(OSError):
            shutil.rmtree(fresh, ignore_errors=True)
    return count


def _ours(file: Path, target: Path, table: Table) -> bool:
    """Whether a file has the name and the place that an export of this table gives it, whatever it is divided by."""
    *folders, name = file.relative_to(target).parts
    divided = {folder.partition("=")[0] for folder in folders}
    return PART.fullmatch(name) is not None and bool(divided) and divided <= set(table.columns)


def _parts(table: Table, folder: Path, by: Sequence[str]) -> int:
    names = list(table.columns)
    places = [names.index(name) for name in by]
    rest = [i for i in range(len(names)) if i not in places]
    count, seen = 0, Counter[Path]()

    def divided(row: Row) -> Row:
        return tuple(row[i] for i in places)

    for values, group in groupby(table.rows(), divided):
        # A value may be any text: what is no letter or digit is written as Hive and URLs write it.
        inner = folder.joinpath(*(f"{name}={quote(str(value), safe='')}" for name, value in zip(by, values, strict=True)))
        inner.mkdir(parents=True, exist_ok=True)
        rows = iter(group)
        while first := next(rows, None):
            path = inner / f"part-{seen[inner]:05}.parquet"
            seen[inner] += 1
            count += _file(table, rest, path, chain((first,), islice(rows, FILE_ROWS - 1)))
    return count


def _file(table: Table, columns: Sequence[int], path: Path, rows: Iterator[Row]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = list(table.columns.items())
    schema = pa.schema([(kinds[i][0], pa.type_for_alias(kinds[i][1])) for i in columns])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(rows, BATCH)):
            arrays = [pa.array([row[i] for row in batch], field.type) for i, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(batch)
    return count
