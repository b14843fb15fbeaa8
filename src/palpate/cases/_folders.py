"""Sub-folders named after labels: where a source finds its files, and which label each has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from palpate.cases._images import SUFFIXES
from palpate.cases._listing import unknown_labels
from palpate.errors import SourceError
from palpate.parts import Labels

Files = Callable[[Path, bool], Iterator[Path]]


def label_folders(root: Path, labels: Labels, files: Files) -> list[tuple[Path, int]]:
    """The folders that hold the images, each with its label: below ``root``, or below the one folder in it that has them.

    ``files``: (folder, recursive) → the files in it that may be images.
    """
    direct = _labelled(root, labels, files)
    if direct:
        return direct
    splits = {folder: found for folder in _sub_folders(root) if (found := _labelled(folder, labels, files))}
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
    strangers = _strangers(root, labels, files)
    if strangers:
        raise unknown_labels(strangers, labels, where=str(root), noun="sub-folders")
    expected = "one sub-folder per label, such as pneumonia/ and normal/"
    raise SourceError("no sub-folder with images", where=str(root), expected=expected)


def _labelled(folder: Path, labels: Labels, files: Files) -> list[tuple[Path, int]]:
    """Sub-folders whose name is a known label; refuses the folder where only some are known. [] where none is."""
    found = [(sub, label) for sub in _sub_folders(folder) if (label := labels.of(sub.name)) is not None]
    if found and (strangers := _strangers(folder, labels, files)):
        raise unknown_labels(strangers, labels, where=str(folder), noun="sub-folders")
    return found


def _strangers(folder: Path, labels: Labels, files: Files) -> dict[str, int]:
    """Sub-folders that hold images under no known label: name → how many."""
    counts = {sub.name: sum(1 for _ in files(sub, True)) for sub in _sub_folders(folder) if labels.of(sub.name) is None}
    return {name: count for name, count in counts.items() if count}


def _sub_folders(folder: Path) -> list[Path]:
    try:
        return sorted(sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise SourceError(f"cannot be listed: {error.strerror or error}", where=str(folder)) from error


def visible(folder: Path, recursive: bool) -> Iterator[Path]:
    """Files of a folder, sorted, hidden ones apart."""
    for path in sorted(folder.rglob("*") if recursive else folder.glob("*")):
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
        if not hidden and path.is_file():
            yield path


def image_files(folder: Path, recursive: bool) -> Iterator[Path]:
    """Files with an image suffix: what has another suffix (notes, tables, archives, Thumbs.db) is no image."""
    return (path for path in visible(folder, recursive) if path.suffix.lower() in SUFFIXES)
