"""A run's rows for other programs: every trial once, values as the ledger has them, nothing a spreadsheet would run."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from palpate.errors import RunError
from palpate.imports.answers import read_answers
from palpate.results import Results
from palpate.store import export
from palpate.store.export import REAL, TEXT, WHOLE, Table, readings, trials, write_table
from palpate.store.ledger import Ledger
from palpate.store.planned import Planned


@pytest.fixture
def ledger(finished: Path) -> Any:
    with Ledger(finished / "ledger.sqlite") as opened:
        yield opened


def by(finished: Path, ledger: Ledger) -> str:
    return Results.open(finished).study.reading_by(ledger)


def rows(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows()]


def test_every_trial_once_with_what_became_of_it(finished: Path, ledger: Ledger) -> None:
    found = rows(trials(ledger, by(finished, ledger), with_text=True))
    assert len(found) == len({r["key"] for r in found}) == len(list(Planned(ledger).all_keys())) == 2 * 12 * 12
    for row in found[::17]:
        trial, label = ledger.find(row["key"])[0]
        (response,) = ledger.responses(row["key"])
        (reading,) = ledger.readings(row["key"])
        assert (row["model"], row["task"], row["case"], row["label"]) == (trial.model, trial.task, trial.case, label)
        assert (row["name"], row["prompt"], row["form"], row["polarity"]) == (
            *(trial.prompt.name, trial.prompt.text, trial.prompt.form, trial.prompt.polarity),
        )
        assert (row["response"], row["status"], row["margin"], row["mass"], row["attempts"]) == (
            *(response.answer.text, "ok", response.answer.margin, response.answer.mass, 1),
        )
        assert (row["outcome"], row["rule"]) == (reading.outcome, reading.rule)
        assert row["right"] == int(row["outcome"] == ("positive" if label else "negative"))
        assert row["factor.suffix"] == trial.prompt.factors["suffix"]


def test_rows_agree_with_the_panels(finished: Path, ledger: Ledger) -> None:
    found = rows(trials(ledger, by(finished, ledger)))
    for panel in Results.open(finished).panels:
        mine = [r["right"] for r in found if r["model"] == panel.model and r["name"] == panel.prompts[0].name]
        codes = panel.outcome[:, 0, 0]
        assert mine == [int(code == (0 if label else 1)) for code, label in zip(codes, panel.label, strict=True)]


def test_no_text_unless_asked(finished: Path, ledger: Ledger) -> None:
    assert not {"prompt", "options", "response"} & set(trials(ledger, "x").columns)
    assert "span" not in readings(ledger).columns


def test_a_failure_and_what_was_never_asked(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "run"))
    with Ledger(copy / "ledger.sqlite") as ledger:
        keys = [key for key, *_ in ledger._select("SELECT key FROM response ORDER BY id LIMIT 2")]
        db = ledger._db
        db.execute("DELETE FROM reading WHERE response IN (SELECT id FROM response WHERE key IN (?, ?))", keys)
        db.execute("UPDATE response SET status = 'error', error = 'time-out', text = '', margin = NULL WHERE key = ?", keys[:1])
        db.execute("DELETE FROM response WHERE key = ?", keys[1:])
        found = {r["key"]: r for r in rows(trials(ledger, by(finished, ledger)))}
    assert keys[1].hex() not in found
    failed = found[keys[0].hex()]
    assert (failed["status"], failed["error"], failed["outcome"], failed["right"], failed["margin"], failed["read_by"]) == (
        *("error", "time-out", None, None, None, None),
    )


def test_every_reading_with_what_it_rests_on(ledger: Ledger) -> None:
    found = rows(readings(ledger, with_text=True))
    assert len(found) == 288
    for row in found[::29]:
        (response,) = ledger.responses(row["key"])
        (reading,) = ledger.readings(row["key"])
        assert (row["outcome"], row["read_by"], row["rule"], row["attempt"]) == (reading.outcome, reading.by, reading.rule, 1)
        assert reading.span is not None
        assert (row["span_start"], row["span_end"]) == reading.span
        assert row["span"] == response.answer.text[slice(*reading.span)]


TABLE = Table(
    {"text": TEXT, "n": WHOLE, "x": REAL},
    lambda: iter([("=cmd()", -1, -0.5), ("a,\r\n“b”", None, None), (None, 3, 1e-9), ("-yes", 0, 0.0), ("", 1, 2.0)]),
)


def test_csv_is_inert_and_numbers_stay_numbers(tmp_path: Path) -> None:
    assert write_table(TABLE, tmp_path / "new" / "t.csv") == 5
    with (tmp_path / "new" / "t.csv").open(encoding="utf-8", newline="") as file:
        head, *found = list(csv.reader(file))
    assert head == ["text", "n", "x"]
    assert found == [["'=cmd()", "-1", "-0.5"], ["a,\r\n“b”", "", ""], ["", "3", "1e-09"], ["'-yes", "0", "0.0"], ["", "1", "2.0"]]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["t.csv"]


def test_parquet_keeps_texts_and_types_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BATCH", 2)
    assert write_table(TABLE, tmp_path / "t.parquet") == 5
    found = pq.read_table(tmp_path / "t.parquet")
    assert found.to_pylist() == [dict(zip(TABLE.columns, row, strict=True)) for row in TABLE.rows()]
    assert [str(f.type) for f in found.schema] == ["string", "int64", "double"]
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 3
    empty = Table(TABLE.columns, lambda: iter(()))
    assert write_table(empty, tmp_path / "e.parquet") == 0
    assert pq.read_table(tmp_path / "e.parquet").schema.equals(found.schema)


def test_rows_are_streamed_never_held(tmp_path: Path) -> None:
    """Ten million rows must not be in memory: of 200,000, no more than a batch is alive when the next one is made."""
    alive, most = 0, 0

    class Cell(str):
        __slots__ = ()

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def many() -> Any:
        nonlocal alive, most
        for _ in range(200_000):
            alive += 1
            most = max(most, alive)
            yield (Cell("x"),)

    for name in ("t.csv", "t.parquet"):
        alive, most = 0, 0
        write_table(Table({"text": TEXT}, many), tmp_path / name)
        assert most <= 2 * export.BATCH + 2


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(RunError, match="cannot be written"):
        write_table(TABLE, tmp_path / "file" / "t.csv")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_export_with_texts_can_be_imported_again(finished: Path, ledger: Ledger, tmp_path: Path, form: str) -> None:
    target = tmp_path / f"trials.{form}"
    count = write_table(trials(ledger, by(finished, ledger), with_text=True), target)
    again = read_answers([target])
    assert len(again.answers) == count
    assert again.models == ("base", "tuned")
    own = {p.text: p for p in Planned(ledger).prompts("pneumonia_cxr")}
    for text, prompt in again.prompts["pneumonia_cxr"].items():
        assert (prompt.form, prompt.polarity, prompt.cell, prompt.options, dict(prompt.factors)) == (
            *(own[text].form, own[text].polarity, own[text].cell, own[text].options, dict(own[text].factors)),
        )


def test_pandas_reads_both(finished: Path, ledger: Ledger, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    for form, read in (("csv", pandas.read_csv), ("parquet", pandas.read_parquet)):
        write_table(trials(ledger, by(finished, ledger)), tmp_path / f"t.{form}")
        found = read(tmp_path / f"t.{form}")
        accuracy = found.groupby("model")["right"].mean()
        expected = {m: sum(r["right"] for r in of) / len(of) for m, of in per_model(finished, ledger).items()}
        assert accuracy.to_dict() == pytest.approx(expected)


def per_model(finished: Path, ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows(trials(ledger, by(finished, ledger))):
        found.setdefault(row["model"], []).append(row)
    return found


def test_arrow_reads_the_csv_as_it_reads_the_parquet(finished: Path, ledger: Ledger, tmp_path: Path) -> None:
    import pyarrow.csv as pc

    table = trials(ledger, by(finished, ledger))
    for form in ("csv", "parquet"):
        write_table(table, tmp_path / f"t.{form}")
    plain = pc.read_csv(tmp_path / "t.csv", convert_options=pc.ConvertOptions(strings_can_be_null=True))
    typed = pq.read_table(tmp_path / "t.parquet")
    assert plain.column_names == typed.column_names
    assert plain["margin"].cast(pa.float64()).to_pylist() == typed["margin"].to_pylist()
    assert plain["key"].to_pylist() == typed["key"].to_pylist()
