"""Broken files, a thousand of them: never a crash, never a hang, never a guess; each is left out by name or a named error.

What is broken: files cut short, bits flipped, bytes inserted and removed, headers of another format, sizes that no file has.
A file whose damage its format cannot notice (a flipped bit of a bitmap's pixels) may still open: to an image, upright and RGB.
"""

from __future__ import annotations

import io
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydicom import uid

from dicom_files import LOSSLESS, NATIVE, content, dataset, jpeg, ramp
from palpate.cases._arrow import check_row
from palpate.cases._images import Undecodable, check
from palpate.cases.dicom import DicomSource
from palpate.cases.hub import HubSource
from palpate.cases.medmnist import MedMnistSource
from palpate.cases.nifti import NiftiSource
from palpate.cases.table import TableSource
from palpate.errors import PalpateError
from palpate.parts import Labels, Sample

LABELS = Labels(("pneumonia", "1"), ("normal", "0"))
SLOWEST = 20.0  # seconds for one file on a busy machine: a hang, not a measurement

Damage = Callable[[bytes, np.random.Generator], bytes]


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for at in rng.integers(0, len(data), int(rng.integers(1, 30))):
        changed[at] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


def flip_head(data: bytes, rng: np.random.Generator) -> bytes:
    head = min(len(data), 600)
    return flip(data[:head], rng) + data[head:]


def noise(data: bytes, rng: np.random.Generator) -> bytes:
    at, n = int(rng.integers(0, len(data))), int(rng.integers(1, 200))
    return data[:at] + rng.bytes(n) + data[at + int(rng.integers(0, n)) :]


def other_head(data: bytes, rng: np.random.Generator) -> bytes:
    heads = (
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"II*\0",
        b"BM",
        b"RIFF\0\0\0\0WEBP",
        b"PK\x03\x04",
        b"PAR1",
        b"\x1f\x8b",
        b"%PDF",
    )
    head = heads[int(rng.integers(0, len(heads)))]
    return head + data[len(head) :]


def huge(data: bytes, rng: np.random.Generator) -> bytes:
    """Numbers of four or two bytes in the head become enormous."""
    changed = bytearray(data)
    for at in rng.integers(0, max(1, min(len(data) - 4, 600)), 3):
        size = int(rng.choice([2, 4]))
        changed[at : at + size] = b"\xff" * (size - 1) + b"\x7f"
    return bytes(changed)


DAMAGES: tuple[Damage, ...] = (cut, flip, flip_head, noise, other_head, huge)


def pictures() -> dict[str, bytes]:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    found = {}
    for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("TIFF", "tif"), ("BMP", "bmp"), ("WEBP", "webp")):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, kind)
        found[f"x.{suffix}"] = out.getvalue()
    deep = io.BytesIO()
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 16).save(deep, "TIFF", compression="tiff_lzw")
    return {**found, "deep.tif": deep.getvalue()}


def objects() -> dict[str, bytes]:
    values = ramp(64, 80)
    found = {f"{s.name}.dcm".replace("/", " "): content(dataset(values, syntax=s, bits=12)) for s in (*NATIVE, *LOSSLESS)}
    found["jpeg.dcm"] = content(jpeg(ramp(64, 80, high=255, dtype=np.uint8)))
    found["frames.dcm"] = content(dataset(np.stack([values] * 3), bits=12))
    return found


def each(files: dict[str, bytes], n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """``n`` broken versions, going round files and kinds of damage."""
    names = sorted(files)
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        name = names[i % len(names)]
        yield name, DAMAGES[(i // len(names)) % len(DAMAGES)](files[name], rng)


def survives(load: Callable[[], object], image: Callable[[object], Image.Image | None]) -> str:
    """How a broken file ended: ``image``, or the reason why not."""
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = image(load())
        except (Undecodable, PalpateError) as fault:
            ended = str(fault)
            assert ended.strip()
        else:
            ended = "image"
            if found is not None:
                assert found.mode == "RGB"
                assert min(found.size) >= 8
    assert time.monotonic() - began < SLOWEST
    return ended


def broken_pictures(folder: Path, n: int) -> list[str]:
    ends = []
    for name, data in each(pictures(), n, 1):
        path = folder / name
        path.write_bytes(data)
        ends.append(survives(lambda path=path: check(path), lambda c: c.ref.open()))
    return ends


def broken_objects(folder: Path, n: int) -> list[str]:
    ends = []
    (folder / "normal").mkdir()
    path = folder / "normal" / "x.dcm"
    for i, (_, data) in enumerate(each(objects(), n, 2)):
        path.write_bytes(data)
        options = {"path": str(folder), **({"slice": "largest"} if i % 3 == 0 else {})}
        ends.append(survives(lambda o=options: DicomSource().load(o, LABELS, Sample()), lambda f: f.cases[0].image.open()))
    return ends


def broken_volumes(folder: Path, n: int) -> list[str]:
    (folder / "normal").mkdir()
    nibabel.save(nibabel.Nifti1Image(ramp(20, 24 * 10).reshape(20, 24, 10), np.eye(4)), folder / "x.nii.gz")
    nibabel.save(nibabel.Nifti1Image(ramp(20, 24 * 10).reshape(20, 24, 10), np.eye(4)), folder / "x.nii")
    files = {name: (folder / name).read_bytes() for name in ("x.nii", "x.nii.gz")}
    ends = []
    for name, data in each(files, n, 3):
        for old in (folder / "normal").iterdir():
            old.unlink()
        (folder / "normal" / name).write_bytes(data)
        options = {"path": str(folder / "normal" / "..")}
        ends.append(survives(lambda o=options: NiftiSource().load(o, LABELS, Sample()), lambda f: f.cases[0].image.open()))
    return ends


def broken_tables(folder: Path, n: int) -> list[str]:
    out = io.BytesIO()
    Image.new("RGB", (12, 12), (9, 9, 9)).save(out, "PNG")
    (folder / "a.png").write_bytes(out.getvalue())
    pq.write_table(pa.table({"file": ["a.png"] * 4, "label": ["normal"] * 4}), folder / "t.parquet")
    pq.write_table(pa.table({"image": [{"bytes": out.getvalue(), "path": "a"}] * 4, "label": [0, 1, 0, 1]}), folder / "h.parquet")
    np.savez_compressed(folder / "m.npz", test_images=np.zeros((4, 28, 28), np.uint8), test_labels=np.zeros((4, 1), np.uint8))
    (folder / "t.csv").write_text("file,label,note\n" + "a.png,normal,x\n" * 4)
    files = {name: (folder / name).read_bytes() for name in ("t.parquet", "h.parquet", "m.npz", "t.csv")}
    sources = {"t.parquet": TableSource(), "h.parquet": HubSource(), "m.npz": MedMnistSource(), "t.csv": TableSource()}
    ends = []
    for name, data in each(files, n, 4):
        path = folder / f"broken-{name}"
        path.write_bytes(data)
        load = lambda path=path, name=name: sources[name].load({"path": str(path)}, LABELS, Sample())  # noqa: E731
        ends.append(survives(load, lambda f: f.cases[0].image.open()))
    return ends


KINDS = {"pictures": broken_pictures, "objects": broken_objects, "volumes": broken_volumes, "tables": broken_tables}


@pytest.mark.parametrize("kind", KINDS)
def test_some_broken_files(tmp_path, kind):
    ends = KINDS[kind](tmp_path, 36)
    assert len(ends) == 36
    assert sum(end != "image" for end in ends) >= 12  # most damage is noticed


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n"), [("pictures", 300), ("objects", 400), ("volumes", 150), ("tables", 200)])
def test_a_thousand_broken_files(tmp_path, kind, n):
    assert len(KINDS[kind](tmp_path, n)) == n


@pytest.mark.parametrize("name", sorted(pictures()))
def test_the_files_are_whole_before_they_are_broken(tmp_path, name):
    (tmp_path / name).write_bytes(pictures()[name])
    assert check(tmp_path / name).ref.open().size == (50, 40)


def test_the_objects_are_whole_before_they_are_broken(tmp_path):
    for name, data in objects().items():
        (tmp_path / "normal").mkdir(exist_ok=True)
        (tmp_path / "normal" / name).write_bytes(data)
    found = DicomSource().load({"path": str(tmp_path), "slice": "middle"}, LABELS, Sample())
    assert len(found.cases) == len(objects())
    assert found.left_out == ()


def test_a_picture_that_claims_to_be_enormous(tmp_path):
    """A PNG of 2,000,000 × 2,000,000 pixels in 60 bytes: refused by its header."""
    head = struct.pack(">IIBBBBB", 2_000_000, 2_000_000, 8, 2, 0, 0, 0)
    import zlib

    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))  # noqa: E731
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IEND", b""))
    with pytest.raises(Undecodable, match="million"):
        check(tmp_path / "x.png")


def test_archives_are_not_opened(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.png", "w") as archive:
        archive.writestr("a.png", pictures()["x.png"])
    with pytest.raises(Undecodable, match="not a readable image"):
        check(tmp_path / "x.png")


def test_a_row_that_is_no_more(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": [{"bytes": b"x", "path": "a"}]}), path)
    with pytest.raises(Undecodable, match="fewer rows"):
        check_row(path, 7, "image")


def test_compressed_objects_say_which_syntax_they_have():
    assert {uid.UID(s).name for s in LOSSLESS} == {"RLE Lossless", "JPEG-LS Lossless Image Compression", uid.JPEG2000Lossless.name}
