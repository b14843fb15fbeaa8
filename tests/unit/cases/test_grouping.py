"""Whose image it is: by a pattern on the name, or by a function that the study names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from palpate.cases._grouping import Grouping
from palpate.cases.folder import FolderSource
from palpate.cases.table import TableSource
from palpate.errors import SourceError
from palpate.parts import Labels, Sample
from small import make_images

LABELS = Labels(("pneumonia",), ("normal",))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_groups.py").write_text(
        "def patient(name): return name.rsplit('/', 1)[-1].split('_')[0]\n"
        "def nobody(name): return None\n"
        "def broken(name): return name.no_such_thing\n"
        "def number(name): return 7\n"
        "value = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PALPATE_TRUST_CODE", "1")
    yield "own_groups"
    sys.modules.pop("own_groups", None)


@pytest.mark.parametrize(
    ("pattern", "name", "group"),
    [
        (r"(person\d+)_", "a/person12_3.png", "person12"),
        (r"(?P<group>s\d+)/(\d+)", "s4/17.png", "s4"),
        (r"slide-[A-Z]+", "x/slide-QR_1.png", "slide-QR"),
        (r"(person\d+)_", "a/other.png", None),
        ("", "a/person12_3.png", None),
    ],
)
def test_a_pattern(pattern, name, group):
    assert Grouping({"group_regex": pattern}, where="x")(name) == group


def test_a_function_is_called_with_the_name(own):
    group_of = Grouping({"group_function": f"{own}:patient"}, where="x")
    assert group_of("normal/person7_2.png") == "person7"
    assert bool(group_of)


def test_a_function_groups_a_folder_and_a_table(own, tmp_path):
    root = make_images(tmp_path / "images")
    options = {"path": str(root), "group_function": f"{own}:patient"}
    found = FolderSource().load(options, LABELS, Sample())
    assert len({c.group for c in found.cases}) == 6
    names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    (root / "cases.csv").write_text("file,label\n" + "".join(f"{n},{n.split('/')[0]}\n" for n in names))
    again = TableSource().load({"path": str(root / "cases.csv"), "group_function": f"{own}:patient"}, LABELS, Sample())
    assert {c.group for c in again.cases} == {c.group for c in found.cases}
    by_pattern = TableSource().load({"path": str(root / "cases.csv"), "group_regex": r"(person\d+)"}, LABELS, Sample())
    assert {c.group for c in by_pattern.cases} == {c.group for c in found.cases}


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("{own}", "names no function"),
        ("{own}:", "names no function"),
        ("no_such_module:f", "cannot be imported"),
        ("{own}:no_such", "cannot be imported"),
        ("{own}:value", "is no function"),
    ],
)
def test_a_function_that_is_none(own, function, said):
    with pytest.raises(SourceError, match=said):
        Grouping({"group_function": function.format(own=own)}, where="x")


def test_a_function_that_fails_is_named(own):
    with pytest.raises(SourceError, match=r"fails on a\.png: AttributeError"):
        Grouping({"group_function": f"{own}:broken"}, where="x")("a.png")
    with pytest.raises(SourceError, match=r"gives 7 for a\.png"):
        Grouping({"group_function": f"{own}:number"}, where="x")("a.png")


def test_a_function_that_knows_nobody(own, tmp_path):
    options = {"path": str(make_images(tmp_path / "images")), "group_function": f"{own}:nobody"}
    with pytest.raises(SourceError, match="knows none of 12 files"):
        FolderSource().load(options, LABELS, Sample())


def test_only_one_way_at_once(own):
    with pytest.raises(SourceError, match="both group_regex and group_function"):
        Grouping({"group_function": f"{own}:patient", "group_regex": "x"}, where="x")


def test_no_module_is_imported_unless_it_is_named(own):
    Grouping({"group_regex": "x"}, where="x")
    assert "own_groups" not in sys.modules


@pytest.mark.parametrize("said", [None, "", "0", "yes"])
def test_a_study_file_alone_runs_no_code(own, said, monkeypatch):
    monkeypatch.delenv("PALPATE_TRUST_CODE")
    if said is not None:
        monkeypatch.setenv("PALPATE_TRUST_CODE", said)
    for function in (f"{own}:patient", "os:system"):
        with pytest.raises(SourceError, match="a study file alone runs none") as fault:
            Grouping({"group_function": function}, where="x")
        assert "PALPATE_TRUST_CODE=1" in fault.value.expected
    assert "own_groups" not in sys.modules
