"""The command line as a person has it: on a real (pseudo-)terminal, through a pipe, told to be quiet, and stopped with Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from pathlib import Path

import pytest

from palpate.store.ledger import Ledger
from small import STUDY, hear_ctrl_c, palpate, write_study

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
PRICES = "\n[prices.base]\ninput = 2000.0\noutput = 0.0\n\n[prices.tuned]\ninput = 2000.0\noutput = 0.0\n"
BLOCK = 12  # questions on one image
TRIALS = 2 * 12 * 12


def study(folder: Path, latency: float, extra: str = "") -> Path:
    text = STUDY.replace('kind = "scripted"', f'kind = "scripted"\nblocks_at_once = 1\nlatency = {latency}')
    return write_study(folder, text + extra)


class Terminal:
    """``palpate …`` on a terminal of so many columns; what it shows is gathered as it comes."""

    def __init__(self, *words: object, columns: int = 80, env: dict[str, str] | None = None) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "palpate", *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **(env or {})},
            start_new_session=True,
            preexec_fn=self._own,
        )
        os.close(theirs)
        self.shown = ""

    @staticmethod
    def _own() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        hear_ctrl_c()

    def look(self, seconds: float = 0.05) -> bool:
        """Take in what was written; False where the other side has closed."""
        if select.select([self._ours], [], [], seconds)[0]:
            try:
                found = os.read(self._ours, 65536)
            except OSError:
                return False
            self.shown += found.decode("utf-8", "replace")
            return bool(found)
        return True

    def until(self, words: str, patience: float = 60.0) -> None:
        began = time.monotonic()
        while words not in self.plain and self.look():
            assert time.monotonic() - began < patience, self.plain
        assert words in self.plain

    def press_ctrl_c(self) -> None:
        """As a person does: through the terminal, so that every process of it hears."""
        os.write(self._ours, b"\x03")

    def end(self, patience: float = 120.0) -> int:
        began = time.monotonic()
        while self.look(0.2):
            assert time.monotonic() - began < patience, self.plain
        os.close(self._ours)
        return self.process.wait(30)

    @property
    def plain(self) -> str:
        return CONTROL.sub("", self.shown)


def answered(run: Path) -> Counter[str]:
    """Case → how many of its questions are answered."""
    with Ledger(run / "ledger.sqlite") as ledger:
        query = "SELECT m.name || c.name FROM response r JOIN case_ c ON c.id = r.case_ JOIN model m ON m.id = r.model"
        return Counter(name for (name,) in ledger._select(query))


def test_progress_tells_rate_time_left_and_money_in_eighty_columns(tmp_path: Path) -> None:
    terminal = Terminal("run", study(tmp_path, 0.01, PRICES), "--out", tmp_path / "run")
    assert terminal.end() == 0, terminal.plain
    bars = [line for line in re.split(r"[\r\n]+", terminal.plain) if "━" in line]
    assert any(re.search(r"base +[━╺╸]+ +\d+/288 \d+/s, \d+ s left, \d+\.\d\d USD$", bar.rstrip()) for bar in bars), bars
    lines = [line for line in re.split(r"[\r\n]+", terminal.plain) if not re.search("palpate view /", line)]  # to be copied whole
    assert max(map(len, lines)) <= 80
    assert not [bar for bar in bars if "Study" in bar], "the bar shares its line with nothing"
    assert COLOUR.search(terminal.shown), "a terminal is shown colours"


def test_a_pipe_is_given_plain_lines(tmp_path: Path) -> None:
    with palpate("run", study(tmp_path, 0.0, PRICES), "--out", tmp_path / "run", env={"COLUMNS": ""}) as process:
        out, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert "\x1b" not in out + told
    assert "\r" not in out + told
    assert re.search(r"^tuned: 288 of 288 asked, [\d,]+/s, [\d.]+ USD$", told, re.MULTILINE), told
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("columns", [60, 130])
def test_the_summary_is_as_wide_as_the_terminal(tmp_path: Path, columns: int) -> None:
    terminal = Terminal("run", study(tmp_path, 0.0), "--out", tmp_path / "run", "--quiet", columns=columns)
    assert terminal.end() == 0, terminal.plain
    lines = terminal.plain.split("report: ")[0].splitlines()
    assert columns - 15 < max(map(len, lines)) <= columns


def test_quiet_shows_the_result_alone_and_no_color_no_colour(tmp_path: Path) -> None:
    terminal = Terminal("run", study(tmp_path, 0.0), "--out", tmp_path / "run", "--quiet", env={"NO_COLOR": "1"})
    assert terminal.end() == 0, terminal.plain
    assert terminal.plain.startswith("small\r\n")
    assert "Better than chance?" in terminal.plain
    assert "━" not in terminal.plain
    assert not COLOUR.search(terminal.shown)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_finishes_the_block_and_says_how_to_go_on(tmp_path: Path, workers: int) -> None:
    """On either way nothing is lost of an image that was begun, and the same command goes on."""
    file, run = study(tmp_path, 0.02), tmp_path / "run"
    terminal = Terminal("run", file, "--out", run, "--workers", workers)
    terminal.until("/288")
    while not re.search(r"[1-9]\d*/288", terminal.plain) and terminal.look():
        pass
    terminal.press_ctrl_c()
    assert terminal.end() == 130, terminal.plain
    assert "finishing the images under way" in terminal.plain
    assert "stopped: what was answered is kept; the same command goes on from there" in terminal.plain
    assert "Traceback" not in terminal.plain
    kept = answered(run)
    assert 0 < sum(kept.values()) < TRIALS
    assert set(kept.values()) == {BLOCK}, "whole Blocks"
    if workers > 1:
        return
    again = Terminal("run", file, "--out", run)
    assert again.end() == 0, again.plain
    assert f"{sum(kept.values())} answered in" in again.plain
    assert sum(answered(run).values()) == TRIALS


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    """The first image takes 24 seconds: had it been waited for, its answers would be kept."""
    run = tmp_path / "run"
    terminal = Terminal("run", study(tmp_path, 2.0), "--out", run)
    while not planned(run):
        assert terminal.look(), terminal.plain
    time.sleep(2)
    terminal.press_ctrl_c()
    terminal.until("finishing the images under way")
    terminal.press_ctrl_c()
    assert terminal.end() == 130, terminal.plain
    assert sum(answered(run).values()) == 0
    assert "Traceback" not in terminal.plain


def planned(run: Path) -> bool:
    """Whether the plan is written down: what comes next is the first question."""
    if not (run / "cases.csv").exists():
        return False
    with Ledger(run / "ledger.sqlite") as ledger:
        return ledger.plan() is not None


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    """Stopped by a script, which sends SIGINT to the whole group, while workers are at it."""
    with palpate("run", study(tmp_path, 0.05), "--out", tmp_path / "run", "--workers", 2) as process:
        while not (tmp_path / "run" / "ledger.sqlite").exists():
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    began = time.monotonic()
    while living(process.pid):
        assert time.monotonic() - began < 20
        time.sleep(0.05)


def living(group: int) -> list[str]:
    """The processes of a group that still run; one that has ended and whose parent has not asked is none."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended this moment
            continue
        if int(of_group) == group and state not in "ZX":
            found.append(stat.parent.name)
    return found
