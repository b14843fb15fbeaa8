"""Which charts a report shows of each question, in which order, and which of them side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from palpate.report.confidence_charts import abstaining, coverages, reliability
from palpate.report.factor_charts import factors, prompt_heat
from palpate.report.figures import accuracy, pairs, refusals, silences, spreads, wordings
from palpate.report.image_charts import image_moves, nothing_shown, quadrants, slopes
from palpate.report.ladder import ladders
from palpate.report.view import ReportView

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Drawn = Sequence[Sequence["Figure"]]
"""Groups of figures: those of one group stand side by side where there is room."""


def opening_charts(view: ReportView) -> dict[int, Drawn]:
    """Question → the charts before its findings in words."""
    return {
        1: [_some([accuracy(view)])],
        2: [_some([spreads(view)])],
        3: [_some([refusals(view)])],
        4: [_some([pairs(view)])],
        5: [_some([image_moves(view)])],
        6: [ladders(view)],
        7: [_some([abstaining(view)])],
    }


def further_charts(view: ReportView) -> dict[int, Drawn]:
    """Question → the charts after them, task by task."""
    return {
        2: [
            _some(factors(view, task) for task in view.tasks),
            *(_some([wordings(view, task)]) for task in view.tasks),
            _some(prompt_heat(view, task) for task in view.tasks),
        ],
        3: [_some(silences(view, task) for task in view.tasks)],
        5: [_some([quadrants(view)]), _some([nothing_shown(view)]), [f for task in view.tasks for f in slopes(view, task)]],
        7: [_some(coverages(view, task) for task in view.tasks), _some(reliability(view, task) for task in view.tasks)],
    }


def _some(figures: Iterable[Figure | None]) -> list[Figure]:
    return [figure for figure in figures if figure is not None]
