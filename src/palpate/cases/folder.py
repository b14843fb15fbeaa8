"""Images in one sub-folder per label: ``chest/pneumonia/*.png``, ``chest/normal/*.png``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from palpate.cases._images import SUFFIXES
from palpate.cases._listing import Listed, case_set, existing, text_option, unknown_labels, unknown_options
from palpate.errors import SourceError
from palpate.nouns import CaseSet
from palpate.parts import Labels, Sample


class FolderSource:
    """One sub-folder per label; its name, compared case-folded, is the label value."""

    name: ClassVar[str] = "folder"
    options: ClassVar[Mapping[str, str]] = {
        "path": "folder with one sub-folder per label (or with one folder, such as test/, that holds them)",
        "group_regex": "pattern on a file's relative path; its first group, or (?P<group>…), is the patient or slide",
        "pattern": "which files to take, by name: *.png (default: every image file)",
        "recursive": "also look in folders below the label folders (default: true)",
        "salt": "secret text that keys the hash of patient and slide names (default: none)",
    }

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Cases sorted by relative path. Raises SourceError for a missing, empty or unlabelled folder; a bad image is LeftOut."""
        unknown_options(options, self.options)
        root = existing(options, folder=True)
        pattern, recursive = text_option(options, "pattern", "*") or "*", options.get("recursive", True)
        if not isinstance(recursive, bool):
            raise SourceError(f"recursive = {recursive!r} is neither true nor false", where=str(root), expected="recursive = true")
        group_of = _Grouping(text_option(options, "group_regex"), where=str(root))
        listed: list[Listed] = []
        for folder, label in _label_folders(root, labels):
            for path in _image_files(folder, recursive):
                if path.match(pattern):
                    name = path.relative_to(root).as_posix()
                    group = group_of(name)
                    # A file the pattern does not fit stands for itself; "grouped" lets a person count those.
                    metadata = {} if group is not None or not group_of.pattern else {"grouped": False}
                    listed.append(Listed(name, path, label, group, metadata))
        if not listed:
            expected = f"files {pattern} ending in {', '.join(sorted(SUFFIXES))}"
            raise SourceError("no image file in the label folders", where=str(root), expected=expected)
        if group_of.pattern and all(entry.group is None for entry in listed):
            raise SourceError(
                f"group_regex {group_of.pattern!r} fits none of {len(listed):,} files",
                where=str(root),
                expected=f"a pattern that finds the patient in names such as {listed[0].name}",
            )
        return case_set(listed, sample, text_option(options, "salt"))


class _Grouping:
    """Relative path → patient or slide, or None where the pattern does not fit."""

    def __init__(self, pattern: str, *, where: str) -> None:
        self.pattern = pattern
        try:
            self._regex = re.compile(pattern)
        except re.error as error:
            problem = f"group_regex {pattern!r} is not a pattern: {error}"
            raise SourceError(problem, where=where, expected="for example (person\\d+)_") from error

    def __call__(self, name: str) -> str | None:
        found = self._regex.search(name) if self.pattern else None
        if found is None:
            return None
        named = found.groupdict().get("group")
        return named or next((group for group in found.groups() if group), None if found.groups() else found.group() or None)


def _label_folders(root: Path, labels: Labels) -> list[tuple[Path, int]]:
    """The folders that hold the images, each with its label: below ``root``, or below the one folder in it that has them."""
    direct = _labelled(root, labels)
    if direct:
        return direct
    splits = {folder: found for folder in _sub_folders(root) if (found := _labelled(folder, labels))}
    if len(splits) == 1:
        return next(iter(splits.values()))
    if splits:
        names = [folder.name for folder in splits]
        raise SourceError(
            f"{len(splits)} folders hold label folders: {', '.join(names)}",
            where=str(root),
            expected="one of them: images of another split would be other cases",
            hint=f'path = "{next(iter(splits))}"',
        )
    strangers = _strangers(root, labels)
    if strangers:
        raise unknown_labels(strangers, labels, where=str(root), noun="sub-folders")
    expected = "one sub-folder per label, such as pneumonia/ and normal/"
    raise SourceError("no sub-folder with images", where=str(root), expected=expected)


def _labelled(folder: Path, labels: Labels) -> list[tuple[Path, int]]:
    """Sub-folders whose name is a known label; refuses the folder where only some are known. [] where none is."""
    found = [(sub, label) for sub in _sub_folders(folder) if (label := labels.of(sub.name)) is not None]
    if found and (strangers := _strangers(folder, labels)):
        raise unknown_labels(strangers, labels, where=str(folder), noun="sub-folders")
    return found


def _strangers(folder: Path, labels: Labels) -> dict[str, int]:
    """Sub-folders that hold images under no known label: name → how many."""
    counts = {sub.name: sum(1 for _ in _image_files(sub, True)) for sub in _sub_folders(folder) if labels.of(sub.name) is None}
    return {name: count for name, count in counts.items() if count}


def _sub_folders(folder: Path) -> list[Path]:
    try:
        return sorted(sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise SourceError(f"cannot be listed: {error.strerror or error}", where=str(folder)) from error


def _image_files(folder: Path, recursive: bool) -> Iterator[Path]:
    """Files with an image suffix, sorted, hidden ones apart: what has another suffix (notes, tables, Thumbs.db) is no image."""
    paths = folder.rglob("*") if recursive else folder.glob("*")
    for path in sorted(paths):
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path


PARTS = (FolderSource(),)
