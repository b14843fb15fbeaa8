"""Copies among images: the same pixels, and nearly the same (resized, recompressed, shifted in brightness)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from palpate.inspection.card import FAULT, DataFinding
from palpate.inspection.pixels import GREY, ImageFacts

MOST_BITS = 8
"""Hashes that differ in more of their 63 bits are of different images: unrelated ones differ in 31 on average."""
LEAST_CORRELATION = 0.99
LARGEST_DIFFERENCE = 6.0
"""Mean absolute difference of two thumbnails' channels, in levels of 0–255."""
ASPECT = 0.03
ROWS = 512  # compared at once: a matter of memory


def duplicates(facts: Sequence[ImageFacts]) -> Iterator[DataFinding]:
    """Exact and near copies, those across labels and across groups named for themselves."""
    exact = exact_sets(facts)
    surplus = sum(len(members) - 1 for members in exact)
    if exact:
        text = f"{surplus} surplus {'copy' if surplus == 1 else 'copies'}: {_sets(exact)} of pixel-identical images"
        yield DataFinding("duplicates", FAULT, text, _ids(facts, exact))
    near = near_sets(facts)
    if near:
        text = f"{_sets(near)} of nearly identical images (resized, recompressed or brightened)"
        yield DataFinding("near-duplicates", FAULT, text, _ids(facts, near))
    together = [*exact, *near]
    across = [members for members in together if len({facts[i].label for i in members}) > 1]
    if across:
        text = f"{_sets(across)} of the same image under both labels: one of the labels is wrong"
        yield DataFinding("duplicates-across-labels", FAULT, text, _ids(facts, across))
    # Where no patient is known every image is its own group: a copy in another one says nothing more than that it is a copy.
    apart = (
        [m for m in together if len({facts[i].group for i in m}) > 1] if len({f.group for f in facts}) < len(facts) * 0.9 else []
    )
    if apart:
        text = f"{_sets(apart)} of the same image under several patients or slides: their intervals come out too narrow"
        yield DataFinding("duplicates-across-groups", FAULT, text, _ids(facts, apart))


def _sets(found: Sequence[Sequence[int]]) -> str:
    return "1 set" if len(found) == 1 else f"{len(found)} sets"


def exact_sets(facts: Sequence[ImageFacts]) -> list[list[int]]:
    """Sets of two or more images with the same size and pixels."""
    found: dict[str, list[int]] = defaultdict(list)
    for i, fact in enumerate(facts):
        found[fact.pixels].append(i)
    return [members for members in found.values() if len(members) > 1]


def near_sets(facts: Sequence[ImageFacts]) -> list[list[int]]:
    """Sets of nearly identical images, one image of each set of identical ones among them.

    Two images belong together where their hashes agree to eight bits, their shape to 3 %, and their thumbnails correlate to .99
    and differ by six levels at most. Sets are joined over common members.
    """
    first = list({fact.pixels: i for i, fact in reversed(list(enumerate(facts)))}.values())[::-1]
    if len(first) < 2:
        return []
    hashes = np.array([facts[i].hash for i in first], dtype=np.uint64)
    thumbs = np.stack([facts[i].thumb for i in first])
    aspect = np.log([facts[i].width / facts[i].height for i in first])
    parent = list(range(len(first)))
    for a, b in _alike(hashes, aspect, thumbs):
        parent[_root(parent, b)] = _root(parent, a)
    found: dict[int, list[int]] = defaultdict(list)
    for k, i in enumerate(first):
        found[_root(parent, k)].append(i)
    return [members for members in found.values() if len(members) > 1]


def _alike(hashes: NDArray[np.uint64], aspect: NDArray[np.float64], thumbs: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    for start in range(0, len(hashes), ROWS):
        rows = slice(start, start + ROWS)
        bits = np.bitwise_count(hashes[rows, None] ^ hashes[None, :])
        close = (bits <= MOST_BITS) & (np.abs(aspect[rows, None] - aspect[None, :]) <= ASPECT)
        for a, b in np.argwhere(close):
            one, other = start + int(a), int(b)
            if one < other and _same(thumbs[one], thumbs[other]):
                yield one, other


def _same(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    if float(np.abs(a - b).mean()) > LARGEST_DIFFERENCE:
        return False
    x, y = (a @ GREY).ravel(), (b @ GREY).ravel()
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return scale == 0 or float(x @ y) >= LEAST_CORRELATION * scale


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _ids(facts: Sequence[ImageFacts], sets: Sequence[Sequence[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(facts[i].case for i in members) for members in sets)
