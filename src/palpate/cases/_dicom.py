"""One DICOM object → one upright 8-bit RGB image, or a plain reason why not.

The rule, version ``dicom8@1``, recorded in ``Case.decode`` (a key appears only where that step changed something):

============  ========================================================================================================
``rule``      always ``dicom8@1``
``frame``     which frame of how many, from 1
``modality``  the modality LUT or rescale slope and intercept (PS3.3 C.7.6.16.2.9, C.11.1) was applied
``window``    what became black and white. ``task C,W``: the study's own window; ``file C,W``: the file's first window (C.11.2,
              with its function); ``file LUT``: its VOI LUT; ``range LOW,HIGH``: neither was there and the frame's own values
              span black to white; nothing where the stored values are 8 bits already and are shown as they are
``inverted``  ``MONOCHROME1`` or ``INVERSE``: the lowest value is white
``colour``    how colour was stored: PALETTE COLOR, YBR_FULL …
``decoder``   the library that unpacked a compressed frame: the same one everywhere, so that lossy pixels are the same too
============  ========================================================================================================

Pixel spacing is not applied: a pixel stays a pixel. Overlays and annotations are not drawn; what is burnt into the pixels stays.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palpate.cases._images import (
    BROKEN,
    MAX_BYTES,
    MAX_PIXELS,
    MIN_SIDE,
    ChangedSincePlanned,
    Undecodable,
    digest,
    first_line,
    read_bytes,
)
from palpate.errors import SourceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

RULE = "dicom8@1"
MAGIC = b"DICM"
DEFLATED = "1.2.840.10008.1.2.1.99"
DECODERS: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.50": "pylibjpeg",  # JPEG baseline
    "1.2.840.10008.1.2.4.51": "pylibjpeg",  # JPEG extended, 8 and 12 bits
    "1.2.840.10008.1.2.4.57": "pylibjpeg",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "pylibjpeg",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81": "pyjpegls",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.201": "pylibjpeg",  # HTJ2K
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
}
"""Transfer syntax → the one library used for it: two decoders may round a lossy frame differently."""
MAX_FRAMES = 100_000
LOGGERS = ("pydicom", "pylibjpeg", "openjpeg", "libjpeg", "jpeg_ls")
"""What a broken file makes these say could hold a patient's name."""
BURNED_IN = (
    "the tag BurnedInAnnotation says that text is burnt into pixels: names in an image cannot be taken out, "
    "a model may read them aloud, and answers are stored"
)


@dataclass(frozen=True, slots=True)
class DicomImage:
    """One frame of one file (an ``ImageRef``). ``frame`` counts from 0; ``window``: the study's own, in modality units."""

    path: str
    digest: str
    frame: int = 0
    window: tuple[float, float] | None = None

    def open(self) -> Image:
        """The frame as 8-bit RGB. Raises Undecodable (a ValueError) or OSError, also where the file has changed."""
        data = read_bytes(Path(self.path))
        if digest(data) != self.digest:
            raise ChangedSincePlanned
        return decode(data, self.frame, self.window)[0]


def read(data: bytes, *, pixels: bool = True) -> Any:
    """The dataset of a file's bytes. Raises Undecodable; never follows a claim of more bytes than there are."""
    pydicom = library()
    if data[128:132] != MAGIC:
        raise Undecodable("is no DICOM file: the mark DICM is not there")
    try:
        with quiet():
            return pydicom.dcmread(io.BytesIO(_inflated(data)), stop_before_pixels=not pixels)
    except Undecodable:
        raise
    except faults() as error:
        raise Undecodable(f"is damaged: {first_line(error)}") from error


def _inflated(data: bytes) -> bytes:
    """A deflated file unpacked, its transfer syntax changed to say so: bounded, as pydicom's own unpacking is not."""
    head = data[132 : 132 + 2**12]
    if DEFLATED.encode() not in head:
        return data
    if not head.startswith(b"\x02\x00\x00\x00UL\x04\x00"):
        raise Undecodable("is damaged: the length of its header is not given")
    (length,) = struct.unpack("<L", data[140:144])
    start = 144 + length
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = unpacker.decompress(data[start:], MAX_BYTES)
    if unpacker.unconsumed_tail:
        raise Undecodable(f"unpacks to more than the {MAX_BYTES / 2**20:,.0f} MB allowed")
    # Of the same length as explicit little endian, padded as UIDs are.
    return data[:start].replace(DEFLATED.encode(), b"1.2.840.10008.1.2.1".ljust(len(DEFLATED), b"\0"), 1) + plain


def decode(data: bytes, frame: int = 0, window: tuple[float, float] | None = None) -> tuple[Image, dict[str, str]]:
    """(8-bit RGB image, the steps that shaped it) of one frame of a file's bytes. Raises Undecodable."""
    dataset = read(data)
    frames = refuse_absurd(dataset)
    if frame >= frames:
        raise Undecodable(f"has {frames} frames, and no frame {frame + 1}")
    settings = {"rule": RULE}
    if frames > 1:
        settings["frame"] = f"{frame + 1} of {frames}"
    try:
        with quiet():
            stored = stored_values(dataset, frame, settings)
            return _rgb(stored, dataset, frame, window, settings), settings
    except Undecodable:
        raise
    except faults() as error:
        raise Undecodable(f"is damaged: {first_line(error)}") from error


def refuse_absurd(dataset: Any) -> int:
    """How many frames a dataset has. Raises Undecodable where it holds no image, or claims what no image is."""
    if "PixelData" not in dataset:
        other = "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset
        raise Undecodable("holds floating-point pixels, which are not read" if other else "holds no image")
    try:
        with quiet():
            rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
            frames, bits = int(dataset.get("NumberOfFrames") or 1), int(dataset.get("BitsAllocated") or 0)
            samples = int(dataset.get("SamplesPerPixel") or 1)
    except faults() as error:
        raise Undecodable(f"is damaged: {first_line(error)}") from error
    if rows * columns > MAX_PIXELS:
        raise Undecodable(f"has {columns:,} × {rows:,} pixels, more than the {MAX_PIXELS / 1e6:.0f} million allowed")
    if min(rows, columns) < MIN_SIDE:
        raise Undecodable(f"has only {columns:,} × {rows:,} pixels")
    if not 1 <= frames <= MAX_FRAMES or samples not in (1, 3):
        raise Undecodable(f"claims {frames:,} frames of {samples} samples")
    if bits not in (1, 8, 16):
        raise Undecodable(f"has {bits} bits to a value: 8 and 16 are read")
    return frames


def stored_values(dataset: Any, frame: int, settings: dict[str, str]) -> NDArray[np.generic]:
    """The frame's stored values, (rows, columns) or (rows, columns, 3), colour as RGB. Raises what pydicom does."""
    from pydicom.pixels import pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    plugin = ""
    if syntax.is_encapsulated:
        if str(syntax) not in DECODERS:
            raise Undecodable(f"is compressed as {syntax.name}, which is not read")
        plugin = settings["decoder"] = DECODERS[str(syntax)]
        _refuse_other_size(dataset, frame)
    found: NDArray[np.generic] = pixel_array(dataset, index=frame, decoding_plugin=plugin)
    return _without_overlays(found, dataset)


def _without_overlays(values: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Old scanners kept overlays in the bits above BitsStored: they are no part of the value."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored") or dataset.BitsAllocated)
    if values.ndim != 2 or not 1 <= stored < allocated:
        return values
    shift = allocated - stored
    return (values << shift) >> shift  # of an unsigned array zeros come back, of a signed one the sign


def _refuse_other_size(dataset: Any, frame: int) -> None:
    """A compressed frame says its own size; one that differs from the header's is damaged, or there to fill the memory."""
    from pydicom.encaps import get_frame

    data = get_frame(dataset.PixelData, frame, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    said = compressed_size(data)
    header = int(dataset.Columns), int(dataset.Rows)
    if said is not None and said != header:
        raise Undecodable(f"says {header[0]} × {header[1]} pixels in its header and {said[0]} × {said[1]} in its image")


def compressed_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) as a JPEG, JPEG-LS or JPEG 2000 stream says them; None where it says none (RLE)."""
    if data[:4] == b"\xff\x4f\xff\x51" and len(data) >= 24:
        right, bottom, left, top = struct.unpack(">4L", data[8:24])
        return right - left, bottom - top
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 1 if marker == 0xFF else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None


# ---------------------------------------------------------------- values to greys


def modality_values(stored: NDArray[Any], dataset: Any, frame: int) -> NDArray[np.float64]:
    """Stored values in the modality's units (Hounsfield units of a CT), by the file's table or slope and intercept."""
    import numpy as np
    from pydicom.pixels import apply_modality_lut

    source = dataset
    if "ModalityLUTSequence" not in dataset and "RescaleSlope" not in dataset:
        source = _functional_group(dataset, frame, "PixelValueTransformationSequence") or dataset
    return np.asarray(apply_modality_lut(stored, source), dtype=np.float64)


def _functional_group(dataset: Any, frame: int, name: str) -> Any:
    """What an enhanced multi-frame object says of one frame, or of all of them."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in ([per_frame[frame]] if frame < len(per_frame) else [], shared):
        for group in groups:
            if group.get(name):
                return group[name][0]
    return None


def _rgb(stored: NDArray[Any], dataset: Any, frame: int, window: tuple[float, float] | None, settings: dict[str, str]) -> Image:
    import numpy as np
    from PIL import Image as PillowImage

    photometric = str(dataset.get("PhotometricInterpretation", "")).strip()
    if photometric == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        stored = apply_color_lut(stored, dataset)
    if stored.ndim == 3:
        if photometric != "RGB":
            settings["colour"] = f"{photometric} to RGB"
        if stored.dtype != np.uint8:
            stored = (stored >> 8).astype(np.uint8)
            settings["scale"] = "16 bits to 8, high byte"
        grey = stored
    elif photometric in ("MONOCHROME1", "MONOCHROME2"):
        grey = _grey(stored, dataset, frame, window, settings)
        if photometric == "MONOCHROME1" or str(dataset.get("PresentationLUTShape", "")).strip() == "INVERSE":
            settings["inverted"] = "MONOCHROME1" if photometric == "MONOCHROME1" else "INVERSE"
            grey = 255 - grey
    else:
        raise Undecodable(f"has pixels of the kind {photometric or 'unknown'!r}, which is not read")
    clean = PillowImage.new("RGB", (grey.shape[1], grey.shape[0]))
    clean.paste(PillowImage.fromarray(np.ascontiguousarray(grey)).convert("RGB"))
    return clean


def _grey(
    stored: NDArray[Any], dataset: Any, frame: int, window: tuple[float, float] | None, settings: dict[str, str]
) -> NDArray[np.uint8]:
    """Stored values → modality values → the window's greys."""
    import numpy as np

    values = modality_values(stored, dataset, frame)
    if not np.array_equal(values, stored):
        settings["modality"] = "applied"
    if window is not None:
        settings["window"] = f"task {window[0]:g},{window[1]:g}"
        return windowed(values, *window, "LINEAR")
    source = dataset
    if "WindowCenter" not in dataset and "VOILUTSequence" not in dataset:
        source = _functional_group(dataset, frame, "FrameVOILUTSequence") or dataset
    if source.get("VOILUTSequence"):
        return _looked_up(values, source, settings)
    centre, width = _first(source.get("WindowCenter")), _first(source.get("WindowWidth"))
    if centre is not None and width is not None and width >= 1:
        function = str(source.get("VOILUTFunction", "") or "LINEAR").strip()
        settings["window"] = f"file {centre:g},{width:g}" + ("" if function == "LINEAR" else f" {function}")
        return windowed(values, centre, width, function)
    stored_bits = int(dataset.get("BitsStored") or 16)
    if "modality" not in settings and stored_bits == 8 and stored.dtype == np.uint8:
        return stored
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise Undecodable(f"holds one value ({low:g}) only, and no window says which grey it is")
    settings["window"] = f"range {low:g},{high:g}"
    return np.asarray(np.rint((values - low) * (255.0 / (high - low))), dtype=np.uint8)


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    found = float(value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value)
    return found if abs(found) < 1e9 else None


def windowed(values: NDArray[np.float64], centre: float, width: float, function: str) -> NDArray[np.uint8]:
    """Values to greys 0–255 by a window, PS3.3 C.11.2.1.2 (LINEAR), C.11.2.1.3.2 (LINEAR_EXACT), C.11.2.1.3.1 (SIGMOID)."""
    import numpy as np

    if function == "SIGMOID":
        share = 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -500, 500)))
    elif function == "LINEAR_EXACT":
        share = (values - centre) / width + 0.5
    elif width <= 1:
        share = (values > centre - 0.5).astype(np.float64)
    else:
        share = (values - (centre - 0.5)) / (width - 1) + 0.5
    return np.asarray(np.rint(share.clip(0.0, 1.0) * 255.0), dtype=np.uint8)


def _looked_up(values: NDArray[np.float64], source: Any, settings: dict[str, str]) -> NDArray[np.uint8]:
    """By the file's VOI LUT (C.11.2.1.1): the first one, its output scaled from its own bits to eight."""
    import numpy as np

    item = source.VOILUTSequence[0]
    _, first, bits = (int(v) for v in item.LUTDescriptor)
    data = item.LUTData
    table = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.atleast_1d(np.asarray(data))
    if not len(table) or not 8 <= bits <= 16:
        raise Undecodable(f"has a VOI LUT of {len(table)} entries of {bits} bits")
    settings["window"] = "file LUT"
    at = (np.rint(values).astype(np.int64) - first).clip(0, len(table) - 1)
    return np.asarray(np.rint(table[at].astype(np.float64) * (255.0 / (2**bits - 1))).clip(0, 255), dtype=np.uint8)


# ---------------------------------------------------------------- the library


def library() -> Any:
    """pydicom. Raises SourceError where it is not installed."""
    try:
        import pydicom
    except ImportError as error:
        problem = "DICOM files need the package pydicom"
        raise SourceError(problem, expected="the extra `dicom`", hint="pip install 'palpate[dicom]'") from error
    return pydicom


def faults() -> tuple[type[Exception], ...]:
    """What pydicom and its decoders raise on broken files."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*BROKEN, InvalidDicomError, BytesLengthException, AssertionError)


@contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's warnings and logs of odd values: the pixels are right, or the decoder raises."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings(action="ignore"):
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)  # the loggers below them take it over
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
