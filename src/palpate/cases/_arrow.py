"""Images held inside Parquet files and Arrow files (what ``save_to_disk`` writes): a struct of ``bytes`` and ``path`` per row.

Rows are found by number, and their bytes are read when an image is opened, in whatever process: a data set of eleven
gigabytes is never in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palpate.cases._images import MAX_BYTES, ChangedSincePlanned, Checked, Undecodable, decode, described, digest
from palpate.errors import SourceError

if TYPE_CHECKING:
    from PIL.Image import Image

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather")


@dataclass(frozen=True, slots=True)
class RowImage:
    """The image of one row of one file (an ``ImageRef``)."""

    path: str
    row: int
    column: str
    digest: str

    def open(self) -> Image:
        """The image as 8-bit RGB, upright. Raises Undecodable (a ValueError) or OSError, also where the file has changed."""
        data = row_bytes(Path(self.path), self.row, self.column)
        if digest(data) != self.digest:
            raise ChangedSincePlanned
        return decode(data)[0]


def check_row(path: Path, row: int, column: str) -> Checked:
    """Reads and decodes one row's image once. Raises Undecodable with the reason."""
    try:
        data = row_bytes(path, row, column)
    except OSError as error:
        raise Undecodable(f"cannot be read: {error.strerror or error}") from error
    _, settings = decode(data)
    return Checked(RowImage(str(path), row, column, digest(data)), settings, file=described(data))


def row_bytes(path: Path, row: int, column: str) -> bytes:
    """The encoded image of one row. Raises Undecodable or OSError."""
    value = _faithful(lambda: _cell(path, row, column), path)
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if data is None and isinstance(value, Mapping) and value.get("path"):
        raise Undecodable("holds only the path of an image, not the image: save the data set with its images embedded")
    if not isinstance(data, bytes) or not data:
        raise Undecodable("holds no image")
    if len(data) > MAX_BYTES:
        raise Undecodable(f"holds {len(data) / 2**20:,.0f} MB, more than the {MAX_BYTES / 2**20:,.0f} MB allowed")
    return data


def _faithful(read: Callable[[], Any], path: Path) -> Any:
    """What ``read`` gives; whatever pyarrow makes of a damaged file is one reason."""
    import pyarrow as pa

    try:
        return read()
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError, OverflowError) as error:
        raise Undecodable(f"{path.name} is damaged: {(str(error).splitlines() or [type(error).__name__])[0][:120]}") from error


def _cell(path: Path, row: int, column: str) -> Any:
    if path.suffix.lower() in PARQUET:
        group, within = _row_group(path, row)
        return _group_column(path, group, column, path.stat().st_mtime_ns)[within].as_py()
    return _arrow_table(path, path.stat().st_mtime_ns)[column][row].as_py()


def _row_group(path: Path, row: int) -> tuple[int, int]:
    for group, size in enumerate(_group_sizes(path, path.stat().st_mtime_ns)):
        if row < size:
            return group, row
        row -= size
    raise ChangedSincePlanned("the file has fewer rows than when the study was planned")


@lru_cache(maxsize=64)
def _group_sizes(path: Path, modified: int) -> tuple[int, ...]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return tuple(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))


@lru_cache(maxsize=2)
def _group_column(path: Path, group: int, column: str, modified: int) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, columns=[column])[column]


@lru_cache(maxsize=64)
def _arrow_table(path: Path, modified: int) -> Any:
    """A memory-mapped Arrow file, of the streaming or the random-access kind: nothing is read before it is used."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            return pa.ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            source.seek(0)
            return pa.ipc.open_file(source).read_all()


# ---------------------------------------------------------------- a data set's facts


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a data set: its rows, and its columns without the images, as lists; ``paths`` are the images' own names."""

    path: Path
    columns: Mapping[str, Sequence[Any]]
    paths: Sequence[str]


def columns_of(path: Path) -> Any:
    """The schema of a file. Raises SourceError where it is no Parquet or Arrow file."""
    import pyarrow.parquet as pq

    def schema() -> Any:
        if path.suffix.lower() in PARQUET:
            return pq.read_schema(path)
        return _arrow_table(path, path.stat().st_mtime_ns).schema

    try:
        return _faithful(schema, path)
    except (Undecodable, OSError) as error:
        raise SourceError(f"is no Parquet or Arrow file: {error}", where=str(path)) from error


def class_names(schema: Any) -> dict[str, list[str]]:
    """Column → names of its classes, where the data set says them (a ``ClassLabel``): integers in the file mean these."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {
            name: list(map(str, feature["names"]))
            for name, feature in features.items()
            if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def read_shard(path: Path, columns: Sequence[str], image: str) -> Shard:
    """The facts of every row, no image among them. Raises SourceError where the file cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def read() -> Shard:
        of_image = columns_of(path).field(image).type
        has_path = pa.types.is_struct(of_image) and of_image.get_field_index("path") >= 0
        if path.suffix.lower() in PARQUET:
            with pq.ParquetFile(path) as file:
                table = file.read(columns=[*columns, *([f"{image}.path"] if has_path else [])])
        else:
            table = _arrow_table(path, path.stat().st_mtime_ns)
        rows = table.num_rows
        paths = pa.compute.struct_field(table[image], "path").to_pylist() if has_path else [""] * rows
        return Shard(path, {c: table[c].to_pylist() for c in columns}, [p or "" for p in paths])

    try:
        found: Shard = _faithful(read, path)
    except (Undecodable, OSError) as error:
        raise SourceError(str(error), where=str(path)) from error
    return found
