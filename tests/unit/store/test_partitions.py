"""A large export as a folder: one table to DuckDB, Polars, pandas and Arrow, divided by model and task, whole or not there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from palpate import results
from palpate.errors import RunError
from palpate.results import Results
from palpate.store import export, partitions
from palpate.store.export import REAL, TEXT, WHOLE, Table, trials
from palpate.store.ledger import Ledger
from palpate.store.partitions import write_partitions
from palpate.store.planned import Planned
from small import Cli

ROWS = [
    ("a/b", "chest", "k1", 1, 0.5),
    ("a/b", "chest", "k2", None, None),
    ("a/b", "wrist=ü", "k3", 0, 1.5),
    ("..", "chest", "k4", 1, None),
    ("..", "chest", "k5", 1, -2.0),
    ("..", "chest", "k6", 1, -2.0),
]
TABLE = Table({"model": TEXT, "task": TEXT, "key": TEXT, "right": WHOLE, "margin": REAL}, lambda: iter(ROWS))


def as_rows(folder: Path) -> list[tuple[Any, ...]]:
    table = ds.dataset(folder, partitioning="hive").to_table(columns=list(TABLE.columns))
    return [tuple(row.values()) for row in table.to_pylist()]


def test_every_row_once_under_its_values(tmp_path: Path) -> None:
    assert write_partitions(TABLE, tmp_path / "out" / "trials", ("model", "task")) == 6
    assert sorted(as_rows(tmp_path / "out" / "trials"), key=str) == sorted(ROWS, key=str)
    files = sorted(f.relative_to(tmp_path / "out").as_posix() for f in tmp_path.rglob("*.parquet"))
    assert files == [
        "trials/model=../task=chest/part-00000.parquet",
        "trials/model=a%2Fb/task=chest/part-00000.parquet",
        "trials/model=a%2Fb/task=wrist%3D%C3%BC/part-00000.parquet",
    ]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["trials"]


@pytest.mark.parametrize(("rows", "batch"), [(1, 1), (2, 1), (2, 2), (3, 2), (100, 100)])
def test_files_and_batches_are_bounded(tmp_path: Path, rows: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "FILE_ROWS", rows)
    monkeypatch.setattr(partitions, "BATCH", batch)
    assert write_partitions(TABLE, tmp_path / "trials", ("model", "task")) == 6
    assert as_rows(tmp_path / "trials") == sorted(ROWS, key=lambda row: (row[0] != "..", row[1]))
    for file in tmp_path.rglob("*.parquet"):
        found = pq.ParquetFile(file)
        assert 1 <= found.metadata.num_rows <= rows
        assert all(found.metadata.row_group(i).num_rows <= batch for i in range(found.num_row_groups))


def test_one_column_is_enough(tmp_path: Path) -> None:
    write_partitions(TABLE, tmp_path / "trials", ("model",))
    assert sorted(as_rows(tmp_path / "trials"), key=str) == sorted(ROWS, key=str)


def test_an_earlier_export_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    write_partitions(TABLE, tmp_path / "trials", ("model", "task"))
    fewer = Table(TABLE.columns, lambda: iter(ROWS[:1]))
    assert write_partitions(fewer, tmp_path / "trials", ("model", "task")) == 1
    assert as_rows(tmp_path / "trials") == ROWS[:1]
    (tmp_path / "trials" / "mine.txt").touch()
    with pytest.raises(RunError, match=r"holds mine\.txt"):
        write_partitions(TABLE, tmp_path / "trials", ("model", "task"))
    (tmp_path / "trials" / "mine.txt").unlink()
    assert as_rows(tmp_path / "trials") == ROWS[:1]
    other = tmp_path / "trials" / "year=2024" / "part-00000.parquet"  # another program's table, named as all of them name it
    other.parent.mkdir()
    other.touch()
    with pytest.raises(RunError, match="no part of an export"):
        write_partitions(TABLE, tmp_path / "trials", ("model", "task"))
    assert other.exists()
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file"):
        write_partitions(TABLE, tmp_path / "file", ("model", "task"))


def test_an_export_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    write_partitions(TABLE, tmp_path / "trials", ("model", "task"))

    def breaks():
        yield ROWS[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left on device"):
        write_partitions(Table(TABLE.columns, breaks), tmp_path / "trials", ("model", "task"))
    assert len(as_rows(tmp_path / "trials")) == 6
    assert [p.name for p in tmp_path.iterdir()] == ["trials"]


# ---------------------------------------------------------------- a run


@pytest.fixture
def whole(finished: Path) -> list[dict[str, Any]]:
    with Ledger(finished / "ledger.sqlite") as ledger:
        table = trials(ledger, Results.open(finished).study.reading_by(ledger))
        return [dict(zip(table.columns, row, strict=True)) for row in table.rows()]


@pytest.fixture
def folder(finished: Path, tmp_path: Path, cli: Cli) -> Path:
    told = cli("export", finished, "trials", "--partition", "--out", tmp_path / "out")
    assert told.stdout == f"{tmp_path / 'out' / 'trials'}: 288 rows\n"
    return tmp_path / "out" / "trials"


def test_a_run_is_divided_by_model_and_task(folder: Path, whole: list[dict[str, Any]]) -> None:
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*.parquet")} == {
        f"model={model}/task=pneumonia_cxr/part-00000.parquet" for model in ("base", "tuned")
    }
    assert len(whole) == 288


def test_duckdb_polars_and_pandas_read_it_as_one_table(folder: Path, whole: list[dict[str, Any]]) -> None:
    right = Counter()
    for row in whole:
        right[row["model"], row["name"]] += row["right"]
    query = f"SELECT model, name, sum(\"right\") FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true) GROUP BY ALL"
    assert {(m, n): int(k) for m, n, k in duckdb.sql(query).fetchall()} == right
    polars = pl.scan_parquet(folder, hive_partitioning=True).group_by("model", "name").agg(pl.col("right").sum()).collect()
    assert {(m, n): k for m, n, k in polars.rows()} == right
    pandas = pd.read_parquet(folder).groupby(["model", "name"], observed=True)["right"].sum()
    assert pandas.to_dict() == right


def test_every_value_is_that_of_the_undivided_export(folder: Path, whole: list[dict[str, Any]]) -> None:
    table = ds.dataset(folder, partitioning="hive").to_table(columns=list(whole[0]))
    assert sorted(table.to_pylist(), key=lambda row: row["key"]) == sorted(whole, key=lambda row: row["key"])


def test_a_filter_opens_no_other_files(folder: Path) -> None:
    found = ds.dataset(folder, partitioning="hive").get_fragments(filter=ds.field("model") == "tuned")
    assert ["model=tuned" in fragment.path for fragment in found] == [True]


def test_large_runs_are_divided_unless_told_otherwise(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Results.open(finished)
    with run.folder.ledger() as ledger:
        assert Planned(ledger).n_trials == 288
    monkeypatch.setattr(results, "LARGE", 287)
    made = [run.export(["trials"], tmp_path, **more)[0][0].name for more in ({}, {"partition": False}, {"form": "csv"})]
    assert made == ["trials", "trials.parquet", "trials.csv"]
    monkeypatch.setattr(results, "LARGE", 288)
    assert run.export(["trials"], tmp_path)[0][0].name == "trials.parquet"
    with pytest.raises(RunError, match="is of Parquet files"):
        run.export(["trials"], tmp_path, form="csv", partition=True)


@pytest.mark.parametrize("at_once", [1, 7, 500])
def test_rows_do_not_depend_on_how_many_are_looked_up_at_once(
    finished: Path, whole: list[dict[str, Any]], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "AT_ONCE", at_once)
    with Ledger(finished / "ledger.sqlite") as ledger:
        table = trials(ledger, Results.open(finished).study.reading_by(ledger))
        assert [dict(zip(table.columns, row, strict=True)) for row in table.rows()] == whole
