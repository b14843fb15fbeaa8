"""Which slice of a volume, in which order slices lie, and which label a file has by a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from palpate.cases._label_tables import label_table
from palpate.cases._volumes import choose, ordered, slice_rule, told, window_option
from palpate.errors import SourceError
from palpate.parts import Labels

LABELS = Labels(("pneumonia",), ("normal",))


def values(areas: list[int]):
    """A volume whose slice i has ``areas[i]`` bright pixels."""

    def of(i: int) -> np.ndarray:
        found = np.zeros(100)
        found[: areas[i]] = 50.0
        return found

    return of


@pytest.mark.parametrize(("n", "index"), [(1, 0), (2, 1), (3, 1), (7, 3), (8, 4)])
def test_the_middle(n, index):
    assert choose("middle", n, values([0] * n)) == index


@pytest.mark.parametrize(("areas", "index"), [([3, 9, 4], 1), ([9, 9, 1], 0), ([5], 0), ([1, 2, 30, 29], 2)])
def test_the_largest(areas, index):
    assert choose("largest", len(areas), values(areas)) == index


def test_by_number():
    assert [choose(i, 3, values([0] * 3)) for i in (1, 2, 3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="has 3 slices, and no slice 4"):
        choose(4, 3, values([0] * 3))


def test_how_it_is_recorded():
    assert told("middle", 3, 7) == "middle, 4 of 7"
    assert told(4, 3, 7) == "4 of 7"


@pytest.mark.parametrize("given", ["first", "", 0, -1, 1.5, True, ["middle"]])
def test_what_is_no_rule(given):
    with pytest.raises(SourceError, match="is no rule"):
        slice_rule({"slice": given})


@pytest.mark.parametrize("given", [None, "middle", "largest", 1, 99])
def test_what_is_a_rule(given):
    assert slice_rule({"slice": given} if given is not None else {}) == given


@pytest.mark.parametrize(
    "given", ["lung", [], [40], [40, 0.5], [40, 400, 1], [True, 400], ["40", "400"], [float("nan"), 400], [1e12, 4]]
)
def test_what_is_no_window(given):
    with pytest.raises(SourceError, match="is no window"):
        window_option({"window": given})


def test_what_is_a_window():
    assert window_option({}) is None
    assert window_option({"window": [40, 400]}) == (40.0, 400.0)
    assert window_option({"window": (-600.5, 1500)}) == (-600.5, 1500.0)


@pytest.mark.parametrize(
    ("positions", "numbers", "order"),
    [
        ([3.0, 1.0, 2.0], [1, 2, 3], [1, 2, 0]),
        ([None, 1.0, 2.0], [3, 1, 2], [1, 2, 0]),
        ([None] * 3, [3, None, 1], [0, 1, 2]),
        ([1.0, 1.0, 0.0], [9, 8, 7], [2, 0, 1]),
    ],
)
def test_the_order_in_which_slices_lie(positions, numbers, order):
    assert ordered(["a", "b", "c"], positions, numbers) == order


# ---------------------------------------------------------------- labels by a table


def table(folder: Path, text: str, **options):
    (folder / "labels.csv").write_text(text)
    return label_table({"table": str(folder / "labels.csv"), **options}, LABELS, ("file", "PatientID"))


def test_a_table_finds_files_by_the_first_column_it_knows(tmp_path):
    assert table(tmp_path, "PatientID,file,label\np1,a,normal\np2,b,pneumonia\n") == ("file", {"a": 0, "b": 1})
    assert table(tmp_path, "PatientID,file,label\np1,a,normal\n", by="PatientID") == ("PatientID", {"p1": 0})
    assert table(tmp_path, "file,finding\na,Normal\n", label="finding") == ("file", {"a": 0})


def test_a_row_without_a_label_is_no_case(tmp_path):
    assert table(tmp_path, "file,label\na,normal\nb,\n") == ("file", {"a": 0})


def test_the_same_row_twice_is_the_same_label(tmp_path):
    assert table(tmp_path, "file,label\na,normal\na,normal\n") == ("file", {"a": 0})


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("name,label\na,normal\n", {}, "cannot tell"),
        ("file,finding\na,normal\n", {}, "cannot tell"),
        ("file,label\na,normal\n", {"by": "name"}, "cannot tell"),
        ("file,label\na,normal\na,pneumonia\n", {}, "one file has two labels"),
        ("file,label\na,healthy\n", {}, "'healthy'"),
        ("", {}, "cannot tell"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path, text, options, said):
    with pytest.raises(SourceError, match=said):
        table(tmp_path, text, **options)


def test_a_table_that_is_not_there():
    with pytest.raises(SourceError, match="there is no file"):
        label_table({"table": "/no/such/labels.csv"}, LABELS, ("file",))
