"""Pairs of readings of one case that end differently: over wordings, and over repeats of one wording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palpate.measures._cells import ANSWERED, Cell
from palpate.stats.resampling import Array

Groups = Sequence[Sequence[int]]
"""Sets of prompts, by their places in the cell."""


@dataclass(frozen=True, slots=True)
class Shares:
    """(n,) per case: the share of pairs that differ, and 1 where the case has a pair."""

    differs: Array
    counted: Array


def kinds_of(cell: Cell) -> NDArray[np.bool_]:
    """(3, n, P, R) whether each reading is positive, negative, or no definite answer; all False where there is no reading."""
    answers = [cell.outcome == code for code in np.flatnonzero(ANSWERED)]
    return np.stack([*answers, cell.read & ~ANSWERED[cell.outcome]])


def _pairs(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(pairs that differ, pairs) among readings of which ``counts`` (3, …) are of each kind."""
    read = counts.sum(axis=0)
    pairs = read * (read - 1) // 2
    return pairs - (counts * (counts - 1) // 2).sum(axis=0), pairs


def between(kinds: NDArray[np.bool_], groups: Groups, parts: Groups) -> Shares:
    """Pairs of prompts within ``groups`` less those within ``parts`` of them, by repeat, then the mean over repeats."""
    n, repeats = kinds.shape[1], kinds.shape[3]
    differs, pairs = np.zeros((n, repeats), np.int64), np.zeros((n, repeats), np.int64)
    for sign, sets in ((1, groups), (-1, parts)):
        for group in sets:
            found = _pairs(kinds[:, :, list(group)].sum(axis=2))
            differs += sign * found[0]
            pairs += sign * found[1]
    usable = (pairs > 0).sum(axis=1)
    ratios = np.where(pairs > 0, differs / np.maximum(pairs, 1), 0.0).sum(axis=1)
    return Shares(ratios / np.maximum(usable, 1), (usable > 0).astype(np.float64))


def rerun(kinds: NDArray[np.bool_], again: Groups) -> Shares:
    """Pairs of repeats of one prompt, and pairs of prompts that are one wording."""
    differs, pairs = (found.sum(axis=1) for found in _pairs(kinds.sum(axis=3)))
    for group in again:
        found = _pairs(kinds[:, :, group].sum(axis=2))
        differs, pairs = differs + found[0].sum(axis=1), pairs + found[1].sum(axis=1)
    return Shares(differs / np.maximum(pairs, 1), (pairs > 0).astype(np.float64))
