"""Numbers and names in words: the meaning that terminal, Markdown and HTML share. Knows no markup and no colour."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from palpate.nouns import Estimate, Form, Outcome
from palpate.report.view import ExampleAnswer, ReportView
from palpate.spending import Cost, Sending

NOTHING = "–"
MINUS = "−"
NOT_MEASURED = "not measured"
NOT_EXAMINED = "not examined in this study"

SYMBOLS = {
    "above chance": "✓",
    "at chance": "≈",
    "below chance": "✗",
    "robust": "✓",
    "fragile": "✗",
    "better": "✓",
    "equivalent": "≈",
    "equal": "≈",
    "worse": "✗",
    "undetermined": "?",
    "uses the image": "✓",
    "looks but blind": "✗",
    "sees, but says the opposite": "✗",
    "ignores the image": "✗",
    "nothing lost": "✓",
    "threshold problem": "✗",
    "knowledge problem": "✗",
    "usable": "✓",
    "not shown to be usable": "?",
    "misleading": "✗",
    "carried by the description": "✗",
    "gain is the leak": "≈",
    "another reader's skill": "≈",
    "nothing recovered": "≈",
}
UNKNOWN = "?"
TONES = {"✓": "good", "✗": "bad", "≈": "even", "?": "open", NOTHING: "open"}
HOW_TO_READ = "✓ as one would wish · ✗ not as one would wish · ≈ neither · ? these images cannot tell · – not measured"

FORMS = {
    Form.YES_NO: "yes or no",
    Form.AB: "A or B, one order",
    Form.BA: "A or B, other order",
    Form.OPEN: "open",
    Form.DESCRIBE: "describe",
}


def plain(text: object) -> str:
    """Text from outside, made fit to show: no control or direction-turning character, no half of a character.

    Newlines and tabs stay. Every other control, formatting override, surrogate or unassigned code point becomes U+FFFD, so
    that it can neither steer a terminal nor reorder what a reader sees, and shows that something was there. Joiners stay:
    scripts and emoji need them.
    """
    given = str(text)
    if given.isprintable():  # as nearly every text is: then it has none of them
        return given
    return "".join(
        c if c in "\n\t\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Cn") else "\ufffd" for c in given
    )


def line(text: object) -> str:
    """The same in one line."""
    return " ".join(plain(text).split())


def aside(e: Estimate, before: str = " ") -> str:
    """Why the verdict claims less than the interval, as a sentence to put after it; empty where it does not."""
    if e.value is None or not e.reason:
        return ""
    said = line(e.reason)
    return f"{before}{said if before.strip() else said[:1].upper() + said[1:]}."


# ---------------------------------------------------------------- numbers


def score(value: float | None) -> str:
    """A score between 0 and 1 to two decimals, as the interval deserves; undefined is an en dash."""
    return NOTHING if value is None else f"{value:.2f}".replace("-", MINUS)


def possible(value: float | None) -> str:
    """The best possible accuracy, which is known exactly: three decimals, no trailing zeros."""
    return "unknown" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def number(value: float | None) -> str:
    """A number for a table: three decimals."""
    return NOTHING if value is None else f"{value:.3f}".replace("-", MINUS)


def signed(value: float) -> str:
    """A margin: two decimals and its sign."""
    return f"{value:+.2f}".replace("-", MINUS)


def points(value: float | None, *, signed: bool = False) -> str:
    """Percentage points without false precision: whole points; a decimal for small ones (differences below 1, spreads below 3)."""
    if value is None:
        return NOTHING
    size = 100 * value
    text = f"{size:+.1f}" if abs(size) < (0.95 if signed else 2.95) else f"{size:+.0f}"
    if float(text) == 0:
        return "0"
    return (text if signed else text.lstrip("+")).replace("-", MINUS)


def in_points(value: float | None, *, signed: bool = False) -> str:
    """``6 points``, ``1 point``, ``+12 points``."""
    text = points(value, signed=signed)
    return f"{text} {'point' if text.strip('+' + MINUS) == '1' else 'points'}"


def percent(value: float | None) -> str:
    """A rate in per cent. One that is not zero is never shown as 0 %, one that is not all never as 100 %."""
    return NOTHING if value is None else f"{_percent(value)} %"


def _percent(value: float) -> str:
    size = 100 * value
    if 0 < size < 0.1:
        return "< 0.1"
    if 99.9 < size < 100:
        return "> 99.9"
    return f"{size:.0f}" if size in (0, 100) or 10 <= size < 99 else f"{size:.1f}"


def interval(e: Estimate) -> str:
    """``0.85–0.94``, a score's interval; empty where there is none."""
    return "" if e.low is None or e.high is None else f"{score(e.low)}–{score(e.high)}"


def points_interval(e: Estimate, *, signed: bool = False) -> str:
    """``4–8`` points or, for a difference, ``8 to 16`` and ``−3 to +8``; empty where there is none."""
    if e.low is None or e.high is None:
        return ""
    low, high = (points(x, signed=signed) for x in (e.low, e.high))
    if signed:
        return f"{low} to {high}" if e.low < 0 else f"{low.lstrip('+')} to {high.lstrip('+')}"
    return f"{low}–{high}"


def percent_interval(e: Estimate) -> str:
    """``4.1–6.1 %`` or, up to nearly all, ``23 to > 99.9 %``; empty where there is none."""
    if e.low is None or e.high is None:
        return ""
    low, high = _percent(e.low), _percent(e.high)
    return f"{low} %" if low == high else f"{low} to {high} %" if high.startswith(">") else f"{low}–{high} %"


def bounds(e: Estimate) -> str:
    """An interval for a table: three decimals."""
    if e.low is None or e.high is None:
        return ""
    return f"{number(e.low)}–{number(e.high)}" if e.low >= 0 else f"{number(e.low)} to {number(e.high)}"


def ruled(e: Estimate) -> str:
    """Its verdict and, where there is one, the reason beside it."""
    return "; ".join(filter(None, (e.verdict, e.reason)))


def level(view: ReportView) -> str:
    """The confidence level as per cent."""
    levels = {e.level for e in view.estimates}
    return f"{100 * max(levels):.3g} %" if levels else "95 %"


def of(e: Estimate) -> str:
    """What an estimate is of: ``phantom-llava · brain_tumor · target · ab.none``."""
    return " · ".join(line(v) for v in e.by.values())


def count(n: int, noun: str, plural: str = "") -> str:
    """``1 image``, ``1,200 images``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def spent(cost: Cost) -> str:
    """What asking one model has come to."""
    money = "" if cost.money is None else f"; {_money(cost)}"
    return f"{cost.questions:,} answers, {cost.tokens_in:,} tokens in, {cost.tokens_out:,} out{money}"


def sending(planned: Sending) -> str:
    """Where images would go, how many, and what it may cost: said before anything is sent."""
    cost = planned.cost
    money = "at a price the study does not name" if cost.money is None else f"at most about {_money(cost)}"
    tokens = f"{cost.questions:,} questions, about {cost.tokens_in:,} tokens in, at most {cost.tokens_out:,} out"
    what = f"{count(planned.images, 'image')} will leave" if planned.images else "the texts of answers will leave"
    to = f"to be {'shown to' if planned.images else 'read by'} {line(cost.model)}"
    if planned.remote:
        key = f"; what {' and '.join(map(line, planned.secrets))} holds is sent along" if planned.secrets else ""
        return f"{what} this machine for {line(planned.host)}, {to}: {tokens}, {money}{key}"
    at = f"{count(planned.images, 'image')} for {line(cost.model)}, served on this machine: {tokens}"
    return at if cost.money is None else f"{at}, {money}"


def _money(cost: Cost) -> str:
    return amount(cost.money or 0.0, cost.currency)


def amount(money: float, currency: str) -> str:
    """``1.23 USD``; of less than a cent two digits that count."""
    return f"{money:,.2f} {line(currency)}" if money >= 0.01 or money == 0 else f"{money:.2g} {line(currency)}"


def duration(seconds: float) -> str:
    """``8 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


# ---------------------------------------------------------------- looking up


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


def unperturbed(estimates: Iterable[Estimate]) -> list[Estimate]:
    """Those of the images as they are."""
    return [e for e in estimates if e.by.get("perturbation", "none") == "none"]


def cells(view: ReportView, task: str) -> list[str]:
    """The intent cells of a task's closed prompts, the target question first: it is the one verdicts are about."""
    found = dict.fromkeys(p.cell for p in view.prompts.get(task, ()) if p.form.closed)
    return sorted(found, key=lambda c: c != "target")


def labels(view: ReportView) -> dict[str, str]:
    """Task → the shortest name that is its own: its condition, else its title, else its name."""
    found = {}
    for task in view.tasks:
        options = [("condition", task.condition), ("title", task.title)]
        mine = (line(text) for field, text in options if sum(getattr(t, field) == text for t in view.tasks) == 1 and text)
        found[task.name] = next(mine, line(task.name))
    return found


def titles(view: ReportView) -> dict[str, str]:
    """Task → its title."""
    return {task.name: line(task.title) or line(task.name) for task in view.tasks}


# ---------------------------------------------------------------- what was examined


def in_three_lines(view: ReportView) -> list[str]:
    """What was examined, in three sentences."""
    images, groups = sum(t.n_cases for t in view.tasks), sum(t.n_groups for t in view.tasks)
    wordings = sorted({sum(p.form.closed for p in view.prompts.get(t.name, ())) for t in view.tasks}) or [0]
    ways = str(wordings[0]) if len(wordings) == 1 else f"{wordings[0]} to {wordings[-1]}"
    models, tasks = count(len(view.models), "model"), count(len(view.tasks), "task")
    of_groups = f" from {count(groups, 'patient or slide', 'patients or slides')}" if groups < images else ""
    return [
        f"{models} on {tasks}: {count(images, 'image')}{of_groups}, each asked about in {ways} closed wordings.{_drawn(view)}",
        f"Intervals are {level(view)}; they count patients or slides, not images or wordings.",
        what_became(view),
    ]


def _drawn(view: ReportView) -> str:
    """That images are phantoms, where the best that any reader can do on all of them is known: only of drawn images it is."""
    if not view.tasks or any(task.best_accuracy is None for task in view.tasks):
        return ""
    return (
        " The images are phantoms, drawn by a program: no patient's. What the best reader reaches on such images in the long run "
        "is known; on these few a model may lie above it."
    )


def what_became(view: ReportView) -> str:
    """What became of the questions, in one sentence; errors are never among the answers."""
    c = view.counts
    apart = [
        f"{n:,} {word}"
        for n, word in ((c.blocked, "blocked by the provider"), (c.n_errors, "ended as errors"), (c.unasked, "not asked yet"))
        if n
    ]
    cut = f" ({c.truncated:,} cut off at the length limit)" if c.truncated else ""
    ended = f"{c.ok + c.truncated:,} of {c.trials:,} questions got an answer{cut}"
    return f"{ended}; {', '.join(apart)}, counted apart." if apart else f"{ended}; none ended as an error."


def left_out(view: ReportView) -> str:
    """How many images could not be used; empty where all could."""
    lost = [f"{task.n_left_out:,} of {titles(view)[task.name]}" for task in view.tasks if task.n_left_out]
    return f"Images left out because they could not be used: {', '.join(lost)}." if lost else ""


def whole_words(text: str, span: tuple[int, int] | None) -> tuple[int, int]:
    """A span of the text, within it, and widened so that no word is marked in part."""
    low, high = (max(0, min(at, len(text))) for at in span or (0, 0))
    if low < high:
        while low and text[low - 1].isalnum() and text[low].isalnum():
            low -= 1
        while high < len(text) and text[high - 1].isalnum() and text[high].isalnum():
            high += 1
    return low, high


def judged(answer: ExampleAnswer, label: int) -> tuple[str, str]:
    """(symbol, word) of an example's answer: right, wrong, or what else it was read as."""
    if answer.outcome is None:
        return NOTHING, "not read"
    if not answer.outcome.answered:
        return UNKNOWN, str(answer.outcome)
    right = (answer.outcome is Outcome.POSITIVE) == bool(label)
    return ("✓", "right") if right else ("✗", "wrong")
