"""A run folder: whole files, one writer, one study; and what leads back to a patient stays in ``cases.csv`` alone."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from palpate.errors import LedgerError, RunError
from palpate.nouns import Case, CaseSet, Estimate, LeftOut
from palpate.store.folder import RunFolder, estimates_json

TEXT = 'name = "s"\n'
FIELDS = [
    "measure",
    "by",
    "value",
    "low",
    "high",
    "level",
    "method",
    "n_cases",
    "n_clusters",
    "n_left_out",
    "reason",
    "verdict",
    "mde",
]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_a_folder_is_made_when_it_is_first_written_to(folder: RunFolder) -> None:
    assert not folder.exists()
    with folder.writing("s", TEXT) as ledger:
        assert ledger.plan() is None
    assert folder.exists()
    assert folder.study_path.read_text(encoding="utf-8") == TEXT
    with folder.ledger() as ledger:
        assert ledger.attempts() == {}


def test_folders_above_are_made_too(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "a" / "b" / "c").writing("s", TEXT):
        pass
    assert (tmp_path / "a" / "b" / "c" / "ledger.sqlite").exists()


@pytest.mark.parametrize(("make", "problem"), [(False, "no such run folder"), (True, "no run here")])
def test_where_there_is_no_run(folder: RunFolder, make: bool, problem: str) -> None:
    if make:
        folder.path.mkdir()
    with pytest.raises(RunError, match=problem) as fault:
        _ = folder.study_path
    assert fault.value.where == str(folder.path)
    assert "palpate run" in fault.value.hint
    with pytest.raises(LedgerError, match="no ledger here"):
        folder.ledger()


def test_a_folder_holds_one_study(folder: RunFolder) -> None:
    with folder.writing("s", TEXT):
        pass
    with pytest.raises(RunError, match="holds the study 's', not 'other'") as fault, folder.writing("other", 'name = "other"'):
        pass
    assert "--out" in fault.value.hint
    assert folder.study_path.read_text(encoding="utf-8") == TEXT
    with folder.writing("s", 'name = "s"\nseed = 2\n'):  # the same study, changed
        pass
    assert "seed = 2" in folder.study_path.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe"])
def test_a_damaged_study_of_a_run(folder: RunFolder, content: bytes) -> None:
    folder.path.mkdir()
    (folder.path / "study.toml").write_bytes(content)
    with pytest.raises(RunError, match="cannot be read"), folder.writing("s", TEXT):
        pass
    assert (folder.path / "study.toml").read_bytes() == content


HOLD = """
import sys
from palpate.store.folder import RunFolder
with RunFolder(sys.argv[1]).writing("s", 'name = "s"'):
    print("holding", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(folder: RunFolder) -> Iterator[subprocess.Popen[str]]:
    """Another process that is writing to the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "holding\n"
        yield other
        other.kill()


def test_one_process_writes_at_a_time(folder: RunFolder, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(RunError, match="another run is writing here"), folder.writing("s", TEXT):
        pass
    with folder.ledger() as ledger:  # looking on is allowed
        assert ledger.attempts() == {}
    holder.kill()  # a killed process holds nothing
    holder.wait()
    with folder.writing("s", TEXT):
        pass


def test_a_failure_while_writing_frees_the_folder(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match="boom"), folder.writing("s", TEXT):
        raise ValueError("boom")
    with folder.writing("s", TEXT):
        pass


def test_the_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x", encoding="utf-8")
    with pytest.raises(RunError, match="is a file") as fault, RunFolder(tmp_path / "run").writing("s", TEXT):
        pass
    assert "--out" in fault.value.hint
    with pytest.raises(RunError, match="cannot be written"):
        RunFolder(tmp_path / "run").write("report.md", "x")


def test_a_folder_that_may_only_be_read_can_still_be_read(unprivileged: Path) -> None:
    folder = RunFolder(unprivileged / "run")
    with folder.writing("s", TEXT) as ledger:
        ledger.add_plan({"a": 1})
    folder.path.chmod(0o555)
    try:
        with folder.ledger() as ledger:
            assert ledger.plan() == {"a": 1}
        with pytest.raises(RunError, match="cannot be written"):
            folder.write("report.md", "x")
        with pytest.raises(RunError, match="cannot be written"), RunFolder(folder.path / "below").writing("s", TEXT):
            pass
        assert sorted(p.name for p in folder.path.iterdir() if p.name != ".lock") == ["ledger.sqlite", "study.toml"]
    finally:
        folder.path.chmod(0o777)


def test_a_file_is_replaced_whole_or_not_at_all(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.path.mkdir()
    folder.write("report.md", "first")

    def full(path: Path, text: str, **_: object) -> int:
        path.write_bytes(text[:2].encode())  # as far as the disk went
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RunError, match="No space left") as fault:
        folder.write("report.md", "second")
    assert "run again" in fault.value.hint
    assert [p.name for p in folder.path.iterdir()] == ["report.md"]
    assert (folder.path / "report.md").read_bytes() == b"first"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let root mount")
    try:
        folder = RunFolder(disk / "run")
        with folder.writing("s", TEXT) as ledger:
            ledger.add_plan({"a": 1})
            with pytest.raises(LedgerError, match=r"full|I/O") as fault:
                ledger.add_plan({"text": "x" * 400_000})
            assert fault.value.where == str(folder.ledger_path)
            with pytest.raises(RunError, match="No space left"):
                folder.write("report.html", "x" * 400_000)
        with folder.ledger() as ledger:
            assert ledger.plan() == {"a": 1}
    finally:
        subprocess.run(["umount", disk], check=True)


# ---------------------------------------------------------------- what is in the files


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def case(name: str) -> Case:
    return Case(name, 1, "g", "ab" * 16, image=None)  # type: ignore[arg-type]


def test_the_case_list_names_files_and_what_was_left_out(folder: RunFolder) -> None:
    folder.path.mkdir()
    found = CaseSet((case("c-1"), case("c-2")), (LeftOut("b,ad.png", 'is "damaged"\nat the end'),), names={"c-1": "a/x.png"})
    target = folder.write_cases({"t": found})
    rows = table(target)
    assert rows == [
        ["task", "case", "file", "left_out_because"],
        ["t", "c-1", "a/x.png", ""],
        ["t", "c-2", "", ""],
        ["t", "", "b,ad.png", 'is "damaged"\nat the end'],
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_file_name_is_never_a_formula(folder: RunFolder, start: str) -> None:
    folder.path.mkdir()
    target = folder.write_cases({"t": CaseSet((case("c-1"),), names={"c-1": f"{start}cmd|'/c calc'!A1.png"})})
    rows = table(target)
    assert rows[1][2] == f"'{start}cmd|'/c calc'!A1.png"


def test_a_file_name_that_is_no_unicode(folder: RunFolder) -> None:
    folder.path.mkdir()
    target = folder.write_cases({"t": CaseSet((case("c-1"),), names={"c-1": os.fsdecode(b"caf\xe9.png")})})
    assert "caf\\udce9.png" in target.read_text(encoding="utf-8")


def test_estimates_have_exactly_the_fields_promised(folder: RunFolder) -> None:
    folder.path.mkdir()
    estimates = [
        Estimate("ba_all", {"model": "m"}, 0.5, 0.4, 0.6, 0.95, "bootstrap", 10, 5, 2, None, "at chance"),
        Estimate("ba_all", {"model": "n"}, None, None, None, 0.95, "none", 0, 0, 0, "no answer"),
    ]
    found = json.loads(folder.write_estimates(estimates).read_text(encoding="utf-8"))
    assert [list(e) for e in found] == [FIELDS, FIELDS]
    assert found[0]["value"] == 0.5
    assert found[1]["value"] is None
    assert found[1]["reason"] == "no answer"


def test_a_nan_is_refused_rather_than_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        estimates_json([Estimate("x", {}, float("nan"), None, None, 0.95, "m", 1, 1)])


def test_nothing_in_the_ledger_leads_back_to_a_file_or_a_patient(finished: Path) -> None:
    files = [p for p in (finished.parent / "images").rglob("*") if p.is_file()]
    secrets = {p.name for p in files} | {p.stem for p in files} | {p.stem.split("_")[0] for p in files} | {str(finished.parent)}
    assert len(secrets) > 12
    for name in ("ledger.sqlite", "estimates.json"):
        held = (finished / name).read_bytes()
        assert not [s for s in secrets if s.encode() in held]
    pixels = files[0].read_bytes()
    assert pixels[40:80] not in (finished / "ledger.sqlite").read_bytes()
    listed = (finished / "cases.csv").read_text(encoding="utf-8")
    assert all(p.name in listed for p in files)


def test_a_full_disk_may_leave_a_ledger_without_a_study(folder: RunFolder) -> None:
    folder.path.mkdir()
    folder.ledger_path.touch()
    assert folder.exists()
    assert not folder.begun()
    with folder.writing("s", TEXT):
        pass
    assert folder.begun()
