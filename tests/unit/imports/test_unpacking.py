"""Archives from outside are measured before they are unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from palpate.errors import SourceError
from palpate.imports import unpacking
from palpate.imports.answers import read_answers
from palpate.imports.unpacking import open_archive


def bomb(path: Path, megabytes: int, members: int = 1) -> Path:
    """Zeros, which pack to a thousandth."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(members):
            archive.writestr(f"samples/{i}.json", bytes(megabytes << 20))
    return path


@pytest.mark.parametrize("name", ["log.eval", "table.xlsx"])
def test_what_would_unpack_to_too_much_is_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(unpacking, "LARGEST_MEMBER", 2 << 20)
    path = bomb(tmp_path / name, 3)
    assert path.stat().st_size < 10_000
    with pytest.raises(SourceError, match=r"holds a file that unpacks to 3,145,728 bytes") as fault:
        read_answers([path])
    assert fault.value.hint


def test_many_small_ones_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bomb(tmp_path / "log.eval", 1, members=4)
    monkeypatch.setattr(unpacking, "LARGEST_WHOLE", 3 << 20)
    with pytest.raises(SourceError, match="unpacks to 4,194,304 bytes"):
        open_archive(path, "a log")
    monkeypatch.setattr(unpacking, "LARGEST_WHOLE", 5 << 20)
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 3)
    with pytest.raises(SourceError, match="holds 4 files"):
        open_archive(path, "a log")
    monkeypatch.setattr(unpacking, "MOST_MEMBERS", 4)
    open_archive(path, "a log").close()


@pytest.mark.parametrize("name", ["log.eval", "table.xlsx"])
def test_what_is_no_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a zip")
    with pytest.raises(SourceError, match="is no zip archive"):
        read_answers([tmp_path / name])


def test_names_in_an_archive_are_never_paths(tmp_path: Path) -> None:
    """Members are read, not written: a name that climbs out of the folder does nothing."""
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("samples/../../../evil.json", '{"id": 1}')
    with pytest.raises(SourceError):
        read_answers([tmp_path / "log.eval"])
    assert [p.name for p in tmp_path.iterdir()] == ["log.eval"]
