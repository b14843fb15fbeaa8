"""NIfTI volumes: one slice of each, turned to the radiologist's view; labels by sub-folder or by a table."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from palpate.cases import _grouping
from palpate.cases._folders import label_folders, visible
from palpate.cases._grouping import Grouping
from palpate.cases._images import (
    BROKEN,
    MAX_PIXELS,
    MIN_SIDE,
    ChangedSincePlanned,
    Checked,
    Undecodable,
    digest,
    first_line,
    read_bytes,
)
from palpate.cases._label_tables import label_table
from palpate.cases._listing import Listed, case_set, existing, salt_of, text_option, unknown_options
from palpate.cases._volumes import MIDDLE, SLICE, WINDOW, Slice, choose, slice_rule, told, window_option
from palpate.errors import SourceError
from palpate.nouns import CaseSet
from palpate.parts import Labels, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

RULE = "nifti8@1"
"""Recorded in ``Case.decode`` with ``plane``, ``slice``, ``volume`` (of a series in time) and ``window`` as ``_dicom`` has it."""
SUFFIXES = (".nii", ".nii.gz")
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
MAX_VOLUME = 4 * 2**30
MAX_TURN = 1e12


@dataclass(frozen=True, slots=True)
class NiftiImage:
    """One slice of one file (an ``ImageRef``); ``index`` and ``volume`` count from 0."""

    path: str
    digest: str
    plane: str
    index: int
    volume: int
    window: tuple[float, float] | None

    def open(self) -> Image:
        """The slice as 8-bit RGB. Raises Undecodable (a ValueError) or OSError, also where the file has changed."""
        data = read_bytes(Path(self.path))
        if digest(data) != self.digest:
            raise ChangedSincePlanned
        values, header = _volume(data, self.plane, self.volume)
        return _grey(values(self.index), header, self.window, {})


class NiftiSource:
    """``.nii`` and ``.nii.gz`` files below a folder; each is one case."""

    name: ClassVar[str] = "nifti"
    options: ClassVar[Mapping[str, str]] = {
        "path": "folder of volumes, with one sub-folder per label where no table is given",
        "table": "CSV, TSV or Parquet file with the columns file and label (default: none, the sub-folders are the labels)",
        "by": "column of the table with the file's relative path (default: file)",
        "label": "column of the table with the label (default: label)",
        "plane": f"one of {', '.join(PLANES)} (default: axial)",
        "slice": f"{SLICE} (default: middle)",
        "volume": "which volume of a series in time, from 1 (default: 1)",
        "window": f"{WINDOW} (default: the file's cal_min and cal_max, else the slice's own range)",
        **_grouping.OPTIONS,
    }

    def needs(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The modules it takes that the core goes without."""
        return ("nibabel",)

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Cases sorted by relative path. Raises SourceError for a folder or table wrong as a whole; a bad file is LeftOut."""
        unknown_options(options, self.options)
        root = existing(options, folder=True)
        plane, volume = text_option(options, "plane", "axial") or "axial", options.get("volume", 1)
        if plane not in PLANES:
            raise SourceError(f"plane = {plane!r} is no plane", where=str(root), expected=f"one of {', '.join(PLANES)}")
        if not isinstance(volume, int) or isinstance(volume, bool) or volume < 1:
            raise SourceError(f"volume = {volume!r} is no number from 1", where=str(root), expected="volume = 1")
        rule, window = slice_rule(options) or MIDDLE, window_option(options)
        group_of = Grouping(options, where=str(root))
        listed: list[Listed] = []
        notes: list[str] = []
        for path, label in _labelled(root, options, labels, notes.append):
            name = path.relative_to(root).as_posix()
            group = group_of(name)
            opened = partial(_check, path, plane, rule, volume - 1, window)
            listed.append(Listed(name, path, label, group, group_of.facts(group), opened))
        if not listed:
            raise SourceError("no volume with a label", where=str(root), expected=f"files ending in {' or '.join(SUFFIXES)}")
        group_of.refuse_useless((entry.group for entry in listed), len(listed), listed[0].name)
        return case_set(listed, sample, salt_of(options), notes=notes)


def _volume_files(folder: Path, recursive: bool) -> Iterator[Path]:
    return (path for path in visible(folder, recursive) if path.name.lower().endswith(SUFFIXES))


def _labelled(root: Path, options: Mapping[str, Any], labels: Labels, note: Callable[[str], None]) -> list[tuple[Path, int]]:
    if not text_option(options, "table"):
        folders = label_folders(root, labels, _volume_files)
        return [(path, label) for folder, label in folders for path in _volume_files(folder, True)]
    _, known = label_table(options, labels, ("file",))
    paths = list(_volume_files(root, True))
    found = [(p, label) for p in paths if (label := known.get(p.relative_to(root).as_posix())) is not None]
    if len(found) < len(paths):
        note(f"{len(paths) - len(found):,} files are not in the table of labels, and no cases")
    return found


# ---------------------------------------------------------------- pixels


def _check(path: Path, plane: str, rule: Slice, volume: int, window: tuple[float, float] | None) -> Checked:
    """Chooses and decodes the slice once. Raises Undecodable."""
    try:
        data = read_bytes(path)
        values, header = _volume(data, plane, volume)
        shape = header.get_data_shape()
        n = shape[PLANES[plane]]
        index = choose(rule, n, values)
        settings = {"rule": RULE, "plane": plane, "slice": told(rule, index, n)}
        if len(shape) > 3:
            settings["volume"] = f"{volume + 1} of {shape[3]}"
        _grey(values(index), header, window, settings)
    except OSError as error:
        raise Undecodable(f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise error if isinstance(error, Undecodable) else Undecodable(first_line(error)) from error
    return Checked(NiftiImage(str(path), digest(data), plane, index, volume, window), settings)


def _volume(data: bytes, plane: str, volume: int) -> tuple[Callable[[int], NDArray[np.float64]], Any]:
    """(index → slice as it is shown, the header) of a file's bytes, its axes turned to left-right, front-back, head-foot."""
    nibabel = _library()
    own = (nibabel.spatialimages.HeaderDataError, nibabel.wrapstruct.WrapStructError, nibabel.orientations.OrientationError)
    broken: tuple[type[Exception], ...] = (*BROKEN, nibabel.filebasedimages.ImageFileError, *own)
    if data[:2] == b"\x1f\x8b":
        data = _unpacked(data)
    try:
        kind = nibabel.Nifti2Image if data[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c") else nibabel.Nifti1Image
        image = kind.from_bytes(data)
        _refuse_absurd(image, data)
        turned = nibabel.as_closest_canonical(image)
    except Undecodable:
        raise
    except broken as error:
        raise Undecodable(f"is no readable NIfTI file: {first_line(error)}") from error
    shape = turned.header.get_data_shape()
    if len(shape) > 3 and volume >= shape[3]:
        raise Undecodable(f"has {shape[3]} volumes, and no volume {volume + 1}")
    return partial(_slice, turned, PLANES[plane], volume), turned.header


def _slice(image: Any, axis: int, volume: int, index: int) -> NDArray[np.float64]:
    """A slice as radiologists see it: the patient's right (or, seen from the side, front) on the left, head or front on top."""
    import numpy as np

    at: list[Any] = [slice(None)] * 3
    at[axis] = index
    if len(image.header.get_data_shape()) > 3:
        at.append(volume)
    try:
        found = np.asarray(image.dataobj[tuple(at)], dtype=np.float64)
    except BROKEN as error:
        raise Undecodable(f"is damaged: {first_line(error)}") from error
    if not np.isfinite(found).all():
        raise Undecodable("holds values that are not finite numbers")
    return found[::-1, ::-1].T


def _refuse_absurd(image: Any, data: bytes) -> None:
    shape, kind = image.header.get_data_shape(), image.header.get_data_dtype()
    if len(shape) not in (3, 4) or min(shape[:3]) < 1 or kind.names is not None or kind.kind not in "iuf":
        raise Undecodable(f"holds {kind} values of shape {shape}: volumes of numbers, in three dimensions or four, are read")
    size = kind.itemsize
    for side in shape:
        size *= int(side)
    if size > MAX_VOLUME or size > len(data):
        raise Undecodable(f"claims {size / 2**20:,.0f} MB of values, and holds {len(data) / 2**20:,.1f} MB")
    wide, *_ = sorted(shape[:3], reverse=True)
    if wide * sorted(shape[:3])[1] > MAX_PIXELS or sorted(shape[:3])[1] < MIN_SIDE:
        raise Undecodable(f"has the shape {shape}, which no image of a patient has")


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = unpacker.decompress(data, MAX_VOLUME)
    except zlib.error as error:
        raise Undecodable(f"is damaged: {first_line(error)}") from error
    if unpacker.unconsumed_tail:
        raise Undecodable(f"unpacks to more than the {MAX_VOLUME / 2**30:.0f} GB allowed")
    return plain


def _grey(values: NDArray[np.float64], header: Any, window: tuple[float, float] | None, settings: dict[str, str]) -> Image:
    import numpy as np
    from PIL import Image as PillowImage

    if min(values.shape) < MIN_SIDE:
        raise Undecodable(f"has only {values.shape[1]:,} × {values.shape[0]:,} pixels in this plane")
    low, high = float(header["cal_min"]), float(header["cal_max"])
    if window is not None:
        low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
        settings["window"] = f"task {window[0]:g},{window[1]:g}"
    elif np.isfinite([low, high]).all() and high > low:
        settings["window"] = f"file {low:g}..{high:g}"
    else:
        low, high = float(values.min()), float(values.max())
        if low == high:
            raise Undecodable(f"holds one value ({low:g}) only, and no window says which grey it is")
        settings["window"] = f"range {low:g},{high:g}"
    if not high - low < MAX_TURN:
        raise Undecodable(f"holds values from {low:g} to {high:g}")
    grey = np.rint(((values - low) / (high - low)).clip(0, 1) * 255).astype(np.uint8)
    return PillowImage.fromarray(np.ascontiguousarray(grey)).convert("RGB")


def _library() -> Any:
    try:
        import nibabel
    except ImportError as error:
        problem = "NIfTI files need the package nibabel"
        raise SourceError(problem, expected="the extra `nifti`", hint="pip install 'palpate[nifti]'") from error
    return nibabel


PARTS = (NiftiSource(),)
