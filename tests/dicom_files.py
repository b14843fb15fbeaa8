"""Small DICOM files made by pydicom, for tests: every transfer syntax that can be written here, and all kinds of pixels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

NAME = "Doe^Jane"
NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian)
LOSSLESS = (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless)


def ramp(rows: int = 16, columns: int = 20, *, low: int = 0, high: int = 4095, dtype: type = np.uint16) -> np.ndarray:
    return np.linspace(low, high, rows * columns).reshape(rows, columns).astype(dtype)


def dataset(
    pixels: np.ndarray, *, syntax: uid.UID = uid.ExplicitVRLittleEndian, bits: int | None = None, **facts: Any
) -> FileDataset:
    """A secondary capture object of ``pixels``: (rows, columns), (frames, rows, columns), or … × 3 with colour=True."""
    colour = facts.pop("colour", False)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = facts.pop("SOPInstanceUID", None) or uid.generate_uid()
    meta.TransferSyntaxUID = syntax
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.PatientName, ds.PatientBirthDate, ds.StudyDate = NAME, "19700101", "20240229"
    ds.PatientID = "MRN-0042"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = uid.generate_uid(), uid.generate_uid(), "CT"
    shape = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    ds.Rows, ds.Columns = shape
    ds.SamplesPerPixel = 3 if colour else 1
    if colour:
        ds.PlanarConfiguration = 0
    if pixels.ndim > (3 if colour else 2):
        ds.NumberOfFrames = len(pixels)
    ds.BitsAllocated = 8 * pixels.dtype.itemsize
    ds.BitsStored = bits or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    for name, value in facts.items():
        setattr(ds, name, value)
    big = syntax == uid.ExplicitVRBigEndian
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    if ds.BitsAllocated == 8 and len(ds.PixelData) % 2:
        ds.PixelData += b"\0"
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    if syntax in LOSSLESS:
        ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        ds.compress(syntax, generate_instance_uid=False)
    return ds


def jpeg(pixels: np.ndarray, **facts: Any) -> FileDataset:
    """JPEG baseline, of 8-bit pixels, grey or colour."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    ds = dataset(pixels, colour=pixels.ndim == 3, **facts)
    ds.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    if pixels.ndim == 3:
        ds.PhotometricInterpretation = "YBR_FULL_422"
    ds.PixelData = encapsulate([out.getvalue()])
    ds["PixelData"].is_undefined_length = True
    return ds


def content(ds: Dataset) -> bytes:
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def write(path: Path, ds: Dataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(ds))
    return path


def hospital(root: Path, patients: int = 6) -> Mapping[str, Any]:
    """Label folders of CT files, two to a patient."""
    for label, pneumonia in (("pneumonia", 1), ("normal", 0)):
        for i in range(patients):
            values = np.random.default_rng([pneumonia, i]).integers(0, 4095, (16, 16), dtype=np.uint16)
            ds = dataset(values, bits=12, PatientID=f"person{pneumonia}{i // 2:03d}", WindowCenter=2048, WindowWidth=4096)
            write(root / label / f"person{pneumonia}{i // 2:03d}" / f"{i}.dcm", ds)
    return {"path": str(root)}
