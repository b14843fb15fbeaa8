"""DICOM files as hospitals keep them: labels by sub-folder or by a table, patients as salted hashes, slices by a rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from palpate.cases import _grouping
from palpate.cases._dicom import (
    BURNED_IN,
    MAGIC,
    DicomImage,
    decode,
    library,
    modality_values,
    quiet,
    read,
    refuse_absurd,
    stored_values,
)
from palpate.cases._dicom import faults as dicom_faults
from palpate.cases._folders import label_folders, visible
from palpate.cases._grouping import Grouping
from palpate.cases._images import Checked, Undecodable, digest, first_line, read_bytes
from palpate.cases._label_tables import label_table
from palpate.cases._listing import Listed, case_set, existing, salt_of, text_option, unknown_options
from palpate.cases._volumes import SLICE, WINDOW, Slice, choose, ordered, slice_rule, told, window_option
from palpate.errors import SourceError, unknown_name
from palpate.nouns import CaseSet, LeftOut
from palpate.parts import Labels, Sample

IDENTIFIERS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "AccessionNumber")
FACTS = (
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "Laterality",
    "ImageLaterality",
    "PatientSex",
    "PatientAge",
    "Manufacturer",
    "ManufacturerModelName",
    "MagneticFieldStrength",
    "KVP",
    "SliceThickness",
)
"""Attributes that may be sliced by. No other may enter a case: names, dates and free texts can tell who the patient is."""
SUFFIXES = (".dcm", ".dicom")
OLDEST = 90


@dataclass(frozen=True, slots=True)
class _Header:
    """What is used of one file's header. None of it but ``facts`` leaves this module as it is."""

    name: str
    path: Path
    identifiers: Mapping[str, str]
    issuer: str  # of the patient's number: two hospitals may both have a patient 17
    facts: Mapping[str, Any]
    position: float | None
    number: int | None
    burned_in: bool

    def group(self, by: str) -> str | None:
        """The patient, or what else groups; None where the file does not say."""
        found = self.identifiers[by] or None
        return f"{found}@{self.issuer}" if found and self.issuer and by == "PatientID" else found


class DicomSource:
    """DICOM files below a folder; every file is a case, or with ``slice`` every series is."""

    name: ClassVar[str] = "dicom"
    options: ClassVar[Mapping[str, str]] = {
        "path": "folder of DICOM files, at any depth; with one sub-folder per label where no table is given",
        "table": "CSV, TSV or Parquet file with the labels (default: none, the sub-folders are the labels)",
        "by": f"column of the table that finds a file: file, or {', '.join(IDENTIFIERS)} (default: the first of these it has)",
        "label": "column of the table with the label (default: label)",
        "slice": f"{SLICE}; then all files of a series are one case (default: every file is one, and has one frame)",
        "window": f"{WINDOW} (default: the file's own)",
        "group": f"what is one patient: one of {', '.join(IDENTIFIERS[1:])} (default: PatientID)",
        "metadata": f"attributes to slice by, of {', '.join(FACTS)} (default: none)",
        **_grouping.OPTIONS,
    }

    def needs(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The modules it takes that the core goes without."""
        return ("pydicom",)

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Cases sorted by relative path. Raises SourceError for a folder or table wrong as a whole; a bad file is LeftOut."""
        unknown_options(options, self.options)
        library()
        root = existing(options, folder=True)
        rule, window = slice_rule(options), window_option(options)
        group, metadata = _group_option(options), _metadata_option(options)
        grouping = Grouping(options, where=str(root))
        refused: list[LeftOut] = []
        labelled, notes = _labelled(root, options, labels, partial(_headers, root, metadata, refused))
        listed: list[Listed] = []
        alone = [((file,), label) for file, label in labelled]
        for files, label in _series(labelled, root) if rule is not None else alone:
            first = files[0]
            patient = grouping(first.name) if grouping else first.group(group)
            facts = {**first.facts, **({"grouped": False} if patient is None else {})}
            opened = partial(_check, files, rule, window)
            listed.append(Listed(first.name, first.path, label, patient, facts, opened))
        if not listed:
            first_reason = f": {refused[0].name} {refused[0].reason}" if refused else ""
            raise SourceError(f"no DICOM file with a label{first_reason}", where=str(root), expected="files with labels")
        grouping.refuse_useless((entry.group for entry in listed), len(listed), listed[0].name)
        salt = salt_of(options)
        found = case_set(listed, sample, salt, refused, notes=notes)
        return replace(found, guessable=not salt)


def _group_option(options: Mapping[str, Any]) -> str:
    group = text_option(options, "group", "PatientID") or "PatientID"
    if group not in IDENTIFIERS[1:]:
        raise unknown_name(group, IDENTIFIERS[1:], noun="group", where="source.group")
    return group


def _metadata_option(options: Mapping[str, Any]) -> tuple[str, ...]:
    given = options.get("metadata", ())
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise SourceError(f"metadata = {given!r} is no list of attributes", expected='metadata = ["ViewPosition"]')
    for name in given:
        if name not in FACTS:
            raise unknown_name(name, FACTS, noun="attribute", where="source.metadata")
    return tuple(given)


# ---------------------------------------------------------------- headers


def _dicom_files(folder: Path, recursive: bool) -> Iterator[Path]:
    """Files that say they are DICOM, by suffix or by their mark; a DICOMDIR only lists others."""
    for path in visible(folder, recursive):
        if path.name.upper() != "DICOMDIR" and (path.suffix.lower() in SUFFIXES or _has_mark(path)):
            yield path


def _has_mark(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == MAGIC
    except OSError:
        return False


def _headers(root: Path, metadata: Sequence[str], refused: list[LeftOut], paths: Iterator[Path]) -> Iterator[_Header]:
    broken: tuple[type[Exception], ...] = (Undecodable, *dicom_faults())
    for path in paths:
        name = path.relative_to(root).as_posix()
        try:
            dataset = read(read_bytes(path), pixels=False)
            yield _header(name, path, dataset, metadata)
        except OSError as error:
            refused.append(LeftOut(name, f"cannot be read: {error.strerror or error}"))
        except broken as error:
            refused.append(LeftOut(name, first_line(error)))


def _header(name: str, path: Path, dataset: Any, metadata: Sequence[str]) -> _Header:
    with quiet():
        identifiers = {key: str(dataset.get(key) or "").strip() for key in IDENTIFIERS}
        issuer = str(dataset.get("IssuerOfPatientID") or "").strip()
        number = dataset.get("InstanceNumber")
        facts = {key: found for key in metadata if (found := _fact(key, dataset.get(key))) is not None}
        burned = str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES"
        return _Header(
            name, path, identifiers, issuer, facts, _position(dataset), None if number in (None, "") else int(number), burned
        )


def _fact(key: str, value: Any) -> str | float | int | None:
    if value in (None, ""):
        return None
    if key == "PatientAge":
        age = re.fullmatch(r"(\d{3})([DWMY])", str(value))
        if age is None:
            return None
        # In whole years, and all above 89 as one: older patients are too few to hide among.
        return min(int(int(age[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[age[2]]), OLDEST)
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value).strip() or None


def _position(dataset: Any) -> float | None:
    """Where a slice lies along the normal of its plane, in millimetres."""
    corner, axes = dataset.get("ImagePositionPatient"), dataset.get("ImageOrientationPatient")
    if not corner or not axes or len(corner) != 3 or len(axes) != 6:
        return None
    a, b = [float(v) for v in axes[:3]], [float(v) for v in axes[3:]]
    normal = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return sum(n * float(c) for n, c in zip(normal, corner, strict=True))


# ---------------------------------------------------------------- labels and series

Headers = Callable[[Iterator[Path]], Iterator[_Header]]


def _labelled(
    root: Path, options: Mapping[str, Any], labels: Labels, headers: Headers
) -> tuple[list[tuple[_Header, int]], list[str]]:
    """(files with their labels, notes)."""
    if not text_option(options, "table"):
        folders = label_folders(root, labels, _dicom_files)
        found = [(header, label) for folder, label in folders for header in headers(_dicom_files(folder, True))]
        return sorted(found, key=lambda item: item[0].name), []
    by, known = label_table(options, labels, ("file", *IDENTIFIERS))
    found, without = [], 0
    for header in headers(_dicom_files(root, True)):
        label = known.get(header.name if by == "file" else header.identifiers[by])
        if label is None:
            without += 1
        else:
            found.append((header, label))
    return found, [f"{without:,} files are not in the table of labels, and no cases"] if without else []


def _series(labelled: Sequence[tuple[_Header, int]], root: Path) -> Iterator[tuple[tuple[_Header, ...], int]]:
    """Files of one series, as they lie in space, with their label. A file without a series stands alone."""
    by_series: dict[str, list[tuple[_Header, int]]] = {}
    for header, label in labelled:
        by_series.setdefault(header.identifiers["SeriesInstanceUID"] or header.name, []).append((header, label))
    for found in by_series.values():
        files = [header for header, _ in found]
        if len({label for _, label in found}) > 1:
            problem = f"the series of {files[0].name} has both labels"
            raise SourceError(problem, where=str(root), expected="one label to a series, or no slice: then every file is a case")
        order = ordered([f.name for f in files], [f.position for f in files], [f.number for f in files])
        yield tuple(files[i] for i in order), found[0][1]


# ---------------------------------------------------------------- pixels


def _check(files: Sequence[_Header], rule: Slice, window: tuple[float, float] | None) -> Checked:
    """Decodes the case's frame in full once. Raises Undecodable."""
    try:
        frames = _frames(files) if rule is not None or len(files) > 1 else [(files[0], 0)]
        index = choose(rule, len(frames), lambda i: _values(*frames[i])) if rule is not None else 0
        file, frame = frames[index]
        data = read_bytes(file.path)
        if rule is None and (n := refuse_absurd(read(data))) > 1:
            raise Undecodable(f'holds {n} frames: slice = "middle" takes one of each file or series')
        _, settings = decode(data, frame, window)
    except OSError as error:
        raise Undecodable(f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise error if isinstance(error, Undecodable) else Undecodable(first_line(error)) from error
    if rule is not None:
        settings["slice"] = told(rule, index, len(frames))
    notes = (BURNED_IN,) if file.burned_in else ()
    kind = {"format": "DICOM", "mode": settings.get("colour", "RGB or grey").split(" to ")[0]}
    return Checked(DicomImage(str(file.path), digest(data), frame, window), settings, notes, kind)


def _frames(files: Sequence[_Header]) -> list[tuple[_Header, int]]:
    """Every frame of a series, in order."""
    return [(file, i) for file in files for i in range(refuse_absurd(read(read_bytes(file.path))))]


def _values(file: _Header, frame: int) -> Any:
    """One frame in the modality's units, to compare slices by."""
    dataset = read(read_bytes(file.path))
    refuse_absurd(dataset)
    try:
        with quiet():
            return modality_values(stored_values(dataset, frame, {}), dataset, frame)
    except Undecodable:
        raise
    except dicom_faults() as error:
        raise Undecodable(f"is damaged: {first_line(error)}") from error


PARTS = (DicomSource(),)
