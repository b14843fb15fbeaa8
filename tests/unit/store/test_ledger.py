"""The ledger only grows, loses nothing committed, and says plainly what is wrong with a file it cannot use."""

from __future__ import annotations

import inspect
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palpate.errors import LedgerError
from palpate.nouns import Answer, Case, Form, Outcome, Perturbation, Polarity, Prompt, Reading, Response, Status, Trial
from palpate.store import keys, ledger
from palpate.store.ledger import Ledger

CASE = Case("c-1", 1, "g-1", "ab" * 16, image=None, decode={"mode": "RGB"}, metadata={"age": 70})  # type: ignore[arg-type]
PROMPTS = tuple(Prompt(f"p{i}", f"Question {i}?", Form.YES_NO, Polarity.POSITIVE, "target") for i in range(4))
IDENTITY = {"kind": "test", "weights": "abc"}
NONE = Perturbation()
OK = Answer(Status.OK, "Yes", 1.5, 0.9, 4, 1, 0.25)


def trial(number: int = 0, repeat: int = 0, *, task: str = "t", case: Case = CASE, model: str = "m") -> Trial:
    prompt = PROMPTS[number]
    key = keys.trial_key(
        keys.model_digest(IDENTITY),
        keys.image_digest(case),
        keys.perturbation_digest(NONE, 1, 0),
        keys.prompt_digest(prompt),
        repeat,
    )
    return Trial(key, model, task, case.id, NONE, prompt, repeat)


def introduce(book: Ledger, task: str = "t", case: Case = CASE, model: str = "m") -> None:
    book.add_model(model, IDENTITY, {"device": "cpu"})
    book.add_cases(task, [case])
    book.add_prompts(task, PROMPTS)
    book.add_perturbation(NONE, keys.perturbation_digest(NONE, 1, 0))


def answered(*numbers: int, attempt: int = 1, answer: Answer = OK) -> list[tuple[Trial, Response]]:
    return [(trial(n), Response(trial(n).key, attempt, answer)) for n in numbers]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def book(path: Path) -> Iterator[Ledger]:
    with Ledger(path, create=True) as opened:
        introduce(opened)
        yield opened


def counts(path: Path) -> dict[str, int]:
    db = sqlite3.connect(path)
    try:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'")]
        return {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    finally:
        db.close()


# ---------------------------------------------------------------- only grows


def test_the_source_never_updates_or_deletes() -> None:
    source = inspect.getsource(ledger)
    assert not re.search(r"\b(UPDATE|DELETE|REPLACE|DROP|ALTER)\b\s+[\w\"'(]", source)


def test_every_call_only_adds_rows(path: Path, book: Ledger) -> None:
    before = counts(path)
    steps = [
        lambda: book.append(answered(0, 1)),
        lambda: book.append(answered(2, answer=Answer(Status.ERROR, error="time-out"))),
        lambda: book.append(answered(2, attempt=2)),
        lambda: book.append_readings([(1, Reading(trial(0).key, 1, "rules@1", Outcome.POSITIVE, (0, 3), "yes"))]),
        lambda: book.add_cases("t", [replace(CASE, label=0)]),
        lambda: book.add_plan({"models": {}}),
        lambda: book.add_session("now", {"python": "3"}),
        lambda: introduce(book),
    ]
    for step in steps:
        step()
        after = counts(path)
        assert all(after[table] >= before[table] for table in before)
        before = after


def test_adding_the_same_again_adds_nothing(path: Path, book: Ledger) -> None:
    book.add_plan({"a": 1})
    before = counts(path)
    introduce(book)
    book.add_plan({"a": 1})
    assert counts(path) == before


def test_a_plan_made_before_is_a_new_row_when_it_comes_back(book: Ledger, path: Path) -> None:
    for plan in ({"a": 1}, {"a": 2}, {"a": 1}):
        book.add_plan(plan)
        assert book.plan() == plan
    assert counts(path)["plan"] == 3


def test_there_is_no_plan_at_first(book: Ledger) -> None:
    assert book.plan() is None


# ---------------------------------------------------------------- answers


def test_an_answer_comes_back_whole(book: Ledger) -> None:
    book.append(answered(0))
    assert book.responses(trial(0).key) == [Response(trial(0).key, 1, OK)]


@pytest.mark.parametrize("text", ["", "Ja – «ü» 🫁", "two\nlines\r\n", "a\0b", "'; DROP TABLE response; --", "x" * 200_000])
def test_any_text_comes_back_as_it_was(book: Ledger, text: str) -> None:
    book.append(answered(0, answer=replace(OK, text=text)))
    assert book.responses(trial(0).key)[0].answer.text == text


def test_absent_numbers_stay_absent(book: Ledger) -> None:
    book.append(answered(0, answer=Answer(Status.TRUNCATED, "The image")))
    given = book.responses(trial(0).key)[0].answer
    assert (given.margin, given.mass, given.tokens_in, given.seconds, given.error) == (None,) * 5
    table = book.answers("rules@1")
    assert np.isnan(table.margin).all()
    assert table.outcome.tolist() == [-1]


def test_a_retry_is_a_new_attempt_and_the_last_one_counts(book: Ledger) -> None:
    book.append(answered(0, 1, answer=Answer(Status.ERROR, error="time-out")))
    book.append(answered(0, attempt=2))
    key = bytes.fromhex(trial(0).key)
    assert book.attempts() == {key: (2, False), bytes.fromhex(trial(1).key): (1, True)}
    table = book.answers("rules@1")
    assert table.error[table.places([key, bytes.fromhex(trial(1).key)])].tolist() == [False, True]
    assert [r.attempt for r in book.responses(trial(0).key)] == [1, 2]
    assert book.ended() == {key: (Status.OK, ""), bytes.fromhex(trial(1).key): (Status.ERROR, "time-out")}


def test_a_failed_append_leaves_nothing(path: Path, book: Ledger) -> None:
    book.append(answered(1))
    with pytest.raises(LedgerError, match="UNIQUE"):
        book.append(answered(0, 1))  # 1 is there already: 0 must not stay behind alone
    assert counts(path)["response"] == 1
    book.append(answered(0))  # and the ledger goes on
    assert counts(path)["response"] == 2


def test_an_interruption_within_a_transaction_leaves_nothing(path: Path, book: Ledger) -> None:
    def until_interrupted() -> Iterator[tuple[Trial, Response]]:
        yield from answered(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        book.append(until_interrupted())

    def cases() -> Iterator[Case]:
        yield replace(CASE, id="c-9")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        book.add_cases("t", cases())
    assert counts(path)["response"] == 0
    assert set(book.cases("t")) == {"c-1"}
    book.append(answered(0))


def test_everything_is_there_after_reopening(path: Path, book: Ledger) -> None:
    book.append(answered(0, 1, 2))
    book.add_session("2026-01-01", {"python": "3.11"})
    book.add_plan({"a": 1})
    book.close()
    assert not list(path.parent.glob("*-wal"))  # nothing lies beside a closed ledger
    with Ledger(path) as again:
        assert len(again.attempts()) == 3
        assert again.plan() == {"a": 1}
        assert again.sessions() == [{"started": "2026-01-01", "python": "3.11"}]
        assert again.models() == {"m": (IDENTITY, {"device": "cpu"})}
        introduce(again)
        again.append(answered(3))
        assert [row[:2] for row in again.texts()] == sorted((trial(n).key, 1) for n in range(4))
        assert again.seconds() == 1.0


def test_of_two_models_of_one_name_the_one_that_is_planned_counts(book: Ledger) -> None:
    """Whichever was recorded first: a study may go back to what it asked before."""
    other = {**IDENTITY, "other": True}
    book.add_model("m", other, {"device": "gpu"})
    assert book.models()["m"] == (other, {"device": "gpu"})  # the last, where no plan says
    book.add_plan({"models": {"m": keys.model_digest(IDENTITY)}})
    assert book.models()["m"] == (IDENTITY, {"device": "cpu"})
    book.add_plan({"models": {"m": keys.model_digest(other)}})
    assert book.models()["m"] == (other, {"device": "gpu"})
    book.add_plan({"models": {"m": "00"}})
    assert book.models()["m"] == (other, {"device": "gpu"})


def test_a_trial_is_found_by_the_beginning_of_its_key(book: Ledger) -> None:
    book.append(answered(0, 1, 2, 3))
    for n in range(4):
        ((found, label),) = book.find(trial(n).key[:20].upper())
        assert (found, label) == (trial(n), 1)
    assert len(book.find(trial(0).key[:1])) in (1, 2)
    assert book.find("zz") == book.find("") == book.find("%") == book.find("f" * 32) == []
    for length in (31, 32):
        assert [found.key for found, _ in book.find(trial(2).key[:length])] == [trial(2).key]
    assert book.find(trial(2).key + "0") == []


def test_a_key_is_found_without_going_through_all(book: Ledger) -> None:
    asked: list[str] = []
    book._db.set_trace_callback(asked.append)
    book.find("ab")
    book._db.set_trace_callback(None)
    steps = [row[3] for row in book._db.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]
    assert any(step.startswith("SEARCH r USING") and "key>? AND key<?" in step for step in steps), steps


def test_a_trial_retried_under_another_task_is_found_once(book: Ledger) -> None:
    introduce(book, task="other")
    book.append(answered(0, answer=Answer(Status.ERROR, error="x")))
    moved = trial(0, task="other")
    book.append([(moved, Response(moved.key, 2, OK))])
    assert book.find(moved.key) == [(trial(0), 1)]


def test_two_tasks_share_an_answer(book: Ledger) -> None:
    introduce(book, task="other")
    assert trial(0, task="other").key == trial(0).key
    book.append(answered(0))
    assert book.attempts()[bytes.fromhex(trial(0, task="other").key)] == (1, False)


# ---------------------------------------------------------------- cases and labels


def test_a_corrected_label_is_a_new_row_and_the_latest_wins(path: Path, book: Ledger) -> None:
    image = keys.image_digest(CASE)
    assert book.cases("t") == {"c-1": (image, 1, "g-1", {"age": 70})}
    book.append(answered(0))
    for label, group in ((0, "g-1"), (0, "g-2"), (1, "g-1")):
        book.add_cases("t", [replace(CASE, label=label, group=group)])
        assert book.cases("t") == {"c-1": (image, label, group, {"age": 70})}
        assert book.find(trial(0).key)[0][1] == label
    assert counts(path)["label"] == 4
    assert counts(path)["case_"] == 1


def test_tasks_keep_their_own_labels(book: Ledger) -> None:
    book.add_cases("other", [replace(CASE, label=0)])
    assert book.cases("t")["c-1"][1] == 1
    assert book.cases("other")["c-1"][1] == 0


def test_many_cases_are_added_in_time_linear_in_their_number(book: Ledger) -> None:
    many = [replace(CASE, id=f"c{i}", digest=f"{i:032x}") for i in range(20_000)]
    book.add_cases("t", many)  # a scan of all labels for each would take minutes
    assert len(book.cases("t")) == 20_001


# ---------------------------------------------------------------- readings


def test_readings_by_two_methods_stand_side_by_side(book: Ledger) -> None:
    book.append(answered(0, 1))
    for method, outcome in (("rules@1", Outcome.POSITIVE), ("judge@1", Outcome.NEGATIVE)):
        unread = book.unread(method, 0, 10)
        book.append_readings([(u.row, Reading(u.response.key, 1, method, outcome, (0, 3), "r")) for u in unread])
        assert book.unread(method, 0, 10) == []
    assert book.readings(trial(0).key) == [
        Reading(trial(0).key, 1, "judge@1", Outcome.NEGATIVE, (0, 3), "r"),
        Reading(trial(0).key, 1, "rules@1", Outcome.POSITIVE, (0, 3), "r"),
    ]
    codes = {method: set(book.answers(method).outcome.tolist()) for method in ("rules@1", "judge@1", "none@1")}
    assert codes == {"rules@1": {0}, "judge@1": {1}, "none@1": {-1}}


def test_nothing_is_read_twice_by_one_method(book: Ledger) -> None:
    book.append(answered(0))
    (unread,) = book.unread("rules@1", 0, 10)
    reading = (unread.row, Reading(trial(0).key, 1, "rules@1", Outcome.POSITIVE))
    book.append_readings([reading])
    with pytest.raises(LedgerError, match="UNIQUE"):
        book.append_readings([reading])
    assert len(book.readings(trial(0).key)) == 1


def test_unread_pages_through_everything_once(book: Ledger) -> None:
    book.append(answered(0, 1, 2, 3))
    seen, after = [], 0
    while page := book.unread("rules@1", after, 3):
        after = page[-1].row
        seen += page
    assert [u.response.key for u in seen] == [trial(n).key for n in range(4)]
    assert [u.prompt for u in seen] == list(PROMPTS)
    assert {u.task for u in seen} == {"t"}


def test_errors_are_never_to_be_read_but_blocked_answers_are(book: Ledger) -> None:
    book.append(answered(0, answer=Answer(Status.ERROR, error="x")))
    book.append(answered(1, answer=Answer(Status.BLOCKED)))
    book.append(answered(2, answer=Answer(Status.TRUNCATED, "The")))
    assert [u.response.answer.status for u in book.unread("rules@1", 0, 9)] == [Status.BLOCKED, Status.TRUNCATED]


# ---------------------------------------------------------------- files that cannot be used


def test_no_ledger_here(path: Path) -> None:
    with pytest.raises(LedgerError, match="no ledger here") as fault:
        Ledger(path)
    assert "palpate run" in fault.value.hint
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "says"), [(b"this is no database, whatever its name " * 40, "not a database"), (b"", "no such table")]
)
def test_a_file_that_is_no_ledger(path: Path, content: bytes, says: str) -> None:
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=says) as fault:
        Ledger(path)
    assert fault.value.where == str(path)
    assert fault.value.hint
    assert path.read_bytes()[: len(content)] == content


def test_a_ledger_whose_making_was_cut_short_is_made_anew(path: Path) -> None:
    path.write_bytes(b"")
    with Ledger(path, create=True) as book:
        assert book.plan() is None


def test_a_damaged_ledger_says_so(path: Path, book: Ledger) -> None:
    book.append(answered(0, 1, 2, 3))
    book.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)  # the header is well, every page after it is not
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="malformed") as fault, Ledger(path) as again:
        again.attempts()
    assert "damaged" in fault.value.hint


@pytest.mark.parametrize("version", ["99", "next"])
def test_a_ledger_of_a_newer_release(path: Path, book: Ledger, version: str) -> None:
    book.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE meta SET value=?", (version,))
    db.commit()
    db.close()
    for create in (False, True):
        with pytest.raises(LedgerError, match=f"schema {version}") as fault:
            Ledger(path, create=create)
        assert "update Palpate" in fault.value.hint


def test_a_full_disk_loses_only_what_was_not_committed(path: Path, book: Ledger) -> None:
    book.append(answered(0))
    (pages,) = book._db.execute("PRAGMA page_count").fetchone()
    book._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerError, match="full") as fault:
        book.append(answered(1, 2, answer=replace(OK, text="x" * 100_000)))
    assert "run again" in fault.value.hint
    book.close()
    with Ledger(path) as again:  # opens, and goes on once there is space
        assert len(again.attempts()) == 1
        introduce(again)
        again.append(answered(1, 2))
        assert len(again.attempts()) == 3


WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("writing", flush=True)
sys.stdin.read()
"""


def test_another_process_that_is_writing(path: Path, book: Ledger) -> None:
    book._db.execute("PRAGMA busy_timeout = 100")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "writing\n"
        with pytest.raises(LedgerError, match="locked") as fault:
            book.append(answered(0))
        assert "wait" in fault.value.hint
        with Ledger(path) as reader:  # reading goes on meanwhile
            assert reader.attempts() == {}
        other.communicate("")
    book.append(answered(0))
    assert len(book.attempts()) == 1


def test_a_ledger_in_a_folder_that_may_only_be_read(unprivileged: Path) -> None:
    path = unprivileged / "ledger.sqlite"
    with Ledger(path, create=True) as book:
        introduce(book)
        book.append(answered(0))
    unprivileged.chmod(0o555)
    path.chmod(0o444)
    try:
        with Ledger(path, read_only=True) as book:
            assert len(book.attempts()) == 1
            assert book.answers("rules@1").outcome.tolist() == [-1]
        with pytest.raises(LedgerError, match="cannot be used") as fault:
            Ledger(unprivileged / "other.sqlite", create=True)
        assert "choose another --out" in fault.value.hint
    finally:
        unprivileged.chmod(0o777)


def test_attempts_of_some_keys(book: Ledger) -> None:
    book.append(answered(0, 1, 2))
    book.append(answered(1, attempt=2, answer=Answer(Status.ERROR, error="x")))
    of = [bytes.fromhex(trial(n).key) for n in range(4)]
    assert book.attempts(of[1:2]) == {of[1]: (2, True)}
    assert book.attempts(of) == book.attempts() == {of[0]: (1, False), of[1]: (2, True), of[2]: (1, False)}
    assert book.attempts([]) == {}
    assert book.attempts([of[3]]) == {}
