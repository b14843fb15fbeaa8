"""Which model is ahead of which: every two models of a task, in words, whatever the open answers would have been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from palpate.nouns import Estimate
from palpate.report import words
from palpate.report.view import ReportView

ABOUT = (
    "Every two models that were asked the same. In a lead, points of balanced accuracy, an answer left open counts half, and the "
    "interval holds whatever those answers would have been: all right, or all wrong. So “ahead” is said less often than “better” "
    "under tuning, where what is left open counts as wrong, as it does in the accuracies; their difference, as they are written, "
    "stands beside it. A "
    "verdict holds for all pairs of its task at once (Holm's correction). The last column is the smallest lead, of two such models "
    "alone, that such images would show in four samples of five: below it “not ranked” says little."
)
HEADS = ("model", "over", "verdict", "lead, open answers half right", "open answers wrong", "would be shown from")
TURNED = {"ahead": "behind", "behind": "ahead"}


@dataclass(frozen=True, slots=True)
class Lead:
    """Two models of a task, the one that leads first: verdict, lead with its interval, the difference with every open answer wrong,
    the smallest lead that these images would show; and why the verdict claims less than the interval."""

    first: str
    over: str
    verdict: str
    lead: str
    between: str
    wrong: str
    least: str
    why: str = ""


def leads(view: ReportView) -> list[tuple[str, list[Lead]]]:
    """Task → its pairs on the main question and the images as they are, the largest lead first; only tasks that have pairs."""
    estimates = words.unperturbed(view.estimates)
    found = []
    for task in view.tasks:
        cell = next(iter(words.cells(view, task.name)), "")
        pairs = words.select(estimates, "ba_lead", keys=("model", "over", "task", "cell"), task=task.name, cell=cell)
        measured = sorted((e for e in pairs if e.value is not None), key=lambda e: -abs(e.value or 0.0))
        if measured:
            found.append((task.name, [_lead(e if (e.value or 0.0) >= 0 else turned(e), estimates) for e in measured]))
    return found


def _lead(e: Estimate, estimates: Sequence[Estimate]) -> Lead:
    return Lead(
        first=words.line(e.by["model"]),
        over=words.line(e.by["over"]),
        verdict=e.verdict or "no verdict",
        lead=words.in_points(e.value, signed=True),
        between=words.points_interval(e, signed=True),
        wrong=words.in_points(as_shown(estimates, e), signed=True),
        least=least(e),
        why=words.line(e.reason or ""),
    )


def least(e: Estimate) -> str:
    """The smallest lead of these two that would be shown: ``9 points``."""
    return words.NOTHING if e.mde is None else words.in_points(e.mde, signed=True).lstrip("+")


def turned(e: Estimate) -> Estimate:
    """The same seen from the other model."""
    by = {**e.by, "model": e.by["over"], "over": e.by["model"]}
    value, low, high = (None if x is None else -x for x in (e.value, e.high, e.low))
    return replace(e, by=by, value=value, low=low, high=high, verdict=TURNED.get(e.verdict or "", e.verdict))


def lead_over(estimates: Sequence[Estimate], best: str, model: str, task: str, cell: str) -> Estimate | None:
    """What is known of the lead of ``best`` over ``model``."""
    for first, over in ((best, model), (model, best)):
        e = words.one(estimates, "ba_lead", model=first, over=over, task=task, cell=cell)
        if e is not None and e.value is not None:
            return e if first == best else turned(e)
    return None


def with_open_wrong(estimates: Sequence[Estimate], e: Estimate) -> float | None:
    """The difference of the two accuracies, in which what is left open counts as wrong."""
    found = _accuracies(estimates, e)
    return None if found is None else found[0] - found[1]


def as_shown(estimates: Sequence[Estimate], e: Estimate) -> float | None:
    """The same between the accuracies as they are written, to two decimals: what a reader finds who subtracts them."""
    found = _accuracies(estimates, e)
    return None if found is None else round(found[0], 2) - round(found[1], 2)


def _accuracies(estimates: Sequence[Estimate], e: Estimate) -> tuple[float, float] | None:
    own = [words.one(estimates, "ba_all", model=e.by[m], task=e.by["task"], cell=e.by["cell"]) for m in ("model", "over")]
    values = [a.value for a in own if a is not None and a.value is not None]
    return (values[0], values[1]) if len(values) == 2 else None
