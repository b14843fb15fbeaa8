"""Single images that do not belong: blank ones, another kind of picture among the rest, files that are not what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from palpate.inspection.card import FAULT, NOTE, DataFinding
from palpate.inspection.pixels import ImageFacts

BLANK = 3.0
"""Contrast and colour together, in levels of 0–255: an image below shows one grey."""
NEARLY_BLANK = 1 / 3
"""Of the set's median contrast and colour together: less is nearly blank."""
COLOURED = 6.0
"""Mean |R−G| + |G−B| from which an image has colour; a grey one that went through JPEG has 1 or 2."""
MOSTLY = 0.9
ENOUGH = 20
"""Images from which on a set has a usual look."""
FENCE = 3.0
"""Tukey's outer fence: an image beyond the upper quartile by so many interquartile ranges is far out."""
LEAST_WHITE = 0.02
NEIGHBOURS = 5
SUFFIXES = {
    "PNG": {".png"},
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
    "TIFF": {".tif", ".tiff"},
    "BMP": {".bmp"},
    "WEBP": {".webp"},
}


def oddities(facts: Sequence[ImageFacts]) -> Iterator[DataFinding]:
    """Blank images, other kinds of pictures, and files with another name than their content."""
    blank = blanks(facts)
    yield from _found("blank", FAULT, facts, blank, "blank or nearly blank image", ": there is nothing to see")
    rest = [i for i in range(len(facts)) if i not in set(blank)]
    colour = _colour(facts, rest)
    yield from colour
    yield from _unlike(facts, rest)
    wrong = [i for i, f in enumerate(facts) if _misnamed(f)]
    kinds = Counter(f"{facts[i].file['format']} called {facts[i].file['suffix']}" for i in wrong)
    what = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    yield from _found("suffix", NOTE, facts, wrong, "file", f" called what it is not: {what}")
    modes = Counter(str(f.file["mode"]) for f in facts if "mode" in f.file)
    if len(modes) > 1:
        text = "stored in several ways: " + ", ".join(f"{mode} {count}" for mode, count in modes.most_common())
        yield DataFinding("modes", NOTE, text)


def blanks(facts: Sequence[ImageFacts]) -> list[int]:
    """Images that show one grey, or next to nothing beside the others of the set."""
    energy = np.array([np.hypot(f.contrast, f.colour) for f in facts])
    if not len(energy):
        return []
    least = max(BLANK, NEARLY_BLANK * float(np.median(energy)) if len(energy) >= ENOUGH else 0.0)
    return [int(i) for i in np.flatnonzero(energy < least)]


def _colour(facts: Sequence[ImageFacts], rest: Sequence[int]) -> Iterator[DataFinding]:
    """The few colour images among grey ones, or grey among colour; where it is neither, only that it is a mix."""
    coloured = [i for i in rest if facts[i].colour >= COLOURED]
    plain = [i for i in rest if facts[i].colour < COLOURED]
    if not coloured or not plain or len(rest) < ENOUGH:
        return
    few, name, others = (coloured, "colour", "grey") if len(coloured) <= len(plain) else (plain, "grey", "colour")
    text = f" in {name} among {len(rest) - len(few)} in {others}"
    rare = len(few) <= (1 - MOSTLY) * len(rest)
    yield from _found("colour", FAULT if rare else NOTE, facts, few, "image", text + (": another kind of picture?" if rare else ""))


def _unlike(facts: Sequence[ImageFacts], rest: Sequence[int]) -> Iterator[DataFinding]:
    """Images whose grey levels are far from all others', or far whiter: another modality, a frame, a screenshot."""
    if len(rest) < ENOUGH:
        return
    white = np.array([facts[i].white for i in rest])
    far = far_out(nearest(np.stack([facts[i].histogram for i in rest])))
    whiter = far_out(white) & (white >= LEAST_WHITE)
    odd = [i for i, is_far, is_white in zip(rest, far, whiter, strict=True) if is_far or is_white]
    text = " unlike the rest in grey levels: another modality, a white frame, text? Have a look"
    yield from _found("unlike", NOTE, facts, odd, "image", text)


def nearest(histograms: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) mean Hellinger distance (0–1) of each histogram to its five nearest others."""
    roots = np.sqrt(histograms)
    found = np.empty(len(roots))
    for i, root in enumerate(roots):  # a row at a time: n × n of them would not fit for a hundred thousand images
        distance = np.sqrt(((roots - root) ** 2).sum(axis=1) / 2)
        distance[i] = np.inf
        found[i] = np.partition(distance, min(NEIGHBOURS, len(roots) - 1) - 1)[:NEIGHBOURS].mean()
    return found


def far_out(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Beyond the upper outer fence: Q3 + 3 (Q3 − Q1). (J. W. Tukey, "Exploratory Data Analysis", 1977.)"""
    low, high = np.quantile(values, [0.25, 0.75])
    return np.asarray(values > high + FENCE * (high - low))


def _misnamed(fact: ImageFacts) -> bool:
    kind, suffix = str(fact.file.get("format", "")), str(fact.file.get("suffix", "")).lower()
    return kind in SUFFIXES and bool(suffix) and suffix not in SUFFIXES[kind]


def _found(kind: str, severity: str, facts: Sequence[ImageFacts], at: Sequence[int], noun: str, text: str) -> Iterator[DataFinding]:
    if at:
        counted = f"{len(at)} {noun}" + ("" if len(at) == 1 else "s")
        yield DataFinding(kind, severity, counted + text, tuple((facts[i].case,) for i in at))
