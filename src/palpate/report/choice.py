"""Which model is best supported for which task, and why not the others: what the verdicts of a task add up to, in words.

A model is *sound* on a task where it is shown to be better than chance and robust to the wording, is not shown to refuse
selectively, and, where that was asked, uses the image. The sound one of the highest accuracy is the best supported. Another is "not
told apart" from it unless ``ba_lead`` says it is behind: its verdicts hold over all pairs of models (Holm), so looking for the best
costs nothing, and whatever the open answers would have been, so that leaving questions open wins and loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from palpate.report import words
from palpate.report.findings import Finding
from palpate.report.leads import as_shown, lead_over, least, with_open_wrong
from palpate.report.view import ReportView, TaskCard

CAUTION = (
    "On images and wordings like these, against this reference: where a model is best supported it may still not be good enough to "
    "rely on. Accuracy is balanced (0.50 is guessing), with its interval; points are percentage points of it. Read how far its "
    "accuracy lies below what is possible, and what is wrong among its surest answers. Every accuracy here, and every difference "
    "of two as they are written, counts an answer left open as wrong. “Behind” is said only where it holds whatever those answers "
    "would have been: so a model may lie many points lower and not be shown to be behind."
)
AGAINST = {1: "{f.verdict} ({f.number})", 2: "{f.verdict} (the wording moves it by {f.short})"}
NOT_SOUND = {1: "not shown to be better than chance", 2: "not shown to be robust to the wording"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One task: the best supported model ("" where none is sound), why, who is not told apart from it, what is against the rest."""

    task: str
    best: str
    why: str
    alike: tuple[str, ...]
    against: tuple[tuple[str, str], ...]


def choices(view: ReportView, found: Sequence[Finding]) -> list[Choice]:
    """One for each task on which anything was found, in the order of the study."""
    index = {(f.task, f.model, f.question): f for f in found if not f.base}
    measured = [t for t in view.tasks if any((t.name, m.name, 1) in index for m in view.models)]
    return [_choice(view, task, {(m, q): f for (t, m, q), f in index.items() if t == task.name}) for task in measured]


Own = Mapping[tuple[str, int], Finding]


def _choice(view: ReportView, task: TaskCard, own: Own) -> Choice:
    accuracy = {m.name: _accuracy(view, task, m.name) for m in view.models}
    reasons = {m.name: _reasons(own, m.name) for m in view.models}
    sound = sorted((m for m, why in reasons.items() if not why), key=lambda m: -(accuracy[m] or 0.0))
    if not sound:
        nearest = max(accuracy, key=lambda m: accuracy[m] or 0.0)
        why = "none is shown to be both better than chance and steady"
        why += (
            f"; the highest accuracy is that of {words.line(nearest)}, {_number(own, nearest)}"
            if accuracy[nearest] is not None
            else ""
        )
        return Choice(task.name, "", why, (), tuple((m, ", ".join(reasons[m])) for m in accuracy))
    best = sound[0]
    apart = {m: _apart(view, task, best, m) for m in accuracy if m != best}
    alike = tuple(_alike(own, m, apart[m][2]) for m in sound[1:] if not apart[m][0])
    rest = [m for m in accuracy if m != best and (reasons[m] or apart[m][0])]
    against = tuple((m, ", ".join([*filter(None, [apart[m][1]]), *reasons[m]])) for m in rest)
    return Choice(task.name, best, _praise(own, best), alike, against)


def _accuracy(view: ReportView, task: TaskCard, model: str) -> float | None:
    cell = next(iter(words.cells(view, task.name)), "")
    e = words.one(words.unperturbed(view.estimates), "ba_all", model=model, task=task.name, cell=cell)
    return None if e is None else e.value


def _number(own: Own, model: str) -> str:
    f = own[model, 1]
    return f"{f.number} ({f.between})" if f.between else f.number


def _alike(own: Own, model: str, smallest: str) -> str:
    seen = f", a lead under {smallest} may go unseen" if smallest else ""
    return f"{words.line(model)}, {_number(own, model)}{seen}"


def _praise(own: Own, model: str) -> str:
    """The numbers of a sound model: accuracy, spread, what it leaves open."""
    accuracy, wording, silent = own[model, 1], own[model, 2], own.get((model, 3))
    possible = accuracy.unit.removeprefix(" of ")
    parts = [f"accuracy {_number(own, model)}{f' where {possible} is the best possible' if possible else ''}"]
    parts.append(f"the wording moves it by {wording.short}")
    if silent is not None and silent.number != words.NOTHING:
        parts.append("leaves nothing open" if silent.verdict == "none seen" else f"leaves {silent.number} open")
    return "; ".join(parts)


def _reasons(own: Own, model: str) -> list[str]:
    """Why a model is not sound on a task; empty where it is."""
    found = []
    for question in (1, 2, 3, 5):
        f = own.get((model, question))
        if f is None or f.verdict == words.NOT_MEASURED:
            found += [f"{words.NOT_MEASURED}: {f.why if f else 'no estimate'}"] if question in NOT_SOUND else []
        elif question in NOT_SOUND and f.symbol != "✓":
            found.append(AGAINST[question].format(f=f) if f.symbol == "✗" else NOT_SOUND[question])
        elif f.symbol == "✗":
            found.append(f"{f.verdict} refusals ({f.short})" if question == 3 else f.verdict)
    return list(dict.fromkeys(found))


def _apart(view: ReportView, task: TaskCard, best: str, model: str) -> tuple[bool, str, str]:
    """(whether the model is shown to be behind the best, by how much or why that is not shown, the smallest lead that would be)."""
    cell = next(iter(words.cells(view, task.name)), "")
    estimates = words.unperturbed(view.estimates)
    e = lead_over(estimates, best, model, task.name, cell)
    if e is None or e.value is None:
        return False, "", ""
    # One scale, that of the accuracies: a lead counts open answers half, and stands with its interval in the table of leads.
    wrong, shown = with_open_wrong(estimates, e), as_shown(estimates, e)
    apart = words.in_points(shown, signed=True).lstrip("+")
    own = f"(accuracy {words.score(_accuracy(view, task, model))})"
    if e.verdict == "ahead":
        by = "" if not shown else f" by {apart}"  # written alike, two may differ by less than a point
        return True, "behind" if shown is None else f"behind{by} {own}", ""
    said = ""
    if wrong is not None and wrong >= 0.01 and (e.reason or abs(wrong - e.value) >= 0.005):
        why = "after Holm's correction over all pairs" if e.reason else "were its open answers right"
        said = f"{apart} lower {own}, but not shown to be behind {why}"
    return False, said, least(e) if e.mde is not None else ""


def told(choice: Choice) -> str:
    """The choice in one sentence, for a page without tables."""
    if not choice.best:
        return f"{choice.why[0].upper()}{choice.why[1:]}."
    alike = f" Not told apart from it: {'; '.join(choice.alike)}." if choice.alike else ""
    return f"{words.line(choice.best)}: {choice.why}.{alike}"
