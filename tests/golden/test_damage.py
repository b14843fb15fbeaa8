"""A run that was damaged: found out, and what is whole goes on to the same end."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from faults_found import survived
from palpate.errors import LedgerError, RunError
from palpate.nouns import Outcome, Reading
from palpate.pipeline import run
from palpate.results import check_run, salvage_run
from palpate.store.integrity import check_ledger
from palpate.store.ledger import Ledger
from palpate.study import Study
from small import Cli, write_study

PAGE = 4096
TRIALS = 2 * 12 * 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage")
    run(Study.load(write_study(folder)), folder / "whole")
    return folder


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """A copy of the run, for a test to damage."""
    shutil.copytree(folder / "whole", tmp_path / "run")
    return tmp_path / "run"


def edit(run_folder: Path, command: str, *values: object) -> None:
    with closing(sqlite3.connect(run_folder / "ledger.sqlite")) as db:
        assert db.execute(command, values).rowcount >= 1
        db.commit()


def kinds(run_folder: Path) -> set[str]:
    return {d.kind for d in check_run(run_folder).damage}


def texts(run_folder: Path) -> set[tuple[str, int, str, str]]:
    with Ledger(run_folder / "ledger.sqlite") as book:
        return set(book.texts())


def test_a_whole_run_is_whole(folder: Path, cli: Cli) -> None:
    checked = check_run(folder / "whole")
    assert checked.whole
    assert checked.rows["response"] == checked.rows["reading"] == TRIALS
    assert "✓ whole" in cli("check", folder / "whole").stdout


EDITS = {
    "a letter of an answer": ("UPDATE response SET text = text || '!' WHERE id = 7", "changed since it was written"),
    "a margin": ("UPDATE response SET margin = -margin WHERE id = 7 AND margin != 0", "changed since it was written"),
    "an error made an answer": ("UPDATE response SET status = 'truncated' WHERE id = 7", "changed since it was written"),
    "a status nobody knows": ("UPDATE response SET status = 'fine' WHERE id = 7", "unknown status"),
    "another image": ("UPDATE case_ SET image = 'ab' WHERE id = 1", "key differs from what was asked"),
    "another wording": ("UPDATE response SET prompt = 1 + prompt % 12 WHERE id = 7", "key differs from what was asked"),
    "another model": ("UPDATE model SET identity = '{}' WHERE id = 1", "identity differs from its digest"),
    "the words of a prompt": (
        "UPDATE prompt SET record = replace(record, '?', '!') WHERE id = 1",
        "identity differs from its digest",
    ),
    "the plan": ("UPDATE plan SET plan = replace(plan, 'repeats\": 1', 'repeats\": 2')", "identity differs from its digest"),
    "a lost case": ("DELETE FROM case_ WHERE id = 2", "orphan"),
    "an outcome nobody knows": ("UPDATE reading SET outcome = 'maybe' WHERE response = 7", "unknown outcome"),
    "evidence past the end": ("UPDATE reading SET low = 0, high = 9999 WHERE response = 7", "evidence outside the text"),
    "a second attempt at an answer": (
        "INSERT INTO response SELECT 9999, key, 2, model, case_, perturbation, prompt, repeat, status, text, margin, mass,"
        " tokens_in, tokens_out, seconds, error, seal FROM response WHERE id = 7",
        "asked again though answered",
    ),
    "a lost attempt": ("UPDATE response SET attempt = 3 WHERE id = 7", "an attempt is missing before it"),
}


@pytest.mark.parametrize("what", EDITS)
def test_what_was_edited_by_hand_is_found(damaged: Path, what: str, cli: Cli) -> None:
    command, kind = EDITS[what]
    edit(damaged, command)
    assert kind in kinds(damaged)
    shown = cli("check", damaged, exit_code=1).stdout
    assert f"✗ {kind}" in " ".join(shown.split())
    survived("edited", 1, part=what)


def test_an_error_has_no_text_and_no_reading(damaged: Path) -> None:
    edit(damaged, "UPDATE response SET status = 'error' WHERE id = 7")
    assert {"an error with a text", "a reading of an error", "changed since it was written"} <= kinds(damaged)


def test_a_study_that_cannot_be_read_is_named(damaged: Path) -> None:
    (damaged / "study.toml").write_text("name =", encoding="utf-8")
    assert kinds(damaged) == {"the study cannot be read"}


def test_a_study_without_a_ledger_is_no_run_that_could_be_whole(damaged: Path, tmp_path: Path, cli: Cli) -> None:
    (damaged / "ledger.sqlite").unlink()
    (tmp_path / "begun").mkdir()
    shutil.copyfile(damaged / "study.toml", tmp_path / "begun" / "study.toml")  # as `palpate init` leaves a folder
    for folder in (damaged, tmp_path / "begun"):
        told = cli("check", folder, exit_code=2)
        assert "no ledger here" in told.stderr
        assert "whole" not in told.stdout
        assert not (folder / "ledger.sqlite").exists()
    assert "no run here" in cli("check", tmp_path, exit_code=2).stderr


def break_page(run_folder: Path, number: int, rng: random.Random) -> None:
    with (run_folder / "ledger.sqlite").open("r+b") as file:
        file.seek((number - 1) * PAGE)
        file.write(rng.randbytes(PAGE))


def go_on(folder: Path, out: Path, whole: Path) -> None:
    """Run the salvaged run to its end: it ends as the whole one did."""
    run(Study.load(folder / "study.toml"), out)
    assert texts(out) == texts(whole)
    assert (out / "estimates.json").read_bytes() == (whole / "estimates.json").read_bytes()


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_any_broken_page_is_found_and_the_rest_is_saved(folder: Path, tmp_path: Path, every: int) -> None:
    whole, rng = folder / "whole", random.Random(0)
    pages = (whole / "ledger.sqlite").stat().st_size // PAGE
    assert pages >= 30
    for number in range(2, pages + 1, every):
        out, saved = tmp_path / f"run{number}", tmp_path / f"saved{number}"
        shutil.copytree(whole, out)
        break_page(out, number, rng)
        assert not check_run(out).whole, number
        found = salvage_run(out, saved)
        assert check_run(saved).whole, number
        assert texts(saved) <= texts(whole)
        assert found.kept["response"] == len(texts(saved))
        if number % 3 == 0:
            go_on(folder, saved, whole)
    survived("page", len(range(2, pages + 1, every)))


def test_a_broken_first_page_leaves_nothing(damaged: Path, tmp_path: Path) -> None:
    break_page(damaged, 1, random.Random(1))
    with pytest.raises(LedgerError, match="cannot be checked"):
        check_run(damaged)
    with pytest.raises(LedgerError, match="nothing can be read"):
        salvage_run(damaged, tmp_path / "saved")
    assert not (tmp_path / "saved" / "ledger.sqlite").exists()


@pytest.mark.parametrize("verb", ["gate", "measure", "report", "show"])
def test_what_meets_damage_names_the_way_to_save_what_is_whole(damaged: Path, tmp_path: Path, cli: Cli, verb: str) -> None:
    pages = (damaged / "ledger.sqlite").stat().st_size // PAGE
    for number in range(pages // 2, pages // 2 + 4):  # of answers
        break_page(damaged, number, random.Random(number))
    told = " ".join(cli(verb, damaged, exit_code=2).stderr.split())
    assert "malformed" in told
    assert f"`palpate check {damaged} --salvage NEW`" in told
    assert "start again" not in told
    saved = salvage_run(damaged, tmp_path / "saved")  # as it says
    assert check_run(tmp_path / "saved").whole
    assert saved.kept["response"] == len(texts(tmp_path / "saved")) > 0


def test_rows_that_do_not_fit_their_seal_are_left_behind(damaged: Path, tmp_path: Path, folder: Path, cli: Cli) -> None:
    edit(damaged, "UPDATE response SET text = 'Yes.' WHERE id BETWEEN 10 AND 12")
    edit(damaged, "UPDATE prompt SET record = '{' WHERE id = 3")
    shown = cli("check", damaged, "--salvage", tmp_path / "saved").stdout
    assert "left behind because not whole: " in shown
    assert "✓ whole" in shown
    kept = texts(tmp_path / "saved")
    assert TRIALS - 3 - 24 <= len(kept) < TRIALS - 3
    assert kept < texts(folder / "whole")
    go_on(folder, tmp_path / "saved", folder / "whole")


def test_salvage_writes_over_nothing(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not empty"):
        salvage_run(damaged, damaged)
    with pytest.raises(RunError, match="no run here"):
        salvage_run(tmp_path / "none", tmp_path / "new")


# ---------------------------------------------------------------- power cuts


@pytest.mark.parametrize("every_byte", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_power_cut_in_the_last_transaction(folder: Path, tmp_path: Path, every_byte: bool) -> None:
    """The log is cut short inside its last transaction: it is there whole, or not at all; the one before it always is."""
    source = tmp_path / "source"
    shutil.copytree(folder / "whole", source)
    with Ledger(source / "ledger.sqlite") as book:
        log = source / "ledger.sqlite-wal"
        book.add_session("2026-01-01T00:00:00+00:00", {"first": "in the log"})
        begun = log.stat().st_size
        key = next(book.texts())[0]
        book.append_readings([(n, Reading(key, 1, "another-1", Outcome.HEDGE, None, "x" * 400)) for n in range(1, 41)])
        files = {name: (source / name).read_bytes() for name in ("ledger.sqlite", "ledger.sqlite-wal")}
    end = len(files["ledger.sqlite-wal"])
    assert end - begun > 4 * PAGE
    cut = tmp_path / "cut.sqlite"
    for length in cuts(begun, end, every_byte=every_byte):
        cut.write_bytes(files["ledger.sqlite"])
        cut.with_name("cut.sqlite-wal").write_bytes(files["ledger.sqlite-wal"][:length])
        cut.with_name("cut.sqlite-shm").unlink(missing_ok=True)
        with Ledger(cut) as book:
            assert len(book.sessions()) == 2
        with closing(sqlite3.connect(cut)) as db:
            (rows,) = db.execute("SELECT count(*) FROM reading").fetchone()
        assert rows == TRIALS + (40 if length == end else 0), length
    assert check_ledger(cut).whole
    survived("power", len(cuts(begun, end, every_byte=every_byte)))


def cuts(begun: int, end: int, *, every_byte: bool) -> list[int]:
    """Every byte, or those around the borders of frames and some between."""
    if every_byte:
        return list(range(begun, end + 1))
    frame = PAGE + 24
    borders = {border + d for border in range(begun, end + 1, frame) for d in (-1, 0, 1, 23, 24, 25) if begun <= border + d <= end}
    return sorted(borders | set(range(begun, end, 997)) | {end})
