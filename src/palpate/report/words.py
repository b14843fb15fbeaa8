"""Numbers and verdicts in words: the meaning that terminal, Markdown and HTML share. Knows no markup and no colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from palpate.nouns import Estimate
from palpate.report.view import ReportView, TaskCard

QUESTIONS = {
    1: "Better than chance?",
    2: "Depends on the wording?",
    3: "Refuses?",
    4: "Did tuning help?",
    5: "Looks at the image?",
    6: "Knows more than it says?",
    7: "Knows when to abstain?",
}

SYMBOLS = {
    "above chance": "✓",
    "at chance": "≈",
    "below chance": "✗",
    "fragile": "✗",
    "robust": "✓",
    "selective": "✗",
    "better": "✓",
    "worse": "✗",
    "equivalent": "≈",
    "undetermined": "?",
}
UNKNOWN = "?"
NOT_EXAMINED = "not examined in this study"


@dataclass(frozen=True, slots=True)
class Finding:
    """One model, one question, one task: a symbol, the verdict's word, and a sentence with the numbers behind it."""

    model: str
    question: int
    task: str
    symbol: str
    verdict: str
    sentence: str


def score(value: float | None) -> str:
    """A score between 0 and 1 to two decimals; undefined is an en dash."""
    return "–" if value is None else f"{value:.2f}"


def points(value: float | None, *, signed: bool = False) -> str:
    """A difference in percentage points, without false precision: a decimal only below one point."""
    if value is None:
        return "–"
    number = 100 * value
    if abs(number) < 0.05:
        return "0"
    text = f"{number:+.1f}" if signed else f"{number:.1f}"
    whole = f"{number:+.0f}" if signed else f"{number:.0f}"
    return text if abs(number) < 1 else whole


def percent(value: float | None) -> str:
    """A rate in per cent; rates that are not zero are never shown as 0 %."""
    if value is None:
        return "–"
    number = 100 * value
    return "0 %" if number == 0 else "< 0.1 %" if number < 0.1 else f"{number:.1f} %" if number < 10 else f"{number:.0f} %"


def interval(e: Estimate, show: str = "score") -> str:
    """``0.85–0.94``; empty where there is none."""
    if e.low is None or e.high is None:
        return ""
    if show == "spread":
        return f"{points(e.low)} to {points(e.high)}"
    if show == "points":
        return f"{points(e.low, signed=True)} to {points(e.high, signed=True)}"
    if show == "percent":
        return f"{percent(e.low)} to {percent(e.high)}"
    return f"{e.low:.2f}–{e.high:.2f}"


def select(estimates: Iterable[Estimate], measure: str, *, keys: Sequence[str] | None = None, **by: str) -> list[Estimate]:
    """The estimates of one name that match ``by``, and are grouped by exactly ``keys`` where given."""
    wanted = None if keys is None else set(keys)
    return [
        e
        for e in estimates
        if e.measure == measure and all(e.by.get(k) == v for k, v in by.items()) and (wanted is None or set(e.by) == wanted)
    ]


def one(estimates: Iterable[Estimate], measure: str, **by: str) -> Estimate | None:
    """The one estimate grouped by exactly these keys, None where there is none."""
    found = select(estimates, measure, keys=tuple(by), **by)
    return found[0] if found else None


def cells(view: ReportView, task: str) -> list[str]:
    """The intent cells of a task's closed prompts, the target question first."""
    found = dict.fromkeys(p.cell for p in view.prompts.get(task, ()) if p.form.closed)
    return sorted(found, key=lambda c: c != "target")


def findings(view: ReportView) -> list[Finding]:
    """Every model × question × task that was examined, about the task's main (target) question."""
    found: list[Finding] = []
    for task in view.tasks:
        names = cells(view, task.name)
        if not names:
            continue
        for model in view.models:
            found.append(_accuracy(view, task, model.name, names[0]))
            found.append(_wording(view, task, model.name, names[0]))
            found.append(_refusals(view, task, model.name, names[0]))
        found += [_pair(task, e) for e in select(view.estimates, "delta_ba_all", task=task.name, cell=names[0])]
    return found


def _symbol(verdict: str | None) -> str:
    return SYMBOLS.get(verdict or "", UNKNOWN)


def _undefined(model: str, question: int, task: TaskCard, e: Estimate | None) -> Finding:
    reason = e.reason if e is not None and e.reason else "no estimate"
    return Finding(model, question, task.name, "–", "not measured", f"Not measured: {reason}.")


def _accuracy(view: ReportView, task: TaskCard, model: str, cell: str) -> Finding:
    by = {"model": model, "task": task.name, "cell": cell}
    all_, answered = one(view.estimates, "ba_all", **by), one(view.estimates, "ba_answered", **by)
    if all_ is None or all_.value is None:
        return _undefined(model, 1, task, all_)
    best = f", of a possible {task.best_accuracy:.3g}" if task.best_accuracy else ""
    also = ""
    if answered is not None and answered.value is not None and abs(answered.value - all_.value) >= 0.005:
        also = f"; {score(answered.value)} ({interval(answered)}) where it answers"
    sentence = (
        f"Balanced accuracy {score(all_.value)} ({interval(all_)}){best}{also}; chance is 0.50: {all_.verdict or 'no verdict'}."
    )
    return Finding(model, 1, task.name, _symbol(all_.verdict), all_.verdict or "no verdict", sentence)


def _wording(view: ReportView, task: TaskCard, model: str, cell: str) -> Finding:
    by = {"model": model, "task": task.name, "cell": cell}
    spread, naive = one(view.estimates, "prompt_spread", **by), one(view.estimates, "prompt_spread_naive", **by)
    null, flips = one(view.estimates, "prompt_spread_null", **by), one(view.estimates, "flip_rate", **by)
    if spread is None or spread.value is None:
        return _undefined(model, 2, task, spread)
    count = sum(p.cell == cell and p.form.closed for p in view.prompts[task.name])
    sentence = f"Over {count} wordings its accuracy moves by {points(spread.value)} points (standard deviation"
    sentence += f", {interval(spread, 'spread')})" if spread.low is not None else ")"
    sentence += " beyond what sampling of images explains"
    if naive is not None and null is not None and naive.value is not None and null.value is not None:
        sentence += f"; uncorrected {points(naive.value)}, of which wording noise alone gives {points(null.value)}"
    if flips is not None and flips.value is not None:
        sentence += f". Two wordings disagree on {percent(flips.value)} of images"
    return Finding(model, 2, task.name, _symbol(spread.verdict), spread.verdict or "no verdict", f"{sentence}.")


def _refusals(view: ReportView, task: TaskCard, model: str, cell: str) -> Finding:
    by = {"model": model, "task": task.name, "cell": cell}
    refusal, silent = one(view.estimates, "refusal_rate", **by), one(view.estimates, "no_answer_rate", **by)
    difference = one(view.estimates, "refusal_difference", **by)
    if refusal is None or refusal.value is None:
        return _undefined(model, 3, task, refusal)
    sentence = f"Refuses {percent(refusal.value)} of questions ({interval(refusal, 'percent')})"
    if silent is not None and silent.value is not None and silent.value > refusal.value:
        sentence += f"; {percent(silent.value)} end without a definite answer"
    if difference is not None and difference.value is not None and refusal.value > 0:
        sentence += (
            f"; {points(difference.value, signed=True)} points more often where the condition is present ({difference.verdict})"
        )
    quiet = refusal.high is not None and refusal.high <= 0.02
    selective = difference is not None and difference.verdict == "selective"
    symbol, word = ("✓", "rarely") if quiet else ("✗", "selectively") if selective else ("≈", percent(refusal.value))
    return Finding(model, 3, task.name, symbol, word, f"{sentence}.")


def _pair(task: TaskCard, e: Estimate) -> Finding:
    tuned, base = e.by["tuned"], e.by["base"]
    if e.value is None:
        return _undefined(tuned, 4, task, e)
    sentence = f"Against {base}: {points(e.value, signed=True)} points of balanced accuracy ({interval(e, 'points')}): {e.verdict}."
    return Finding(tuned, 4, task.name, _symbol(e.verdict), e.verdict or "no verdict", sentence)


def in_three_lines(view: ReportView) -> list[str]:
    """What was examined, in three sentences."""
    prompts = {task.name: sum(p.form.closed for p in view.prompts.get(task.name, ())) for task in view.tasks}
    images = sum(task.n_cases for task in view.tasks)
    groups = sum(task.n_groups for task in view.tasks)
    wordings = "/".join(str(n) for n in dict.fromkeys(prompts.values())) or "0"
    c = view.counts
    answered = c.ok + c.truncated
    ended = f"{answered:,} of {c.trials:,} questions were answered"
    apart = [
        f"{n:,} {word}"
        for n, word in ((c.blocked, "blocked by the provider"), (c.n_errors, "ended as errors"), (c.unasked, "not asked yet"))
        if n
    ]
    models, tasks = _count(len(view.models), "model"), _count(len(view.tasks), "task")
    return [
        f"{models}, {tasks}, {images:,} images of {groups:,} patients or slides.",
        f"Every image was shown with {wordings} closed wordings; intervals are {level(view)} and count patients, not images.",
        ended + (f"; {', '.join(apart)}, all counted apart." if apart else "; none ended as an error."),
    ]


def level(view: ReportView) -> str:
    """The confidence level as per cent."""
    levels = {e.level for e in view.estimates}
    return f"{100 * max(levels):.3g} %" if levels else "95 %"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
