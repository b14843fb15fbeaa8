"""Charts of question 2 by what the wordings differ in: every wording's accuracy as a heat map, and what each factor does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from palpate.nouns import Estimate, Form, Prompt
from palpate.report import words
from palpate.report.chart_heat import EITHER_WAY, heat_map
from palpate.report.chart_style import safe
from palpate.report.view import ReportView, TaskCard

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ARROWS = {"raises": " ▲", "lowers": " ▼"}
FORMS = {Form.YES_NO: 0, Form.AB: 1, Form.BA: 2}
REACH = 10.0  # points at which a colour is full, unless an effect is larger


def in_order(view: ReportView, task: TaskCard, prompts: Iterable[Prompt]) -> list[Prompt]:
    """Closed prompts as every table of wordings has them: the target question first, then by form, polarity and factors."""
    cells = words.cells(view, task.name)
    return sorted(
        prompts, key=lambda p: (cells.index(p.cell), FORMS[p.form], p.polarity.value != "positive", sorted(p.factors.items()))
    )


def prompt_heat(view: ReportView, task: TaskCard) -> Figure | None:
    """Balanced accuracy of every wording (down, sorted by what they differ in) and model (across). None without two wordings."""
    keys = ("model", "task", "cell", "prompt")
    mine = words.select(words.unperturbed(view.estimates), "ba_all", keys=keys, task=task.name)
    score = {(e.by["prompt"], e.by["model"]): e for e in mine}
    prompts = [p for p in view.prompts.get(task.name, ()) if p.form.closed and any(p.name == name for name, _ in score)]
    if len(prompts) < 2 or all(e.value is None for e in mine):
        return None
    prompts = in_order(view, task, prompts)
    numbers = [[_score(p, m.name, score.get((p.name, m.name))) for m in view.models] for p in prompts]
    title = f"{words.titles(view)[task.name]}: accuracy of every wording"
    return heat_map(
        view,
        [p.name for p in prompts],
        numbers,
        title=title,
        columns="model (balanced accuracy)",
        down="",
        ends=(0, 1),
        shades=EITHER_WAY,
    )


def _score(prompt: Prompt, model: str, e: Estimate | None) -> tuple[float | None, str, str]:
    value = None if e is None else e.value
    between = "" if e is None else words.interval(e)
    text = " ".join(prompt.text.split())
    told = f"{safe(model)}, {safe(prompt.name)}: {words.score(value)}{f' ({between})' if between else ''}"
    return value, words.score(value), f"{told}<br>{safe(text if len(text) <= 120 else text[:119] + '…')}"


def factors(view: ReportView, task: TaskCard) -> Figure | None:
    """What each factor of the wording does to balanced accuracy, in points: level against the first level, a column a model."""
    cell = next(iter(words.cells(view, task.name)), "")
    mine = words.select(words.unperturbed(view.estimates), "factor_effect", task=task.name, cell=cell)
    found = {(*_contrast(e), e.by["model"]): e for e in mine if "level" in e.by}
    rows = list(dict.fromkeys(_contrast(e) for e in mine if "level" in e.by))
    if not any(e.value is not None for e in found.values()):
        return None
    reach = max([REACH, *(100 * abs(e.value or 0.0) for e in found.values())])
    cells = [[_effect(m.name, row, found.get((*row, m.name))) for m in view.models] for row in rows]
    title = f"{words.titles(view)[task.name]}: what each part of the wording does (▲ ▼ surely)"
    names = [f"{factor}: {level}, not {against}" for factor, level, against in rows]
    columns = "model (points of balanced accuracy)"
    return heat_map(view, names, cells, title=title, columns=columns, down="", ends=(-reach, reach), shades=EITHER_WAY)


def _contrast(e: Estimate) -> tuple[str, str, str]:
    return e.by["factor"], e.by["level"], e.by["against"]


def _effect(model: str, row: Sequence[str], e: Estimate | None) -> tuple[float | None, str, str]:
    value = None if e is None else e.value
    shown = words.points(value, signed=True)
    between = "" if e is None else words.points_interval(e, signed=True)
    told = f"{safe(model)}<br>{safe(row[0])}: {safe(row[1])} instead of {safe(row[2])}<br>{shown} points"
    told += f" ({between})" if between else ""
    why = "" if e is None or e.value is not None or not e.reason else f"<br>{safe(e.reason)}"
    arrow = "" if e is None else ARROWS.get(e.verdict or "", "")
    return None if value is None else 100 * value, f"{shown}{arrow}", told + why
