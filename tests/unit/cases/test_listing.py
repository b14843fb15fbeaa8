"""What the file sources share: pseudonyms, nearest paths, and tables that are broken in every way."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from palpate.cases._listing import existing, pseudonym, text_option, unknown_labels, unknown_options
from palpate.cases.table import TableSource
from palpate.errors import SourceError
from palpate.nouns import CaseSet
from palpate.parts import Labels, Sample

LABELS = Labels(("1",), ("0",))


@given(st.text(), st.text(), st.text())
@example("\ud800", "a", "")
def test_a_pseudonym_depends_on_value_and_salt_and_shows_neither(one, two, salt):
    try:
        salt.encode()
        one.encode()
        two.encode()
    except UnicodeEncodeError:
        return
    assert pseudonym(one, salt) == pseudonym(one, salt)
    assert (pseudonym(one, salt) == pseudonym(two, salt)) is (one == two)
    assert len(pseudonym(one, salt)) == 14
    assert set(pseudonym(one, salt)[2:]) <= set("0123456789abcdef")


def test_a_file_name_that_is_no_text_still_has_a_pseudonym():
    assert pseudonym("caf\udce9.png", "").startswith("g-")


def test_an_empty_salt_is_no_salt_and_another_one_changes_every_group():
    values = [f"patient {n}" for n in range(100)]
    plain, salted, other = ([pseudonym(value, salt) for value in values] for salt in ("", "pepper", "cumin"))
    assert len({*plain, *salted, *other}) == 300


@pytest.mark.parametrize(
    ("given_path", "hint"),
    [
        ("chests", "did you mean .*chest"),
        ("Chest/Tran", "did you mean .*Chest/train|holds|did you mean .*chest"),
        ("chest/tran", "did you mean .*chest/train"),
        ("chest/train/deep/deeper", "holds nothing"),
        ("zebra", "holds chest, labels.csv"),
    ],
)
def test_a_missing_folder_names_what_is_nearest(tmp_path: Path, given_path, hint):
    (tmp_path / "chest" / "train").mkdir(parents=True)
    (tmp_path / "labels.csv").touch()
    with pytest.raises(SourceError, match=hint):
        existing({"path": str(tmp_path / given_path)}, folder=True)


def test_a_path_may_be_given_as_a_path(tmp_path):
    assert existing({"path": tmp_path}, folder=True) == tmp_path
    assert text_option({}, "salt", "x") == "x"


def test_options_are_checked_by_name_and_type():
    unknown_options({"path": 1}, {"path": ""})
    with pytest.raises(SourceError, match="did you mean 'path'"):
        unknown_options({"paht": 1}, {"path": ""})
    with pytest.raises(SourceError, match="is not a text"):
        text_option({"salt": 5}, "salt")


def test_unknown_labels_are_listed_commonest_first_and_not_without_end():
    error = unknown_labels({f"v{n:02d}": n for n in range(1, 21)}, LABELS, where="t.csv", noun="rows")
    assert "'v20' (20), 'v19' (19)" in error.problem
    assert error.problem.endswith("and 8 more")
    assert error.expected == "positive 1; negative 0"
    assert 'labels = { positive = ["…"]' in error.hint  # which of them mean what is the user's to say


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("images")
    Image.new("L", (9, 9), 50).save(path / "a.png")
    return path


def outcome(path: Path) -> str:
    """A table is either read or refused with a SourceError; anything else fails the test."""
    try:
        assert isinstance(TableSource().load({"path": str(path)}, LABELS, Sample()), CaseSet)
    except SourceError as error:
        return error.problem
    return "read"


TABLE_PIECES = ["file", "label", "a.png", "0", "1", ",", ";", "\n", "\r", '"', "\t", "\0", "..", "/", "é", "\ufeff", "x" * 50]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.sampled_from(TABLE_PIECES), max_size=25).map("".join))
@example("file,label\na.png,1\n")
@example("file,label\n" + "x" * 200_000 + ",1\n")
def test_any_text_as_a_table_is_read_or_refused(folder, text):
    path = folder / "t.csv"
    path.write_bytes(text.encode())
    assert outcome(path)


def test_a_name_too_long_for_the_disk_is_an_image_that_is_not_there(folder):
    path = folder / "t.csv"
    path.write_text("file,label\n" + "x" * 300 + ",1\n")
    with pytest.raises(SourceError) as error:
        TableSource().load({"path": str(path)}, LABELS, Sample())
    assert "none of its 1 images" in error.value.problem
    assert "x" * 80 + "…" in error.value.problem
    assert len(error.value.problem) < 300 + len(str(folder))
    with Image.new("L", (8, 8)) as picture:
        picture.save(folder / "there.png")
    path.write_text("file,label\nthere.png,1\n" + "x" * 300 + ",0\n")
    read = TableSource().load({"path": str(path)}, LABELS, Sample())
    assert len(read.cases) == 1


def test_damaged_parquet_is_read_or_refused(folder):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"file": ["a.png"] * 1, "label": ["1"]}), buffer)
    whole = buffer.getvalue()
    path = folder / "t.parquet"
    outcomes = set()
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:at])
        outcomes.add(outcome(path))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        outcomes.add(outcome(path))
    path.write_bytes(whole)
    assert outcome(path) == "read"
    assert len(outcomes) > 1
