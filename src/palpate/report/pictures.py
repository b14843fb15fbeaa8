"""Flat pictures of inner states (t-SNE, UMAP) as small drawings without scripts, with the numbers that a picture cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from palpate.nouns import Estimate
from palpate.report import words
from palpate.report.view import ReportView
from palpate.store.pictures import Picture

if TYPE_CHECKING:
    from markupsafe import Markup

SIDE, EDGE, MARK = 440, 12, 5  # of a drawing's own units, two to a pixel
ABSENT, PRESENT = "#0072B2", "#D55E00"
MOST = 14_000
"""Cases drawn on a page, over all its pictures: 20 bytes each, so below 300 kB."""
KINDS = {"tsne": "t-SNE", "umap": "UMAP"}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture as the page shows it. ``probe`` is the AUROC of the linear probe on the very states the picture is of."""

    title: str
    svg: Markup
    picture: Picture
    shown: int
    probe: Estimate | None

    @property
    def how(self) -> str:
        """Settings and how many cases are drawn."""
        of = f"perplexity {self.picture.perplexity:.3g}" if self.picture.kind == "tsne" else "15 neighbours"
        return f"{KINDS[self.picture.kind]}, {of}, {self.shown} of {words.count(self.picture.label.size, 'image')}"


def pictures(view: ReportView) -> list[Drawn]:
    """Every picture of the run, in the study's order of tasks and models."""
    order = {m.name: i for i, m in enumerate(view.models)}
    tasks = {t.name: i for i, t in enumerate(view.tasks)}
    mine = [p for p in view.pictures if p.model in order and p.task in tasks]
    mine.sort(key=lambda p: (tasks[p.task], order[p.model]))
    whole = sum(p.label.size for p in mine)
    labels, estimates = words.labels(view), words.unperturbed(view.estimates)
    found = []
    for picture in mine:
        count = picture.label.size if whole <= MOST else max(1, picture.label.size * MOST // whole)
        title = f"{words.line(picture.model)} on {labels[picture.task]}: {_stage(picture)}"
        svg = _svg(picture, _some(picture.label.size, count), f"{title}, {KINDS[picture.kind]}")
        found.append(Drawn(title, svg, picture, count, _probe(picture, view, estimates)))
    return found


def _stage(picture: Picture) -> str:
    if picture.stage == "read":
        return "the layer handed on"
    return "the last layer, at the end of the question"


def _probe(picture: Picture, view: ReportView, estimates: Sequence[Estimate]) -> Estimate | None:
    cells = {p.name: p.cell for p in view.prompts.get(picture.task, ())}
    by = {"model": picture.model, "task": picture.task, "stage": picture.stage}
    by |= {"cell": cells[picture.prompt]} if picture.prompt in cells else {}
    return next(iter(words.select(estimates, "ladder_auroc", **by)), None)


def _some(n: int, count: int) -> NDArray[np.int64]:
    """``count`` of n places, drawn once for all: an even step could meet one class alone."""
    return np.sort(np.random.default_rng(0).permutation(n)[:count])


def _svg(picture: Picture, shown: NDArray[np.int64], title: str) -> Markup:
    """One stroke per class: round dots where the condition is absent, crosses where it is present, both axes on one scale."""
    from markupsafe import Markup

    place = picture.place[shown].astype(np.float64)
    low, high = place.min(axis=0), place.max(axis=0)
    scale = (SIDE - 2 * EDGE) / max(float((high - low).max()), 1e-12)
    at = np.rint((place - (low + high) / 2) * scale + SIDE / 2).astype(int)
    label = picture.label[shown]
    dots = "".join(f"M{x} {y}h0" for x, y in at[label == 0].tolist())
    cross = f"l{2 * MARK} {2 * MARK}m-{2 * MARK} 0l{2 * MARK}-{2 * MARK}"
    crosses = "".join(f"M{x - MARK} {y - MARK}{cross}" for x, y in at[label == 1].tolist())
    return Markup(
        '<svg class="states" viewBox="0 0 {side} {side}" role="img" aria-label="{title}. Its numbers are in the table below.">'
        '<path d="{dots}" stroke="{absent}" stroke-width="9" stroke-linecap="round" fill="none"/>'
        '<path d="{crosses}" stroke="{present}" stroke-width="2.5" fill="none"/></svg>'
    ).format(side=SIDE, title=title, dots=dots, crosses=crosses, absent=ABSENT, present=PRESENT)
