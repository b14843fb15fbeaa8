"""NIfTI volumes: turned to the radiologist's view whatever way they were stored, and never more memory than they hold."""

from __future__ import annotations

import gzip
import pickle
import struct
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from palpate.cases import nifti
from palpate.cases._images import Undecodable
from palpate.cases.nifti import NiftiSource
from palpate.errors import SourceError
from palpate.parts import Labels, Sample

LABELS = Labels(("pneumonia",), ("normal",))
SHAPE = (20, 24, 16)


def volume() -> np.ndarray:
    """Left to right 0–19, back to front +100 each, foot to head +10,000 each: a value says where it lies."""
    x, y, z = np.indices(SHAPE)
    return (x + 100 * y + 10_000 * z).astype(np.int32)


def write(path: Path, values: np.ndarray, affine: np.ndarray | None = None, **header) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, path)
    return path


def load(root: Path, **options):
    return NiftiSource().load({"path": str(root), **options}, LABELS, Sample())


def shown(case) -> np.ndarray:
    return np.asarray(case.image.open())[..., 0].astype(int)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_axial_view_has_the_front_on_top_and_the_right_on_the_left(tmp_path, name):
    write(tmp_path / "normal" / name, volume())
    case = load(tmp_path).cases[0]
    assert (case.decode["plane"], case.decode["slice"]) == ("axial", "middle, 9 of 16")
    pixels = shown(case)
    assert pixels.shape == (24, 20)
    assert pixels[0, 0] == 255  # the patient's right front: the highest x and y
    assert pixels[-1, -1] == 0
    assert pixels[0, 10] > pixels[-1, 10]


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_the_view_does_not_depend_on_how_the_volume_was_stored(tmp_path, plane):
    pictures = []
    for i, (flip, axes) in enumerate(
        [((), (0, 1, 2)), ((0,), (0, 1, 2)), ((1, 2), (0, 1, 2)), ((), (2, 0, 1)), ((0, 2), (1, 2, 0))]
    ):
        values, affine = volume(), np.eye(4)
        for axis in flip:
            values = np.flip(values, axis)
            affine[axis, axis], affine[axis, 3] = -1, SHAPE[axis] - 1
        write(tmp_path / str(i) / "normal" / "a.nii", np.transpose(values, axes), affine[:, [*axes, 3]])
        pictures.append(shown(load(tmp_path / str(i), plane=plane).cases[0]))
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    assert pictures[0].shape == {"axial": (24, 20), "coronal": (16, 20), "sagittal": (16, 24)}[plane]


def test_rules_for_the_slice(tmp_path):
    values = np.zeros(SHAPE, np.int16)
    values[4:15, 4:15, 11] = 500
    values[4:8, 4:8, 8] = 900
    write(tmp_path / "normal" / "a.nii", values)
    assert load(tmp_path, slice="largest").cases[0].decode["slice"] == "largest, 12 of 16"
    assert load(tmp_path, slice=9).cases[0].decode["slice"] == "9 of 16"
    with pytest.raises(SourceError, match="no slice 17"):
        load(tmp_path, slice=17)


def test_windows(tmp_path):
    write(tmp_path / "normal" / "a.nii", np.full(SHAPE, 40, np.int16) + np.arange(SHAPE[0], dtype=np.int16)[:, None, None])
    case = load(tmp_path, window=[50, 100]).cases[0]
    assert case.decode["window"] == "task 50,100"
    assert sorted(set(shown(case).ravel())) == [int(np.rint((40 + i) / 100 * 255)) for i in range(20)]
    write(tmp_path / "b" / "normal" / "a.nii", volume(), cal_min=0, cal_max=200_000)
    assert load(tmp_path / "b").cases[0].decode["window"] == "file 0..200000"


def test_scaling_of_the_file_is_applied(tmp_path):
    image = nibabel.Nifti1Image(volume().astype(np.int16), np.eye(4))
    image.header.set_slope_inter(2, -1000)
    (tmp_path / "normal").mkdir()
    path = tmp_path / "normal" / "a.nii"
    image.to_filename(path)
    stored = np.asarray(nibabel.load(path).dataobj)
    case = load(tmp_path).cases[0]
    axial = stored[:, :, 8]
    assert case.decode["window"] == f"range {axial.min():g},{axial.max():g}"


def test_a_series_in_time(tmp_path):
    values = np.stack([volume(), volume()[::-1]], axis=-1)
    write(tmp_path / "normal" / "a.nii", values)
    first, second = (load(tmp_path, volume=v).cases[0] for v in (1, 2))
    assert second.decode["volume"] == "2 of 2"
    assert not np.array_equal(shown(first), shown(second))
    with pytest.raises(SourceError, match="no volume 3"):
        load(tmp_path, volume=3)


def test_labels_from_a_table(tmp_path):
    for i in range(4):
        write(tmp_path / "all" / f"{i}.nii.gz", volume() + i)
    (tmp_path / "labels.csv").write_text("file,label\n0.nii.gz,normal\n1.nii.gz,pneumonia\n2.nii.gz,normal\n")
    found = load(tmp_path / "all", table=str(tmp_path / "labels.csv"))
    assert {found.names[c.id]: c.label for c in found.cases} == {"0.nii.gz": 0, "1.nii.gz": 1, "2.nii.gz": 0}
    assert found.notes == ("1 files are not in the table of labels, and no cases",)


def test_broken_files_are_left_out_by_name(tmp_path):
    good = write(tmp_path / "normal" / "good.nii.gz", volume()).read_bytes()
    (tmp_path / "normal" / "short.nii.gz").write_bytes(good[:2000])
    (tmp_path / "normal" / "empty.nii").write_bytes(b"")
    (tmp_path / "normal" / "text.nii").write_text("no volume")
    (tmp_path / "normal" / "nan.nii").write_bytes(write(tmp_path / "x.nii", np.full(SHAPE, np.nan, np.float32)).read_bytes())
    (tmp_path / "normal" / "flat.nii").write_bytes(write(tmp_path / "x.nii", np.full(SHAPE, 3, np.int16)).read_bytes())
    (tmp_path / "normal" / "plane.nii").write_bytes(write(tmp_path / "x.nii", np.zeros((20, 20), np.int16)).read_bytes())
    found = load(tmp_path)
    assert {out.name.split("/")[1] for out in found.left_out} == {
        "short.nii.gz",
        "empty.nii",
        "text.nii",
        "nan.nii",
        "flat.nii",
        "plane.nii",
    }
    assert len(found.cases) == 1


def test_a_header_that_claims_more_than_there_is(tmp_path):
    data = bytearray(write(tmp_path / "normal" / "a.nii", volume()).read_bytes())
    data[42:48] = struct.pack("<3h", 30_000, 30_000, 30_000)
    (tmp_path / "normal" / "a.nii").write_bytes(bytes(data))
    write(tmp_path / "normal" / "b.nii", volume())
    assert "claims" in load(tmp_path).left_out[0].reason


def test_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(nifti, "MAX_VOLUME", 1000)
    with pytest.raises(Undecodable, match="unpacks to more"):
        nifti._unpacked(gzip.compress(bytes(100_000)))


def test_a_file_changed_since_planning_is_not_shown(tmp_path):
    path = write(tmp_path / "normal" / "a.nii", volume())
    case = load(tmp_path).cases[0]
    assert pickle.loads(pickle.dumps(case.image)).open().tobytes() == case.image.open().tobytes()
    write(path, volume()[::-1])
    with pytest.raises(Undecodable, match="has changed"):
        case.image.open()


@pytest.mark.parametrize(
    ("options", "said"), [({"plane": "oblique"}, "no plane"), ({"volume": 0}, "no number"), ({"slice": -1}, "no rule")]
)
def test_faulty_options(tmp_path, options, said):
    write(tmp_path / "normal" / "a.nii", volume())
    with pytest.raises(SourceError, match=said):
        load(tmp_path, **options)


def test_without_the_package_the_error_names_the_extra(tmp_path, monkeypatch):
    write(tmp_path / "normal" / "a.nii", volume())
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(SourceError, match="need the package nibabel") as fault:
        load(tmp_path)
    assert "palpate[nifti]" in fault.value.hint
