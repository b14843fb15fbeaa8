"""TOML in, checked records out: one fault, located, with what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from palpate.errors import StudyError
from palpate.files import absolute, check, key_path, load_toml


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    depth: int = 0
    names: list[str] = []


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    inner: Inner = Inner()
    many: list[Inner] | None = None
    table: dict[str, str] = {}
    share: float = 0.5
    sure: bool = False


def test_a_good_file_loads(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('name = "x"\n[inner]\ndepth = 2\n[[many]]\nnames = ["ü"]\n', encoding="utf-8")
    found = check(Outer, load_toml(file), "a.toml")
    assert (found.name, found.inner.depth, found.share) == ("x", 2, 0.5)
    assert found.many is not None
    assert found.many[0].names == ["ü"]


@pytest.mark.parametrize(
    ("raw", "where", "says"),
    [
        ({}, "f.toml: name", ["is missing"]),
        ({"name": 3}, "f.toml: name", ["3 is not accepted", "a text"]),
        ({"name": "x", "nam": 1}, "f.toml: nam", ["unknown key", "did you mean name?"]),
        ({"name": "x", "inner": 3}, "f.toml: inner", ["3 is not accepted", "a table"]),
        ({"name": "x", "inner": {"dept": 1}}, "f.toml: inner.dept", ["unknown key", "depth, names", "did you mean depth"]),
        ({"name": "x", "inner": {"depth": "1"}}, "f.toml: inner.depth", ["'1' is not accepted", "a whole number"]),
        ({"name": "x", "inner": {"depth": True}}, "f.toml: inner.depth", ["true is not accepted", "a whole number"]),
        ({"name": "x", "inner": {"depth": 1.0}}, "f.toml: inner.depth", ["1.0", "a whole number"]),
        ({"name": "x", "many": [{}, {"dept": 1}]}, "f.toml: many[1].dept", ["unknown key", "did you mean depth"]),
        ({"name": "x", "many": {"depth": 1}}, "f.toml: many", ["a list"]),
        ({"name": "x", "inner": {"names": "y"}}, "f.toml: inner.names", ["'y'", "a list, in square brackets"]),
        ({"name": "x", "inner": {"names": [1]}}, "f.toml: inner.names[0]", ["1 is not accepted", "a text"]),
        ({"name": "x", "table": "y"}, "f.toml: table", ["a table"]),
        ({"name": "x", "share": "half"}, "f.toml: share", ["'half'", "a number"]),
        ({"name": "x", "sure": "yes"}, "f.toml: sure", ["'yes'", "true or false"]),
        ({"name": ["long" * 50]}, "f.toml: name", ["…", "a text"]),
    ],
)
def test_the_first_fault_is_located(raw: dict[str, object], where: str, says: list[str]) -> None:
    with pytest.raises(StudyError) as fault:
        check(Outer, raw, "f.toml")
    assert fault.value.where == where
    assert not [s for s in says if s not in str(fault.value)], str(fault.value)
    assert all(len(line) < 150 for line in str(fault.value).splitlines())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'name = "x', "not valid TOML"),
        (b"a = 1\na = 2\n", "not valid TOML"),
        (b"yes: 1\n", "not valid TOML"),
        (b'name = "caf\xe9"', "cannot be read"),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(content)
    with pytest.raises(StudyError, match=says) as fault:
        load_toml(file)
    assert fault.value.where == str(file)


def test_a_pattern_in_double_quotes_is_told_of_single_ones(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('group_regex = "(person\\d+)"', encoding="utf-8")
    with pytest.raises(StudyError, match="not valid TOML") as fault:
        load_toml(file)
    assert "single quotes: '(person\\d+)'" in fault.value.hint
    file.write_text("x = ", encoding="utf-8")
    with pytest.raises(StudyError) as fault:
        load_toml(file)
    assert not fault.value.hint


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b'\xef\xbb\xbfname = "x"')
    assert load_toml(tmp_path / "a.toml") == {"name": "x"}


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is a folder"):
        load_toml(tmp_path)


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "chest.toml").write_text("", encoding="utf-8")
    with pytest.raises(StudyError, match="no such file") as fault:
        load_toml(tmp_path / "chset.toml")
    assert str(tmp_path / "chest.toml") in fault.value.hint
    with pytest.raises(StudyError) as fault:
        load_toml(tmp_path / "elsewhere" / "zzz.toml")
    assert "palpate init" in fault.value.hint


def test_a_file_that_may_not_be_read(unprivileged: Path) -> None:
    file = unprivileged / "a.toml"
    file.write_text("", encoding="utf-8")
    file.chmod(0)
    with pytest.raises(StudyError, match="cannot be read"):
        load_toml(file)


def test_a_key_is_written_as_a_person_would() -> None:
    assert key_path(("tasks", 1, "source", "path")) == "tasks[1].source.path"
    assert key_path(()) == ""
    assert key_path((0, "a")) == "[0].a"


def test_paths_are_taken_from_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert absolute("a/../b", tmp_path, "w") == tmp_path / "b"
    assert absolute("/b", tmp_path, "w") == Path("/b")
    assert absolute("~/b", tmp_path, "w") == tmp_path / "home" / "b"


@pytest.mark.parametrize("given", ["a\0b", "~no-such-user-here/b"])
def test_what_can_be_no_path(tmp_path: Path, given: str) -> None:
    with pytest.raises(StudyError, match="can be no path") as fault:
        absolute(given, tmp_path, "f.toml: tasks[0].source.path")
    assert fault.value.where == "f.toml: tasks[0].source.path"
