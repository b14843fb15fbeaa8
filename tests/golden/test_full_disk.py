"""The disk runs full, at whatever point: one clear error, the ledger still opens, and with more space the run goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults_found import survived
from palpate.store.ledger import Ledger
from small import Cli, write_study

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


def mount(disk: Path, size: str, *, again: bool = False) -> bool:
    options = f"{'remount,' if again else ''}size={size}"
    return not subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, check=False).returncode


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    found = tmp_path / "disk"
    found.mkdir()
    if not mount(found, "16m"):
        pytest.skip("this machine does not let root mount")
    yield found
    subprocess.run(["umount", found], check=True)


@pytest.mark.parametrize("size", ["32k", "140k", "200k", "280k", "340k", "400k"])
def test_a_full_disk(cli: Cli, tmp_path: Path, disk: Path, finished: Path, size: str) -> None:
    """From too small for an empty ledger to too small for the report alone."""
    study = write_study(tmp_path)
    study.write_text(study.read_text(encoding="utf-8").replace('"scripted"', '"scripted"\nblocks_at_once = 1'), encoding="utf-8")
    assert mount(disk, size, again=True)
    out = disk / "run"
    result = cli("run", study, "--out", out, "-q", exit_code=2)
    assert result.stderr.startswith("palpate: ")
    assert str(disk) in result.stderr
    assert "full" in result.stderr or "No space left" in result.stderr or "I/O" in result.stderr
    assert not list(out.glob(".*.new"))
    assert mount(disk, "16m", again=True)
    with Ledger(finished / "ledger.sqlite") as ledger:
        whole = set(ledger.texts())
    if (out / "study.toml").exists():
        with Ledger(out / "ledger.sqlite") as ledger:
            assert set(ledger.texts()) <= whole
    cli("run", study, "--out", out, "-q")
    with Ledger(out / "ledger.sqlite") as ledger:
        assert set(ledger.texts()) == whole
    assert (out / "estimates.json").read_bytes() == (finished / "estimates.json").read_bytes()
    survived("full", 1, part=size)
