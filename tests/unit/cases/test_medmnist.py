"""MedMNIST files: splits, classes, and no file that could run code or fill the memory."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from palpate.cases.medmnist import MedMnistSource
from palpate.errors import SourceError, UnknownName
from palpate.parts import Labels, Sample

LABELS = Labels(("pneumonia", "1"), ("normal", "0"))
DATA = Path(os.environ.get("PALPATE_DATA", Path(__file__).parents[4] / "shared" / "data")) / "images" / "pneumoniamnist_28"


def arrays(size: int = 28, colour: bool = False, n: int = 12, classes: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (n, size, size, 3) if colour else (n, size, size)
    found = {}
    for split in ("train", "val", "test"):
        found[f"{split}_images"] = rng.integers(0, 255, shape, dtype=np.uint8)
        found[f"{split}_labels"] = (np.arange(n) % classes).astype(np.uint8)[:, None]
    return found


def write(path: Path, **found: np.ndarray) -> Path:
    np.savez_compressed(path, **found)
    return path


def load(path: Path, labels: Labels = LABELS, sample: Sample | None = None, **options):
    return MedMnistSource().load({"path": str(path), **options}, labels, sample or Sample())


@pytest.mark.parametrize("size", [28, 64, 128, 224])
@pytest.mark.parametrize("colour", [False, True])
def test_every_size_grey_and_colour(tmp_path, size, colour):
    given = arrays(size, colour)
    found = load(write(tmp_path / "x.npz", **given))
    for case in found.cases:
        row = int(found.names[case.id].removeprefix("test-"))
        pixels = given["test_images"][row]
        assert np.array_equal(np.asarray(case.image.open()), pixels if colour else np.repeat(pixels[..., None], 3, axis=2))
        assert case.label == row % 2
    assert found.notes == (f"{size} × {size} pixels; MedMNIST names no patients, every image stands alone",)


def test_splits_are_apart(tmp_path):
    path = write(tmp_path / "x.npz", **arrays())
    ids = [{c.digest for c in load(path, split=split).cases} for split in ("train", "val", "test")]
    assert all(len(found) == 12 for found in ids)
    assert not ids[0] & ids[1]
    with pytest.raises(UnknownName, match="validation"):
        load(path, split="validation")


def test_more_classes_by_name(tmp_path):
    path = write(tmp_path / "x.npz", **arrays(classes=3))
    names = ["nevus", "melanoma", "scar"]
    labels = Labels(("melanoma",), ("nevus",))
    with pytest.raises(SourceError, match=r"'scar' \(4\)"):
        load(path, labels, classes=names)
    found = load(path, labels, classes=names, others="left_out")
    assert (len(found.cases), found.notes[0]) == (8, "4 images of the classes scar are no cases")
    with pytest.raises(SourceError, match="names 2, and the file has class 2"):
        load(path, labels, classes=names[:2])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"test_images": np.zeros((12, 28, 28), np.float32)}, "float32"),
        ({"test_images": np.zeros((12, 28, 28, 28), np.uint8)}, "volumes"),
        ({"test_images": np.zeros((12, 4, 4), np.uint8)}, "4 × 4"),
        ({"test_labels": np.zeros((11, 1), np.uint8)}, "one class number"),
        ({"test_labels": np.zeros((12, 14), np.uint8)}, "several labels"),
        ({"test_labels": np.zeros((12, 1), np.float32)}, "float32"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, changed, said):
    with pytest.raises(SourceError) as fault:
        load(write(tmp_path / "x.npz", **{**arrays(), **changed}))
    assert said in str(fault.value)


def test_pickled_objects_are_never_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path / 'owned'}",))

    given = {**arrays(), "test_images": np.array([Evil()] * 12, dtype=object)}
    with pytest.raises(SourceError, match="pickled"):
        load(write(tmp_path / "x.npz", **given))
    assert not (tmp_path / "owned").exists()


def test_a_bomb_is_refused_by_its_head(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (10**7, 9999, 9999)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("test_images.npy", head.getvalue())
    with pytest.raises(SourceError, match="claims"):
        load(tmp_path / "x.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all"])
def test_no_archive(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"\.npz"):
        load(path)


def test_an_archive_without_the_arrays(tmp_path):
    with pytest.raises(SourceError, match="no MedMNIST arrays"):
        load(write(tmp_path / "x.npz", other=np.zeros(3)))
    with pytest.raises(SourceError, match="no test_labels"):
        load(write(tmp_path / "x.npz", test_images=np.zeros((2, 28, 28), np.uint8)))


@pytest.mark.skipif(not DATA.is_dir(), reason="clinical images are not in the repository: set PALPATE_DATA")
def test_pneumoniamnist():
    path = next(DATA.glob("*.npz"))
    counts = {s: [c.label for c in load(path, split=s).cases] for s in ("val", "test")}
    assert {s: (found.count(0), found.count(1)) for s, found in counts.items()} == {"val": (135, 389), "test": (234, 390)}
