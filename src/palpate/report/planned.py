"""What a plan takes and what it can show, as tables for the terminal: nothing is run for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from palpate.report import words
from palpate.report.tables import plain_table, render
from palpate.stats.power import Alike, Resolution
from palpate.thresholds import Thresholds

IN_PILOT, IN_OTHERS, ASSUMED = "pilot", "the pilot's other models", "assumed"


@dataclass(frozen=True, slots=True)
class Expense:
    """What the open questions of one model take. None where nothing says. ``basis``: the pilot, its other models, or assumed."""

    model: str
    questions: int
    tokens_in: float | None
    tokens_out: float | None
    seconds: float | None
    money: float | None
    currency: str
    basis: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """``expenses`` by model; ``resolutions`` and what they suppose (``alike``) by task; ``basis``: where that comes from;
    ``bounds``: what the study calls fragile and robust.

    A task whose cases cannot tell (one class, one patient) has the resolution None.
    """

    expenses: tuple[Expense, ...]
    resolutions: Mapping[str, Resolution | None]
    alike: Mapping[str, Alike] = field(default_factory=dict)
    basis: str = ASSUMED
    workers: int = 1
    bounds: Thresholds = field(default_factory=Thresholds)


def render_outlook(outlook: Outlook) -> str:
    """Two tables: what it takes, and what it can show."""
    parts: list[Any] = [*_expenses(outlook), "", *_resolutions(outlook)]
    return render(*(Text(p) if isinstance(p, str) else p for p in parts))


def _expenses(outlook: Outlook) -> list[Any]:
    numbers = ("to ask", "tokens in", "tokens out", "time", "money")
    table = plain_table("model", *numbers, "from", right=numbers)
    for e in outlook.expenses:
        time = words.NOTHING if e.seconds is None else words.duration(e.seconds / outlook.workers)
        money = words.NOTHING if e.money is None else f"{e.money:,.2f} {words.line(e.currency)}"
        cells = (f"{e.questions:,}", _many(e.tokens_in), _many(e.tokens_out), time, money, e.basis)
        table.add_row(Text(words.line(e.model)), *(Text(c) for c in cells))
    notes = []
    if any(e.seconds is None for e in outlook.expenses):
        notes.append("Time is not known before a pilot: `palpate plan STUDY --pilot RUN` takes it from a small run.")
    if {e.money is None for e in outlook.expenses} == {True, False}:
        notes.append("No price is given for some models: [prices.MODEL] input = …, output = … (per million tokens).")
    return [table, *notes]


def _many(count: float | None) -> str:
    """``12,300``, ``1.2 M``."""
    if count is None:
        return words.NOTHING
    return f"{count / 1e6:,.1f} M" if count >= 1e6 else f"{count:,.0f}"


ROWS: Sequence[tuple[str, Callable[[Resolution], str]]] = (
    ("images (patients or slides)", lambda r: f"{r.images:,} ({r.groups:,})"),
    ("wordings of the question", lambda r: str(r.prompts)),
    ("worth so many independent images", lambda r: f"{r.worth:,.0f}"),
    ("smallest difference of two models", lambda r: words.in_points(r.difference)),
    ("  images for 5 points", lambda r: f"{r.images_for_5_points:,}"),
    ("smallest spread over wordings shown", lambda r: _spread(r.spread_seen)),
    ("  called “fragile” if truly at least", lambda r: _spread(r.spread_fragile)),
    ("  called “robust” if truly 0, in", lambda r: _studies(r.robust_power)),
    ("guessing called “at chance” ±10, in", lambda r: _studies(r.chance_10)),
    ("  ±5, in", lambda r: _studies(r.chance_5)),
    ("  images for ±5", lambda r: f"{r.images_for_chance_5:,}"),
    ("images to show that a model knows nothing", lambda r: f"{r.images_for_knowledge:,}"),
    ("standard error of accuracy, other wordings too", lambda r: words.in_points(r.error)),
    (
        "  twice the images, or twice the wordings",
        lambda r: f"{words.points(r.error_more_images)} or {words.points(r.error_more_prompts)}",
    ),
)


def _studies(share: float | None) -> str:
    return words.NOTHING if share is None else words.percent(share)


def how_to_read(bounds: Thresholds) -> str:
    """What the table's numbers mean: how often a study says what is true, and what it calls fragile and robust."""
    fragile, robust = (f"{100 * bound:.3g} points" for bound in (bounds.fragile, bounds.robust))
    return (
        "How to read it: four of five such studies (80 %) would show a difference or spread of the size given, fewer a "
        "smaller one. A percentage is the share of such studies that would say so where it is true; the others would say "
        "“undetermined”. The spread over wordings is how far accuracy moves with the wording of the question (standard "
        "deviation, sampling noise removed): "
        f"“fragile” where its whole interval lies above {fragile}, “robust” where it lies below {robust} ([verdicts] in the study)."
    )


def _spread(value: float | None) -> str:
    return words.NOTHING if value is None else words.in_points(value)


def _resolutions(outlook: Outlook) -> list[Any]:
    tasks = list(outlook.resolutions)
    table = plain_table("what it can show", *tasks, right=tasks)
    known = {name: r for name, r in outlook.resolutions.items() if r is not None}
    for name, value in ROWS:
        table.add_row(name, *(Text(value(known[t]) if t in known else words.NOTHING) for t in tasks))
    notes = [how_to_read(outlook.bounds)] if known else []
    notes += [f"{words.line(t)}: nothing can be told with one class or one patient." for t in tasks if t not in known]
    notes += [f"{words.line(t)}: {advice(r)}" for t, r in known.items()]
    groups: dict[Alike, list[str]] = {}
    for task, alike in outlook.alike.items():
        groups.setdefault(alike, []).append(task)
    supposed = []
    for alike, named in groups.items():
        which = f" to {', '.join(named)}" if len(groups) > 1 else ""
        supposed.append(f"Supposed of the answers{which} ({outlook.basis}): {_alike(alike)}.")
    return [table, *notes, *supposed]


def advice(r: Resolution) -> str:
    """What to raise, images or wordings, and that it does not matter where it hardly does (a decision study)."""
    images, prompts = r.error_more_images, r.error_more_prompts
    if min(images, prompts) > 0.9 * r.error:
        return "more of either gains little."
    if abs(images - prompts) < 0.05 * r.error:
        return "more images and more wordings gain alike."
    return "more images gain more than more wordings." if images < prompts else "more wordings gain more than more images."


def _alike(a: Alike) -> str:
    return (
        f"right {words.percent(a.accuracy)}; one image's answers agree over wordings {a.agreement:.2f}, "
        f"one patient's over images {a.icc:.2f}; two models differ in {words.percent(a.discordance)} of the trials "
        f"(over wordings {a.agreement_of_difference:.2f}, over images {a.icc_of_difference:.2f}); "
        f"spread over wordings {words.in_points(a.spread)}"
    )
