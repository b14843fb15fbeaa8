"""MedMNIST files: one ``.npz`` with the images and labels of a data set's splits, 28 to 224 pixels a side."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from palpate.cases._images import BROKEN, MAX_PIXELS, MIN_SIDE, RULE, ChangedSincePlanned, Checked, Undecodable, digest
from palpate.cases._listing import Listed, case_set, existing, text_option, unknown_labels, unknown_options
from palpate.errors import SourceError, unknown_name
from palpate.nouns import CaseSet
from palpate.parts import Labels, Sample

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_ARRAY = 16 * 2**30
"""Bytes an array may unpack to: PathMNIST's 89,996 images of 224 × 224 × 3 are 13.5 GB."""


@dataclass(frozen=True, slots=True)
class ArrayImage:
    """One image of one array of a file (an ``ImageRef``)."""

    path: str
    array: str
    row: int
    digest: str

    def open(self) -> Image:
        """The image, RGB. Raises Undecodable (a ValueError) or OSError, also where the file has changed."""
        pixels = _pixels(Path(self.path), self.array, self.row)
        if _identity(pixels) != self.digest:
            raise ChangedSincePlanned
        return _image(pixels)


class MedMnistSource:
    """A MedMNIST ``.npz``; its classes are numbers, which the task's labels name, or the option ``classes`` does."""

    name: ClassVar[str] = "medmnist"
    options: ClassVar[Mapping[str, str]] = {
        "path": "the .npz file",
        "split": "train, val or test (default: test)",
        "classes": 'names of the classes 0, 1, 2 …, such as ["normal", "pneumonia"] (default: the numbers)',
        "others": "left_out: classes that no label names are no cases (default: they stop the study)",
    }

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Cases by row number. Raises SourceError where the file is no such file, or a class has no label."""
        unknown_options(options, self.options)
        path = existing(options, folder=False)
        split = text_option(options, "split", "test") or "test"
        values, shape = _labels(path, split)
        names = _class_names(options, values)
        listed: list[Listed] = []
        strangers: dict[str, int] = {}
        for row, value in enumerate(values.tolist()):
            # The number counts as well as its name: a task's labels know 0 and 1.
            label = labels.of(names.get(value, value)) if value in names else labels.of(value)
            if label is None:
                strangers[str(names.get(value, value))] = strangers.get(str(names.get(value, value)), 0) + 1
                continue
            listed.append(Listed(f"{split}-{row:06d}", path, label, opened=partial(_check, path, f"{split}_images", row)))
        others = text_option(options, "others")
        if others not in ("", "left_out"):
            raise SourceError(f"others = {others!r} is not known", where=str(path), expected='others = "left_out"')
        if strangers and not others:
            raise unknown_labels(strangers, labels, where=str(path), noun=f"split {split!r}: classes")
        notes = [f"{sum(strangers.values()):,} images of the classes {', '.join(strangers)} are no cases"] if strangers else []
        return case_set(listed, sample, "", notes=[*notes, f"{shape} pixels; MedMNIST names no patients, every image stands alone"])


def _class_names(options: Mapping[str, Any], values: NDArray[np.int64]) -> dict[int, str]:
    given = options.get("classes", ())
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise SourceError(f"classes = {given!r} is no list of names", expected='classes = ["normal", "pneumonia"]')
    if given and values.size and int(values.max()) >= len(given):
        raise SourceError(f"classes names {len(given)}, and the file has class {int(values.max())}", expected="a name for each")
    return dict(enumerate(given))


def _labels(path: Path, split: str) -> tuple[NDArray[np.int64], str]:
    """(class of each image, "28 × 28") of a split. Raises SourceError."""
    heads = _heads(path)
    splits = sorted(name.removesuffix("_images") for name in heads if name.endswith("_images"))
    if f"{split}_images" not in heads:
        if splits:
            raise unknown_name(split, splits, noun="split", where=str(path))
        raise SourceError("holds no MedMNIST arrays", where=str(path), expected="train_images, train_labels, test_images …")
    if f"{split}_labels" not in heads:
        raise SourceError(f"holds {split}_images and no {split}_labels", where=str(path), expected="both")
    (n, *size), kind = heads[f"{split}_images"]
    shape, label_kind = heads[f"{split}_labels"]
    if kind != np.uint8 or len(size) not in (2, 3) or (len(size) == 3 and size[2] != 3):
        expected = "8-bit images, n × height × width (× 3); volumes have to be cut into slices first"
        raise SourceError(f"{split}_images is {kind} {(n, *size)}", where=str(path), expected=expected)
    if shape[:1] != (n,) or (len(shape) > 1 and shape[1:] != (1,)) or label_kind.kind not in "iub":
        expected = f"one class number for each of the {n:,} images (a file with several labels an image is not supported)"
        raise SourceError(f"{split}_labels is {label_kind} {shape}", where=str(path), expected=expected)
    if min(size[:2]) < MIN_SIDE or size[0] * size[1] > MAX_PIXELS:
        raise SourceError(
            f"has images of {size[1]:,} × {size[0]:,} pixels", where=str(path), expected=f"at least {MIN_SIDE} a side"
        )
    return _array(path, f"{split}_labels").reshape(-1).astype(np.int64), f"{size[1]} × {size[0]}"


def _heads(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Array → (shape, dtype), without unpacking any. Raises SourceError: also for pickled objects, which are never loaded."""
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
                    shape, _, kind = reader(file)
                name = entry.filename.removesuffix(".npy")
                if kind.hasobject:
                    raise SourceError(f"{name} holds pickled objects", where=str(path), expected="arrays of numbers")
                if any(side < 0 for side in shape) or int(np.prod(shape, dtype=object)) * kind.itemsize > MAX_ARRAY:
                    raise SourceError(f"{name} claims {shape}, more than is allowed", where=str(path), expected="a MedMNIST file")
                found[name] = (shape, kind)
    except (*BROKEN, zipfile.BadZipFile) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise SourceError(f"is no readable .npz file: {said}", where=str(path), expected="a MedMNIST .npz file") from error
    return found


def _array(path: Path, name: str) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            found: NDArray[Any] = file[name]
            return found
    except (*BROKEN, zipfile.BadZipFile) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise SourceError(f"{name} is damaged: {said}", where=str(path), expected="a MedMNIST .npz file") from error


@lru_cache(maxsize=2)
def _held(path: Path, name: str, modified: int) -> NDArray[np.uint8]:
    """An array of images, kept: a compressed array gives its thousandth image only by unpacking the 999 before it."""
    return _array(path, name)


def _pixels(path: Path, name: str, row: int) -> NDArray[np.uint8]:
    try:
        images = _held(path, name, path.stat().st_mtime_ns)
    except SourceError as error:
        raise Undecodable(error.problem) from error
    if row >= len(images):
        raise ChangedSincePlanned("the file has fewer images than when the study was planned")
    found: NDArray[np.uint8] = images[row]
    return found


def _check(path: Path, name: str, row: int) -> Checked:
    pixels = _pixels(path, name, row)
    return Checked(ArrayImage(str(path), name, row, _identity(pixels)), {"rule": RULE})


def _identity(pixels: NDArray[np.uint8]) -> str:
    return digest(f"{pixels.shape}".encode() + pixels.tobytes())


def _image(pixels: NDArray[np.uint8]) -> Image:
    from PIL import Image as PillowImage

    return PillowImage.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


PARTS = (MedMnistSource(),)
