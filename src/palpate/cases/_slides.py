"""Regions of whole-slide images: one rectangle of one level, through ``tiffslide`` (extra ``slides``)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palpate.cases._images import BROKEN, MAX_PIXELS, MIN_SIDE, RULE, ChangedSincePlanned, Checked, Undecodable, digest, first_line
from palpate.cases._tables import text
from palpate.errors import SourceError

if TYPE_CHECKING:
    from PIL.Image import Image

REGION_COLUMNS = ("x", "y", "w", "h", "level")
CHUNK = 2**20
MAX_TILE = 3 * MAX_PIXELS
"""Values of one tile, colours counted: scanners write tiles of 256 to 4096 pixels a side."""


@dataclass(frozen=True, slots=True)
class SlideRegion:
    """A rectangle of a slide (an ``ImageRef``): ``x``, ``y`` of its corner on level 0, its size on ``level``, in pixels."""

    path: str
    digest: str
    x: int
    y: int
    w: int
    h: int
    level: int

    def open(self) -> Image:
        """The region, RGB. Raises Undecodable (a ValueError) or OSError, also where the slide has changed."""
        if self.digest != _identity(Path(self.path), self.region):
            raise ChangedSincePlanned
        return _read(Path(self.path), self)

    @property
    def region(self) -> str:
        """The rectangle as the case's decode settings record it."""
        return f"{self.x},{self.y},{self.w},{self.h}@{self.level}"


def region_of(values: Mapping[str, Any]) -> tuple[str, str]:
    """("#x,y,w,h@level", what is wrong) of a table's row."""
    numbers = []
    for column in REGION_COLUMNS:
        given = text(values[column])
        if not (given.isascii() and given.isdecimal()) or len(given) > 9:
            return "", f"has {given!r} for {column}, not a number of pixels"
        numbers.append(int(given))
    x, y, w, h, level = numbers
    if min(w, h) < MIN_SIDE or w * h > MAX_PIXELS:
        return (
            "",
            f"has a region of {w:,} × {h:,} pixels; a side has at least {MIN_SIDE}, all at most {MAX_PIXELS / 1e6:.0f} million",
        )
    return f"#{x},{y},{w},{h}@{level}", ""


def check_region(path: Path, region: str) -> Checked:
    """Reads one region in full once. Raises Undecodable, and SourceError where tiffslide is not installed."""
    corner, _, level = region.removeprefix("#").partition("@")
    x, y, w, h = map(int, corner.split(","))
    try:
        found = SlideRegion(str(path), _identity(path, region.removeprefix("#")), x, y, w, h, int(level))
    except OSError as error:
        raise Undecodable(f"cannot be read: {error.strerror or error}") from error
    _read(path, found)
    return Checked(found, {"rule": RULE, "region": found.region})


def _read(path: Path, region: SlideRegion) -> Image:
    from PIL import Image

    slide = _slide(path)
    try:
        with slide:
            if region.level >= slide.level_count:
                raise Undecodable(f"has {slide.level_count} levels, and no level {region.level}")
            width, height = slide.level_dimensions[region.level]
            scale = slide.level_downsamples[region.level]
            if region.x / scale + region.w > width + 1 or region.y / scale + region.h > height + 1:
                raise Undecodable(f"the region leaves the slide, which has {width:,} × {height:,} pixels on level {region.level}")
            _refuse_missing_tiles(slide, region.level, path.stat().st_size)
            _refuse_absurd_tiles(slide, region.level)
            found: Image.Image = slide.read_region((region.x, region.y), region.level, (region.w, region.h))
            clean = Image.new("RGB", found.size)
            clean.paste(found.convert("RGB"))
            return clean
    except Undecodable:
        raise
    except BROKEN as error:
        raise Undecodable(f"is damaged: {first_line(error)}") from error


def _refuse_missing_tiles(slide: Any, level: int, size: int) -> None:
    """A slide cut short would be read as blank where its tiles are missing: a damaged image never becomes a blank one."""
    page = slide.ts_tifffile.series[0].levels[level].pages[0]
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends or len(ends) != math.prod(page.chunked) or max(ends) > size:
        raise Undecodable("is damaged: some of its tiles are missing")


def _refuse_absurd_tiles(slide: Any, level: int) -> None:
    """A tile is unpacked whole, however small the region: one that claims gigabytes in a few bytes would take them."""
    page = slide.ts_tifffile.series[0].levels[level].pages[0]
    pixels = math.prod(page.chunks)
    if pixels > MAX_TILE:
        raise Undecodable(f"has tiles of {pixels / 1e6:,.0f} million values, more than the {MAX_TILE / 1e6:.0f} million allowed")


def _slide(path: Path) -> Any:
    try:
        import tiffslide
    except ImportError as error:
        problem = "regions of whole slides need the package tiffslide"
        raise SourceError(problem, where=str(path), expected="the extra `slides`", hint="pip install 'palpate[slides]'") from error
    try:
        return tiffslide.TiffSlide(path)
    except BROKEN as error:
        raise Undecodable(f"is no slide that tiffslide reads: {first_line(error)}") from error


def _identity(path: Path, region: str) -> str:
    """Identity of a region: the slide's content and the rectangle."""
    stat = path.stat()
    return digest(f"{_file_digest(path, stat.st_size, stat.st_mtime_ns)}#{region}".encode())


@lru_cache(maxsize=256)
def _file_digest(path: Path, size: int, modified: int) -> str:
    """BLAKE2b of a slide of gigabytes, read once per process for all its regions; a changed file has another time or size."""
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()
