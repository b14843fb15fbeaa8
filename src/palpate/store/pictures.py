"""Flat pictures of inner states: one file per model, task and labels, written once.

    RUN/pictures/<digest>.npz    coordinates of every picture, and how well it keeps the classes' neighbourhoods

The digest names the inner states, the labels, the seed and the kinds of picture: other labels are another file.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate.errors import RunError
from palpate.nouns import Panel
from palpate.store.keys import digest

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Picture:
    """One stage of one model on one task, laid out on a plane.

    ``place`` (n, 2), ``label`` (n,) 0 or 1, of the cases whose states were kept; ``near`` mean share of a case's ten nearest in the
    picture that have its label, ``near_before`` the same among the principal components the picture was made from; ``perplexity``
    t-SNE's, 0 for UMAP; ``prompt`` the question at whose last token a language layer was read, else empty.
    """

    model: str
    task: str
    stage: str
    kind: str
    place: NDArray[np.float32]
    label: NDArray[np.int8]
    near: float
    near_before: float
    perplexity: float = 0.0
    prompt: str = ""


class PictureStore:
    """The pictures of a run folder. Reading needs neither states nor the libraries that drew them."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / "pictures"
        self._states = run_folder / "features" / "current.json"

    def path(self, panel: Panel, kinds: Sequence[str], seed: int) -> Path | None:
        """Where the pictures of a panel's model and task are, or belong; None where no inner states were kept of them."""
        if not kinds or not self._states.exists():
            return None
        current: Mapping[str, Mapping[str, str]] = json.loads(self._states.read_text(encoding="utf-8"))
        states = current.get(panel.model, {}).get(panel.task)
        if states is None:
            return None
        what = [FORMAT_VERSION, states, panel.cases, panel.label.tolist(), list(kinds), seed]
        return self.folder / f"{digest(what)}.npz"

    def pictures(self, panel: Panel, kinds: Sequence[str], seed: int) -> tuple[Picture, ...]:
        """Empty where nothing was drawn. Raises RunError for a broken file."""
        file = self.path(panel, kinds, seed)
        if file is None or not file.exists():
            return ()
        try:
            with np.load(file, allow_pickle=False) as held:
                facts: list[dict[str, Any]] = json.loads(str(held["facts"]))
                place, label = held["place"], held["label"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as fault:
            raise RunError(f"cannot be read: {fault}", where=str(file), hint="delete it and run again") from None
        return tuple(Picture(panel.model, panel.task, place=place[i], label=label, **fact) for i, fact in enumerate(facts))

    def write(self, file: Path, pictures: Sequence[Picture]) -> None:
        """Keep pictures of one model and task, over the same cases, whole or not at all."""
        names = ("stage", "kind", "near", "near_before", "perplexity", "prompt")
        facts = [{name: getattr(picture, name) for name in names} for picture in pictures]
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.stem}.new.npz")
        place = np.stack([picture.place for picture in pictures]).astype(np.float32)
        np.savez_compressed(fresh, place=place, label=pictures[0].label.astype(np.int8), facts=json.dumps(facts))
        fresh.replace(file)
