"""The folder source: labels, groups, samples, errors."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from PIL import Image

from palpate.cases.folder import FolderSource
from palpate.errors import SourceError
from palpate.parts import WITHHELD, Labels, Sample, Source

LABELS = Labels(("pneumonia",), ("Normal",))
EVERY = Sample()


def picture(path: Path, value: int, size: tuple[int, int] = (16, 12)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value // 2, 7)).save(path)
    return path


@pytest.fixture
def chest(tmp_path: Path) -> Path:
    for n in range(6):
        picture(tmp_path / "chest" / "PNEUMONIA" / f"person{n // 2}_{n}.png", 10 + n)
        picture(tmp_path / "chest" / "normal" / "deep" / f"IM-{n}.png", 100 + n)
    return tmp_path / "chest"


def load(path: Path, sample: Sample = EVERY, labels: Labels = LABELS, **options):
    return FolderSource().load({"path": str(path), **options}, labels, sample)


def test_it_is_a_source():
    assert isinstance(FolderSource(), Source)


def test_sub_folders_are_labels_whatever_their_case(chest):
    found = load(chest)
    assert [case.label for case in found.cases] == [1] * 6 + [0] * 6
    assert found.names[found.cases[0].id] == "PNEUMONIA/person0_0.png"
    assert found.left_out == ()


def test_a_case_opens_and_pickles(chest):
    case = pickle.loads(pickle.dumps(load(chest).cases[0]))
    image = case.image.open()
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (16, 12), (10, 5, 7))


def test_nothing_in_a_case_names_a_file_or_a_patient(chest):
    for case in load(chest, group_regex=r"(person\d+)_").cases:
        held = f"{case.id} {case.group} {case.digest} {case.decode} {case.metadata}"
        assert not any(word in held for word in ("person", "IM-", "png", str(chest)))
        assert case.id == f"c-{case.digest[:12]}"
        assert len(case.digest) == 32


def test_groups_come_from_the_pattern_and_the_rest_stand_alone(chest):
    found = load(chest, group_regex=r"(person\d+)_")
    sick, well = found.cases[:6], found.cases[6:]
    assert len({case.group for case in sick}) == 3
    assert len({case.group for case in well}) == 6
    assert all(case.metadata == {"grouped": False} for case in well)
    assert all(case.metadata == {} for case in sick)


@pytest.mark.parametrize(
    "pattern",
    [r"(person\d+|IM-\d)", r"(person\d+)|(IM-\d)", r"(x)?(?P<group>person\d+|IM-\d)", r"person\d+|IM-\d"],
)
def test_ways_to_write_the_pattern(chest, pattern):
    groups = {case.group for case in load(chest, group_regex=pattern).cases}
    assert len(groups) == 3 + 6


def test_a_salt_changes_groups_but_not_who_shares_one(chest):
    plain = [case.group for case in load(chest, group_regex=r"(person\d+)_").cases[:6]]
    salted = [case.group for case in load(chest, group_regex=r"(person\d+)_", salt="s" * 200).cases[:6]]
    assert not set(plain) & set(salted)
    assert [plain.index(g) for g in plain] == [salted.index(g) for g in salted]


def test_byte_identical_copies_get_their_own_id_and_share_a_group(chest):
    (chest / "normal" / "copy.png").write_bytes((chest / "normal" / "deep" / "IM-0.png").read_bytes())
    copies = [case for case in load(chest).cases if case.id.endswith("-2") or case.id + "-2" in load(chest).names]
    assert [case.id[-2:] == "-2" for case in copies] == [False, True]
    assert copies[0].group == copies[1].group
    assert copies[0].digest == copies[1].digest


def test_one_folder_in_between_is_entered_and_several_are_listed(chest, tmp_path):
    (tmp_path / "root").mkdir()
    chest.rename(tmp_path / "root" / "test")
    found = load(tmp_path / "root")
    assert found.names[found.cases[0].id] == "test/PNEUMONIA/person0_0.png"
    picture(tmp_path / "root" / "train" / "normal" / "a.png", 1)
    with pytest.raises(SourceError, match="test, train") as raised:
        load(tmp_path / "root")
    assert 'path = "' in raised.value.hint


def test_other_files_are_no_images_and_broken_images_are_named(chest):
    for name in ("Thumbs.db", "SOURCE.txt", "labels.csv", ".hidden.png", "._IM-0.png"):
        (chest / "normal" / name).write_text("no image")
    (chest / "labels.csv").write_text("file,label\n")
    (chest / "normal" / "empty.png").touch()
    (chest / "normal" / "text.JPG").write_text("I am text")
    (chest / "normal" / "cut.png").write_bytes((chest / "normal" / "deep" / "IM-0.png").read_bytes()[:44])
    found = load(chest)
    assert len(found.cases) == 12
    assert {out.name: out.reason.split()[0] for out in found.left_out} == {
        "normal/cut.png": "is",
        "normal/empty.png": "the",
        "normal/text.JPG": "is",
    }


def test_the_sample_is_balanced_seeded_and_nested(chest):
    def names(sample: Sample) -> set[str]:
        return set(load(chest, sample).names.values())

    three = names(Sample(3, seed=4))
    assert len(three) == 6
    assert sum("PNEUMONIA" in name for name in three) == 3
    assert three < names(Sample(5, seed=4))
    assert len({frozenset(names(Sample(3, seed=s))) for s in range(8)}) > 4


def test_an_unusable_image_in_the_sample_is_replaced(chest):
    before = load(chest, Sample(3))
    victim = next(name for name in before.names.values() if "PNEUMONIA" in name)
    (chest / victim).write_bytes(b"")
    after = load(chest, Sample(3))
    assert [out.name for out in after.left_out] == [victim]
    assert sum(case.label for case in after.cases) == 3
    assert set(before.names.values()) - {victim} < set(after.names.values())


def test_pattern_and_recursive_choose_files(chest):
    assert len(load(chest, pattern="IM-*").cases) == 6
    assert {case.label for case in load(chest, recursive=False).cases} == {1}


def test_an_image_that_changes_after_loading_is_refused(chest):
    found = load(chest)
    picture(chest / found.names[found.cases[0].id], 250)
    with pytest.raises(ValueError, match="changed since"):
        found.cases[0].image.open()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"path": "chst"}, "did you mean .*chest"),
        ({"path": "chest/normal/deep/IM-0.png"}, 'kind = "table"'),
        ({"path": ""}, "path is missing"),
        ({"path": 3}, "not a text"),
        ({"path": "chest", "group_regexp": "x"}, "did you mean 'group_regex'"),
        ({"path": "chest", "group_regex": "(person"}, "not a pattern"),
        ({"path": "chest", "group_regex": "patient_(.)"}, "fits none of 12 files .*|person0_0"),
        ({"path": "chest", "pattern": "*.bmp"}, "no image file"),
        ({"path": "chest", "recursive": "no"}, "neither true nor false"),
        ({"path": "empty"}, "no sub-folder with images"),
        ({"path": "a\0b"}, "there is no folder"),
    ],
)
def test_a_wrong_option_is_one_clear_error(chest, options, says):
    (chest.parent / "empty").mkdir()
    if isinstance(options["path"], str) and options["path"]:
        options = {**options, "path": str(chest.parent / options["path"])}
    with pytest.raises(SourceError, match=says):
        FolderSource().load(options, LABELS, EVERY)


def test_an_unknown_label_folder_is_named_with_what_to_type(chest):
    picture(chest / "covid" / "a.png", 9)
    with pytest.raises(SourceError) as raised:
        load(chest)
    assert "'covid' (1)" in raised.value.problem
    assert "pneumonia" in raised.value.expected
    assert raised.value.hint.startswith('labels = { positive = ["…"], negative')  # which is which is not guessed
    with pytest.raises(SourceError, match="'normal' \\(6\\)"):
        load(chest, labels=Labels(("tumor",), ("none",)))


def test_a_folder_without_images_under_another_name_does_not_matter(chest):
    (chest / "notes").mkdir()
    (chest / "notes" / "a.txt").write_text("x")
    assert len(load(chest).cases) == 12


def test_when_no_image_can_be_used_the_error_says_so(tmp_path):
    (tmp_path / "normal").mkdir()
    (tmp_path / "normal" / "a.png").write_text("x")
    with pytest.raises(SourceError, match=r"no image of 1 can be used: normal/a\.png"):
        load(tmp_path)


DATA = Path(os.environ.get("PALPATE_DATA", Path(__file__).parents[4] / "shared" / "data")) / "images"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="clinical images are not in the repository: set PALPATE_DATA")


@needs_data
def test_chest_radiographs_with_patients_as_groups():
    options = {"group_regex": r"(person\d+|IM-\d+)"}
    found = load(DATA / "cxr_kermany_224" / "test", **options)
    assert sum(case.label for case in found.cases) == 390
    assert len(found.cases) == 624
    assert found.left_out == ()
    assert len({case.group for case in found.cases if case.label}) == 202
    assert [case.id for case in load(DATA / "cxr_kermany_224", **options).cases] == [case.id for case in found.cases]


@needs_data
def test_brain_images_of_mixed_formats():
    found = load(DATA / "brain_mri_yesno", labels=Labels(("yes",), ("no",)))
    assert (len(found.cases), found.left_out) == (253, ())
    assert len({case.group for case in found.cases}) <= 253 - 22  # pixel-identical copies, most of them byte-identical
    assert all(case.image.open().mode == "RGB" for case in found.cases[:40])


def test_a_salt_from_the_environment_is_the_same_salt(chest, monkeypatch):
    monkeypatch.setenv("WARD_SALT", "secret")
    options = {"group_regex": r"(person\d+)_"}
    by_name = [case.group for case in load(chest, salt_env="WARD_SALT", **options).cases]
    assert by_name == [case.group for case in load(chest, salt="secret", **options).cases]


def test_a_salt_that_is_not_there_is_not_taken_for_none(chest, monkeypatch):
    monkeypatch.delenv("WARD_SALT", raising=False)
    with pytest.raises(SourceError, match="'WARD_SALT' is not set") as fault:
        load(chest, salt_env="WARD_SALT")
    assert fault.value.hint == "export WARD_SALT=…"
    monkeypatch.setenv("WARD_SALT", "")
    with pytest.raises(SourceError, match="is not set"):
        load(chest, salt_env="WARD_SALT")
    with pytest.raises(SourceError, match="both salt and salt_env"):
        load(chest, salt="x", salt_env="WARD_SALT")
    with pytest.raises(SourceError, match="the salt is not in this file"):
        load(chest, salt=WITHHELD)


def test_images_without_a_patient_are_counted(chest):
    picture(chest / "PNEUMONIA" / "copy.png", 10)  # of person0_0.png
    assert load(chest).ungrouped == 13
    assert load(chest, group_regex=r"(person\d+)_").ungrouped == 7
    assert load(chest, group_regex=r"(.)").ungrouped == 0
