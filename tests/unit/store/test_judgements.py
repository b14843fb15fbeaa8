"""The replies of judges: by the content of the question, attempt after attempt, the last one counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from palpate.errors import LedgerError
from palpate.nouns import Answer, Status
from palpate.store.judgements import Judgements
from palpate.store.ledger import Ledger

KEY, OTHER = "ab" * 16, "cd" * 16
FAILED = Answer(Status.ERROR, "half a re", error="timed out")
SAID = Answer(Status.OK, '{"reading": "POSITIVE"} \U0001fac1', margin=1.5, mass=0.5, tokens_in=9, tokens_out=3, seconds=0.25)


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "ledger.sqlite", create=True) as book:
        yield book


def test_what_was_never_asked_has_no_reply(ledger: Ledger) -> None:
    assert Judgements(ledger).last(KEY) is None


def test_a_reply_comes_back_whole(ledger: Ledger) -> None:
    Judgements(ledger).append([(KEY, 1, SAID), (OTHER, 1, FAILED)])
    assert Judgements(ledger).last(KEY) == (1, SAID)
    assert Judgements(ledger).last(OTHER) == (1, FAILED)


def test_the_last_attempt_counts_and_the_first_stays(ledger: Ledger) -> None:
    replies = Judgements(ledger)
    replies.append([(KEY, 1, FAILED)])
    replies.append([(KEY, 2, SAID)])
    assert replies.last(KEY) == (2, SAID)
    assert list(ledger._select("SELECT attempt, status FROM judgement ORDER BY attempt")) == [(1, "error"), (2, "ok")]


def test_an_attempt_is_written_once_and_a_batch_whole_or_not_at_all(ledger: Ledger) -> None:
    replies = Judgements(ledger)
    replies.append([(KEY, 1, SAID)])
    with pytest.raises(LedgerError):
        replies.append([(OTHER, 1, SAID), (KEY, 1, FAILED)])
    assert replies.last(OTHER) is None
    assert replies.last(KEY) == (1, SAID)


def test_a_reader_is_recorded_when_it_changes_and_the_last_is_found(ledger: Ledger) -> None:
    assert ledger.reader("spec") is None
    for by in ("judge@1@a+1", "judge@1@a+1", "judge@1@a+2"):
        ledger.add_reader("spec", by, {"identity": {"weights": by}})
    assert ledger.reader("spec") == "judge@1@a+2"
    assert ledger.reader("other") is None
    assert [m for (m,) in ledger._select("SELECT method FROM reader ORDER BY id")] == ["judge@1@a+1", "judge@1@a+2"]


def test_replies_are_there_after_the_file_is_opened_again(ledger: Ledger, tmp_path: Path) -> None:
    Judgements(ledger).append([(KEY, 1, SAID)])
    ledger.close()
    with Ledger(tmp_path / "ledger.sqlite", read_only=True) as again:
        assert Judgements(again).last(KEY) == (1, SAID)
