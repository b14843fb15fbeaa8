"""A run's trials and readings as tidy tables, CSV or Parquet, streamed: one row per trial, one per reading.

The columns are those of ``palpate import`` wherever both have them, so that an export with texts can be imported again.
Nothing is held but one batch of rows and the plan's cases.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

from palpate.errors import RunError
from palpate.nouns import Outcome, Perturbation, Prompt
from palpate.store.folder import inert
from palpate.store.ledger import Ledger
from palpate.store.planned import Planned, PlannedCase

BATCH = 20_000  # rows in memory at once: some 20 MB
TEXT, WHOLE, REAL = "string", "int64", "double"
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """Named, typed columns and a stream of rows in their order; a missing value is None."""

    columns: Mapping[str, str]  # name → TEXT, WHOLE or REAL
    rows: Callable[[], Iterator[Row]]


def trials(ledger: Ledger, read_by: str, *, with_text: bool = False) -> Table:
    """One row per trial of the last plan that was asked: its last attempt, as ``read_by`` read it.

    ``right`` is 1 or 0 (any answer that is no definite one is not right), and empty where there is no reading.
    ``with_text``: also the question, its options and the model's own words.
    """
    planned = Planned(ledger)
    recorded = {task: {name: facts for name, (*_, facts) in ledger.cases(task).items()} for task in planned.tasks}
    facts = sorted({name for cases in recorded.values() for found in cases.values() for name in found})
    factors = sorted({name for task in planned.tasks for p in planned.prompts(task) for name in p.factors})
    columns = {
        **dict.fromkeys(("key", "model", "task", "case", "group"), TEXT),
        "label": WHOLE,
        "condition": TEXT,
        "perturbation": TEXT,
        "severity": WHOLE,
        **dict.fromkeys(("name", "form", "polarity", "cell"), TEXT),
        **{f"factor.{name}": TEXT for name in factors},
        **{f"fact.{name}": TEXT for name in facts},
        "repeat": WHOLE,
        "attempts": WHOLE,
        "status": TEXT,
        "error": TEXT,
        "margin": REAL,
        "mass": REAL,
        "tokens_in": WHOLE,
        "tokens_out": WHOLE,
        "seconds": REAL,
        "outcome": TEXT,
        "right": WHOLE,
        "rule": TEXT,
        "read_by": TEXT,
        **(dict.fromkeys(("prompt", "options", "response"), TEXT) if with_text else {}),
    }
    last = _LAST.replace("{text}", ", r.text" if with_text else "")

    def rows() -> Iterator[Row]:
        for places in _many(_places(planned)):
            found = {row[0]: row[1:] for row in _of(ledger, last, places, (read_by,))}  # in the order of attempts: the last stays
            for task, model, perturbation, case, prompt, repeat, key in places:
                answer = found.get(key)
                if answer is None:
                    continue
                attempts, status, error, margin, mass, tokens_in, tokens_out, seconds, outcome, rule, *text = answer
                known = recorded[task][case.name]
                yield (
                    *(key.hex(), model, task, case.name, case.group, case.label),
                    *(str(perturbation), perturbation.name, perturbation.severity),
                    *(prompt.name, str(prompt.form), str(prompt.polarity), prompt.cell),
                    *(prompt.factors.get(name) for name in factors),
                    *(_plain(known.get(name)) for name in facts),
                    *(repeat, attempts, status, error, margin, mass, tokens_in, tokens_out, seconds),
                    *(outcome, _right(outcome, case.label), rule, read_by if outcome is not None else None),
                    *((prompt.text, "|".join(prompt.options) if prompt.options else None, *text) if with_text else ()),
                )

    return Table(columns, rows)


def readings(ledger: Ledger, *, with_text: bool = False) -> Table:
    """One row per reading of every attempt at the last plan's trials, whoever read it. ``with_text``: also what it rests on."""
    planned = Planned(ledger)
    columns = {
        "key": TEXT,
        "attempt": WHOLE,
        **dict.fromkeys(("read_by", "outcome", "rule"), TEXT),
        **dict.fromkeys(("span_start", "span_end"), WHOLE),
        **({"span": TEXT} if with_text else {}),
    }
    every = _READINGS.replace("{text}", ", substr(r.text, d.low + 1, d.high - d.low)" if with_text else "")

    def rows() -> Iterator[Row]:
        for places in _many(_places(planned)):
            found: dict[bytes, list[Row]] = {}
            for key, *read in _of(ledger, every, places):
                found.setdefault(key, []).append((key.hex(), *read))
            for *_, key in places:
                yield from found.get(key, ())

    return Table(columns, rows)


_LAST = (
    "SELECT r.key, r.attempt, r.status, r.error, r.margin, r.mass, r.tokens_in, r.tokens_out, r.seconds, d.outcome, d.rule{text}"
    " FROM response r LEFT JOIN reading d ON d.response = r.id AND d.method = ? WHERE r.key IN ({keys}) ORDER BY r.attempt"
)
_READINGS = (
    "SELECT r.key, r.attempt, d.method, d.outcome, d.rule, d.low, d.high{text}"
    " FROM response r JOIN reading d ON d.response = r.id WHERE r.key IN ({keys}) ORDER BY r.attempt, d.method"
)
AT_ONCE = 500  # keys looked up at a time
_Place = tuple[str, str, Perturbation, PlannedCase, Prompt, int, bytes]


def _many(places: Iterator[_Place]) -> Iterator[list[_Place]]:
    while found := list(islice(places, AT_ONCE)):
        yield found


def _of(ledger: Ledger, query: str, places: Sequence[_Place], values: Sequence[object] = ()) -> Iterator[Row]:
    wanted = [key for *_, key in places]
    return ledger._select(query.replace("{keys}", ",".join("?" * len(wanted))), (*values, *wanted))


def _places(planned: Planned) -> Iterator[_Place]:
    """Every trial of the plan in its order, with its key."""
    for task in planned.tasks:
        cases, asked = planned.cases(task), {p: planned.asked(task, p) for p in planned.perturbations}
        for model, (perturbation, prompts) in product(planned.models, asked.items()):
            keys = planned.keys(task, model, perturbation, prompts)
            for (case, prompt, repeat), key in zip(product(cases, prompts, range(planned.repeats)), keys, strict=True):
                yield task, model, perturbation, case, prompt, repeat, key


def _plain(value: object) -> str | None:
    return None if value is None else str(value)


def _right(outcome: str | None, label: int) -> int | None:
    if outcome is None:
        return None
    return int(outcome == (Outcome.POSITIVE if label else Outcome.NEGATIVE))


# ---------------------------------------------------------------- files


def write_table(table: Table, target: Path) -> int:
    """Write a table to ``target``, as its ending says (.csv or .parquet); returns how many rows. The file appears whole.

    In a CSV file, text that a spreadsheet would run is put after an apostrophe; Parquet keeps every text as it is.
    """
    fresh = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        count = _parquet(table, fresh) if target.suffix == ".parquet" else _csv(table, fresh)
        fresh.replace(target)
    except OSError as fault:
        raise RunError(f"cannot be written: {fault.strerror or fault}", where=str(target), hint="choose another --out") from None
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
    return count


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


def _csv(table: Table, path: Path) -> int:
    texts = [kind == TEXT for kind in table.columns.values()]
    count = 0
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)  # with CRLF, as RFC 4180 has it: else a lone CR in a text goes unquoted
        writer.writerow([inert(name) for name in table.columns])
        for batch in _batches(table.rows()):
            writer.writerows([_cells(row, texts) for row in batch])
            count += len(batch)
    return count


def _cells(row: Row, texts: Sequence[bool]) -> Iterable[Any]:
    return [inert(value) if text and value is not None else value for value, text in zip(row, texts, strict=True)]


def _parquet(table: Table, path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in table.columns.items()])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in _batches(table.rows()):
            columns = [pa.array(column, field.type) for column, field in zip(zip(*batch, strict=True), schema, strict=True)]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            count += len(batch)
    return count
