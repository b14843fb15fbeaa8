"""Answers as columns: every key found where it is and nowhere else, the last attempt of each, and nothing of the texts."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palpate.nouns import OUTCOME_CODE, Outcome, Status
from palpate.store.columns import STATUS_CODE, answer_table, as_numbers, key_index
from palpate.store.ledger import Ledger

A, B, C, D = (bytes([0] * 7 + [i] * 9) for i in range(4))


def row(key: bytes, attempt: int = 1, status: str = "ok", outcome: str | None = None, margin: float | None = None, error: str = ""):
    return key, attempt, status, outcome, margin, None if margin is None else 0.5, error or None


@given(
    st.lists(st.binary(min_size=16, max_size=16), unique=True, max_size=60),
    st.lists(st.binary(min_size=16, max_size=16), max_size=9),
)
def test_every_key_is_found_and_no_other(keys: list[bytes], others: list[bytes]) -> None:
    index = key_index([[(key,) for key in keys[:7]], [(key,) for key in keys[7:]]])
    assert len(index) == len(keys)
    wanted = [*keys, *others]
    found = index.places(b"".join(wanted)).tolist()
    place = {key: i for i, key in enumerate(sorted(keys))}
    # Keys that share their first eight bytes may stand in any order among themselves.
    assert [f >= 0 for f in found] == [key in place for key in wanted]
    assert sorted(found[: len(keys)]) == list(range(len(keys)))


def test_keys_that_share_their_beginning() -> None:
    keys = [b"x" * 8 + i.to_bytes(8, "big") for i in range(40)]
    random.Random(1).shuffle(keys)
    index = key_index([[(key,) for key in keys]])
    assert sorted(index.places(b"".join(keys)).tolist()) == list(range(40))
    assert index.places(b"x" * 8 + b"y" * 8).tolist() == [-1]
    assert index.places(b"z" * 16).tolist() == [-1]


def test_the_order_of_numbers_is_that_of_bytes() -> None:
    keys = [random.Random(i).randbytes(16) for i in range(50)]
    assert [tuple(n) for n in as_numbers(b"".join(sorted(keys))).tolist()] == sorted(tuple(as_numbers(k)[0].tolist()) for k in keys)


def test_no_keys_at_all() -> None:
    assert key_index([]).places(A + B).tolist() == [-1, -1]
    assert answer_table([]).places([A]).tolist() == [-1]
    assert answer_table([]).places([]).tolist() == []


def test_the_last_attempt_counts() -> None:
    rows = [
        row(C, margin=-2.0, outcome="negative"),
        row(A, status="error", error="timed out"),
        row(B, status="error", error="no memory"),
        row(A, 2, "blocked", error="a filter"),
        row(B, 2, "error", error="timed out"),
        row(D, margin=1.5, outcome="positive"),
    ]
    for cut in range(len(rows)):
        table = answer_table([rows[:cut], rows[cut:]])
        at = table.places([D, C, B, A, b"q" * 16])
        assert at.tolist() == [3, 2, 1, 0, -1]
        kept = at[:4]
        assert table.status[kept].tolist() == [STATUS_CODE[s] for s in (Status.OK, Status.OK, Status.ERROR, Status.BLOCKED)]
        assert table.error[kept].tolist() == [False, False, True, False]
        assert table.outcome[kept].tolist() == [OUTCOME_CODE[Outcome.POSITIVE], OUTCOME_CODE[Outcome.NEGATIVE], -1, -1]
        np.testing.assert_array_equal(table.margin[kept], [1.5, -2.0, np.nan, np.nan])
        np.testing.assert_array_equal(table.mass[kept], [0.5, 0.5, np.nan, np.nan])
        assert [table.causes[c] if c >= 0 else None for c in table.cause[kept]] == [None, None, "timed out", None]


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_a_ledger_gives_its_columns_without_its_texts(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palpate.store.ledger.CHUNK", chunk)
    with Ledger(tmp_path / "ledger.sqlite", create=True) as book:
        for i, (key, attempt, status) in enumerate([(A, 1, "error"), (B, 1, "ok"), (A, 2, "ok"), (C, 1, "error")]):
            book._db.execute(
                "INSERT INTO response (key, attempt, model, case_, perturbation, prompt, repeat, status, text, margin, seal)"
                " VALUES (?, ?, 1, 1, 1, 1, 0, ?, ?, ?, ?)",
                (key, attempt, status, "a text" * 1000, float(i), b""),
            )
        seen: list[str] = []
        book._db.set_trace_callback(seen.append)
        table, answered = book.answers("rules@1"), book.answered()
        book._db.set_trace_callback(None)
        assert not [query for query in seen if "text" in query]
    np.testing.assert_array_equal(table.margin[table.places([A, B, C])], [2.0, 1.0, 3.0])
    assert (answered.places(A + B + C) >= 0).tolist() == [True, True, False]


def test_what_is_held_of_what_is_answered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palpate.store.ledger.MOST_KEYS", 2)
    with Ledger(tmp_path / "ledger.sqlite", create=True) as book:
        for key in (A, B, C):
            book._db.execute(
                "INSERT INTO response (key, attempt, model, case_, perturbation, prompt, repeat, status, text, seal)"
                " VALUES (?, 1, 1, 1, 1, 1, 0, 'ok', '', '')",
                (key,),
            )
        assert len(book.answered()) == 2
