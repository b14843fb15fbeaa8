"""Archives from outside: how much they would unpack to is looked at before anything is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

from palpate.errors import SourceError

LARGEST_MEMBER = 1 << 30  # bytes of one file in an archive: a log of one sample, or of one sheet
LARGEST_WHOLE = 8 << 30
MOST_MEMBERS = 1_000_000


def open_archive(path: Path, what: str) -> zipfile.ZipFile:
    """A zip archive that is safe to read. Raises SourceError for what is none, or would unpack to more than any such file holds.

    The sizes are those the archive declares: read its members with ``member``, which holds them to it.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as fault:
        raise SourceError(f"is no zip archive: {fault}", where=str(path), expected=what) from None
    sizes = [info.file_size for info in archive.infolist()]
    problem = ""
    if len(sizes) > MOST_MEMBERS:
        problem = f"holds {len(sizes):,} files"
    elif sizes and max(sizes) > LARGEST_MEMBER:
        problem = f"holds a file that unpacks to {max(sizes):,} bytes"
    elif sum(sizes) > LARGEST_WHOLE:
        problem = f"unpacks to {sum(sizes):,} bytes"
    if problem:
        archive.close()
        raise SourceError(problem, where=str(path), expected=f"{what}, of a size that such files have", hint="split it")
    return archive


def member(archive: zipfile.ZipFile, name: str) -> bytes:
    """One file of an archive. Raises BadZipFile where it unpacks to more than it declares, and KeyError where there is none.

    ``ZipFile.read`` unpacks all there is before it cuts that down to what was declared: a lying archive would fill memory.
    """
    size = archive.getinfo(name).file_size
    with archive.open(name) as file:
        found = file.read(size)
        if len(found) != size or file.read(1):
            raise zipfile.BadZipFile(f"{name} is not of the size it declares")
    return found


def check_members(archive: zipfile.ZipFile) -> None:
    """Raises BadZipFile where any file is not what the archive declares: before a library reads them all in its own way."""
    broken = archive.testzip()  # in pieces of a megabyte
    if broken is not None:
        raise zipfile.BadZipFile(f"{broken} is not what it declares")
