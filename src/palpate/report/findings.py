"""Verdicts in plain sentences: what a clinician reads first, with the numbers behind it. Knows no markup and no colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from palpate.nouns import Estimate
from palpate.report import described, words
from palpate.report.bottleneck import LADDER, bottleneck
from palpate.report.view import ReportView, TaskCard

CHANCE = {
    "above chance": "Better than chance.",
    "at chance": "As good as guessing.",
    "below chance": "Worse than guessing: its answers lean the wrong way.",
    "undetermined": "These images cannot tell it from guessing.",
}
WORDINGS = {
    "fragile": "Fragile: it depends on how one asks.",
    "robust": "Robust.",
    "undetermined": "These images cannot tell whether that matters.",
}
STEADY = {  # what a small spread amounts to where the model is not shown to know: no praise
    "at chance": ("≈", "consistently at chance", "Steady, but at chance however one asks: that is no praise."),
    "below chance": ("✗", "consistently below chance", "Steady, but below chance however one asks."),
    "undetermined": ("?", "steady, perhaps guessing", "Steady, but these images cannot tell it from guessing: that is no praise."),
}
LOOKS = {
    "uses the image": "It uses the image.",
    "looks but blind": "It looks, but does not see the condition.",
    "sees, but says the opposite": "It tells the cases apart, and says the opposite of the reference: check the labels, and which "
    "answer counts as positive.",
    "ignores the image": "It ignores the image.",
    "undetermined": "These images cannot tell whether it uses the image.",
}
KNOWS = {
    "threshold problem": "It knows more than it says: where it draws the line, how it answers or what it refuses costs it.",
    "knowledge problem": "What it lacks is knowledge: no other threshold would help much.",
    "nothing lost": "It says what it knows.",
    "undetermined": "These images cannot tell whether it knows more than it says.",
}
LITTLE = ("≈", "nothing lost", "It says what it knows; these images cannot tell whether that is little.")
"""Where nothing is lost, and what it knows is not shown to be more than what would be a knowledge problem: no praise."""
GUESSED = ("?", "nothing lost, perhaps guessing", "It says what it knows, which these images cannot tell from guessing.")
UNSHOWN = (
    "✗",
    "threshold problem, perhaps guessing",
    "Where it draws the line, how it answers or what it refuses costs it; but at the best threshold, too, these images cannot tell "
    "it from guessing.",
)
"""Where its margin would score more than its answers do, and is not shown to score more than guessing: no hidden knowledge."""
BY_ITSELF = "by itself an effect would be shown, not after Holm's correction"
"""Beside an interval that leaves out no effect, where the verdict, which holds for all tasks at once, does not say so."""
ABSTAINS = {
    "usable": "Its confidence is of use to abstain by.",
    "misleading": "Its confidence misleads: it is surer where it is wrong.",
    "not shown to be usable": "These images do not show that its confidence is of any use.",
}
RELATIONS = {
    "sibling": "The two are siblings, so this is not the effect of tuning alone.",
    "unrelated": "The two are unrelated, so this is not the effect of tuning.",
    "unknown": "How the two are related is unknown.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One model, one question, one task: symbol and verdict, the number with its interval, and a sentence that says it all.

    ``base``: whom the model is compared with, in questions about a pair. ``unit`` follows the number, ``between`` is its interval,
    ``also`` a second number that the verdict rests on where it differs, ``also_between`` that one's interval, ``why`` the reason
    where nothing was measured, ``note`` why the verdict claims less than the interval beside it.
    """

    model: str
    question: int
    task: str
    symbol: str
    verdict: str
    number: str
    sentence: str
    base: str = ""
    unit: str = ""
    between: str = ""
    also: str = ""
    also_between: str = ""
    why: str = ""
    note: str = ""

    @property
    def short(self) -> str:
        """The number with its unit: ``0.90 of 0.975``, ``6 points``, ``2.1 % open``, ``+12 points``."""
        return self.number + self.unit

    @property
    def tone(self) -> str:
        """good, bad, even or open: what a colour may add to the symbol."""
        return words.TONES.get(self.symbol, "open")


@dataclass(frozen=True, slots=True)
class Group:
    """The tasks of one model on which one question has one verdict, each with its number; ``why`` where it was not measured."""

    symbol: str
    verdict: str
    tone: str
    why: str
    tasks: tuple[tuple[str, str], ...]


def findings(view: ReportView) -> list[Finding]:
    """Every model × question × task that was examined, about the task's main (target) question, on the images as they are."""
    estimates = words.unperturbed(view.estimates)
    index = {(e.measure, frozenset(e.by.items())): e for e in reversed(estimates)}
    found: list[Finding] = []
    for task in view.tasks:
        names = words.cells(view, task.name)
        if not names:
            continue
        for model in view.models:
            teller = _Teller(view, task, model.name, names[0], index)
            found += [teller.accuracy(), teller.wording(), teller.refusals()]
            found += filter(None, (teller.image(), teller.knowledge(), teller.confidence()))
        for e in words.select(estimates, "delta_ba_all", task=task.name, cell=names[0]):
            found.append(_pair(view, task, e, index))
    return found


def summary(found: Sequence[Finding], view: ReportView, model: str, question: int) -> list[Group]:
    """One model's verdicts on one question, tasks of one verdict together, in the order of the tasks."""
    labels = words.labels(view)
    mine = [f for f in found if f.model == model and f.question == question]
    bases = {f.base for f in mine}
    groups: dict[tuple[str, str, str, str], list[tuple[str, str]]] = {}
    for f in mine:
        label = labels[f.task] + (f" against {words.line(f.base)}" if len(bases) > 1 else "")
        number = f"{f.short}, {f.also}" if f.also else f.short  # the one the verdict rests on: .52 is not above chance, .63 is
        groups.setdefault((f.symbol, f.verdict, f.tone, f.why), []).append((label, number))
    return [Group(*key, tuple(tasks)) for key, tasks in groups.items()]


def unmeasured(found: Iterable[Finding]) -> list[tuple[str, int]]:
    """(reason, how many verdicts are missing for it), the most frequent first."""
    return Counter(f.why for f in found if f.why).most_common()


def tally(found: Iterable[Finding], question: int) -> str:
    """``above chance in 11 of 16; undetermined in 5``; empty where nothing was examined."""
    mine = [f for f in found if f.question == question]
    counted = Counter(f.verdict for f in mine if f.symbol != words.NOTHING)
    counted += Counter(words.NOT_MEASURED for f in mine if f.symbol == words.NOTHING)
    parts = [f"{verdict} in {n}" for verdict, n in counted.most_common()]
    return "; ".join([f"{parts[0]} of {len(mine)}", *parts[1:]]) if parts else ""


Index = dict[tuple[str, frozenset[tuple[str, str]]], Estimate]


class _Teller:
    """Tells what was found of one model on one task."""

    def __init__(self, view: ReportView, task: TaskCard, model: str, cell: str, index: Index) -> None:
        self.view, self.task, self.model, self.cell, self.index = view, task, model, cell, index
        self.ladder = [e for e in index.values() if e.measure in LADDER and e.by.get("model") == model]
        self.about = words.labels(view)[task.name]
        self.who = words.line(model)

    def get(self, measure: str, **more: str) -> Estimate | None:
        """The estimate of this model, task and cell."""
        by = {"model": self.model, "task": self.task.name, "cell": self.cell, **more}
        return self.index.get((measure, frozenset(by.items())))

    def undefined(self, question: int, e: Estimate | None) -> Finding:
        """What is said where there is no number."""
        why = why_not(e)
        sentence = f"{self.who} on {self.about}: not measured: {why}."
        return Finding(self.model, question, self.task.name, words.NOTHING, words.NOT_MEASURED, words.NOTHING, sentence, why=why)

    def accuracy(self) -> Finding:
        """Q1: how often it is right, of what is possible, against chance."""
        whole, answered = self.get("ba_all"), self.get("ba_answered")
        if whole is None or whole.value is None:
            return self.undefined(1, whole)
        best = self.task.best_accuracy
        of_best = f", of a possible {words.possible(best)}" if best is not None else ""
        also = short = beside = ""
        if answered is not None and answered.value is not None and words.score(answered.value) != words.score(whole.value):
            also = f" Of those it answers, {words.score(answered.value)} ({words.interval(answered)})."
            short, beside = f"answered {words.score(answered.value)}", words.interval(answered)
        said = CHANCE.get(whole.verdict or "", "No verdict.")
        sentence = (
            f"{self.who} answers {words.score(whole.value)} of {self.about} questions right (both classes weighted alike"
            f"{_interval(whole, words.interval(whole))}){of_best}; chance is 0.50.{also} {said}{words.aside(whole)}"
        )
        verdict, unit = whole.verdict or "no verdict", f" of {words.possible(best)}" if best is not None else ""
        symbol, value = words.SYMBOLS.get(verdict, words.UNKNOWN), words.score(whole.value)
        more = {"between": words.interval(whole), "also": short, "also_between": beside, "note": _note(whole)}
        return Finding(self.model, 1, self.task.name, symbol, verdict, value, sentence, unit=unit, **more)

    def wording(self) -> Finding:
        """Q2: how far the wordings scatter, and how far they would anyway."""
        spread, naive, null = self.get("prompt_spread"), self.get("prompt_spread_naive"), self.get("prompt_spread_null")
        if spread is None or spread.value is None:
            return self.undefined(2, spread)
        many = sum(p.cell == self.cell and p.form.closed for p in self.view.prompts[self.task.name])
        parts = [f"Over {words.count(many, 'wording')} the accuracy of {self.who} on {self.about} moves"]
        if naive is not None and naive.value is not None:
            parts[0] += f" by {words.in_points(naive.value)} (standard deviation)"
            if null is not None and null.value is not None:
                parts[0] += f"; sampling alone would make it {words.points(null.value)}"
                parts[0] += f" ({words.points_interval(null)})" if null.low is not None else ""
            parts.append(f"The wording itself: {words.in_points(spread.value)}")
        else:
            parts[0] += f" by {words.in_points(spread.value)} beyond sampling noise (standard deviation)"
        if spread.low is not None:
            parts[-1] += f" ({_level(spread)} interval {words.points_interval(spread)})"
        flips = self.get("flip_rate")
        if flips is not None and flips.value is not None:
            parts.append(f"Two wordings disagree on {words.percent(flips.value)} of images")
        parts += self._what_moves_it() + self._left_open()
        verdict, between = spread.verdict or "no verdict", words.points_interval(spread)
        symbol, said = words.SYMBOLS.get(verdict, words.UNKNOWN), WORDINGS.get(verdict, "No verdict.")
        whole = self.get("ba_all")
        if verdict == "robust" and whole is not None and whole.verdict in STEADY:
            symbol, verdict, said = STEADY[whole.verdict]
        sentence = f"{'. '.join(parts)}. {said}"
        value, _, unit = words.in_points(spread.value).partition(" ")
        return Finding(self.model, 2, self.task.name, symbol, verdict, value, sentence, unit=f" {unit}", between=between)

    def _what_moves_it(self) -> list[str]:
        """The part of the wording with the largest effect among those that surely have one."""
        mine = (e for (name, _), e in self.index.items() if name == "factor_effect")
        sure = [e for e in mine if e.verdict in ("raises", "lowers") and self._is_mine(e) and e.value is not None]
        if not sure:
            return []
        most = max(sure, key=lambda e: abs(e.value or 0.0))
        factor, level, against = (words.line(most.by[key]) for key in ("factor", "level", "against"))
        return [f"What moves it most: {factor}, {level} instead of {against} ({words.in_points(most.value, signed=True)})"]

    def _left_open(self) -> list[str]:
        """How much of the spread may be silence: what the wordings leave open, least to most, where that differs by 5 points."""
        asked = (p.name for p in self.view.prompts[self.task.name] if p.cell == self.cell and p.form.closed)
        rates = [e.value for name in asked if (e := self.get("no_answer_rate", prompt=name)) is not None and e.value is not None]
        if not rates or max(rates) - min(rates) < 0.05:
            return []
        return [f"What is left open counts as wrong: {words.percent(min(rates))} to {words.percent(max(rates))}, by wording"]

    def _is_mine(self, e: Estimate) -> bool:
        return (e.by.get("model"), e.by.get("task"), e.by.get("cell")) == (self.model, self.task.name, self.cell)

    def refusals(self) -> Finding:
        """Q3: how often it does not answer, and whether that depends on the truth."""
        refusal, silent, difference = self.get("refusal_rate"), self.get("no_answer_rate"), self.get("refusal_difference")
        if refusal is None or refusal.value is None:
            return self.undefined(3, refusal)
        parts = [f"{self.who} refuses {words.percent(refusal.value)} of {self.about} questions"]
        if refusal.low is not None:
            parts[0] += f" ({_level(refusal)} interval {words.percent_interval(refusal)})"
        whole = silent if silent is not None and silent.value is not None else refusal
        if whole.value is not None and whole.value > refusal.value:
            parts.append(f"{words.percent(whole.value)} end without a definite answer")
        selective = difference is not None and difference.verdict == "selective"
        if difference is not None and difference.value is not None and refusal.value > 0:
            where = "present" if difference.value >= 0 else "absent"
            size = words.points(abs(difference.value), signed=True).lstrip("+")
            shown = "" if selective else ", which these images do not show to be more than chance"
            parts.append(f"it refuses {size} percentage points more often where the condition is {where}{shown}")
            parts[-1] += words.aside(difference, "; ").rstrip(".")
        answers = whole.high is not None and whole.high <= self.view.thresholds.answers
        symbol, verdict = ("✗", "selective") if selective else ("✓", "answers") if answers else ("≈", "leaves some open")
        if not selective and not answers and whole.value == 0:  # none seen, but too few images to promise it
            symbol, verdict = "✓", "none seen"
        value, between = words.percent(whole.value), words.percent_interval(whole)
        sentence = f"{'; '.join(parts)}."
        return Finding(self.model, 3, self.task.name, symbol, verdict, value, sentence, unit=" open", between=between)

    def image(self) -> Finding | None:
        """Q5: whether the answers come from the image; None where no image that shows nothing was asked."""
        moved, seen = self.get("image_dependence"), self.get("label_dependence")
        if moved is None or not any("null_image" in e.by for e in self.index.values() if e.measure == "image_dependence"):
            return None
        if moved.value is None:
            return self.undefined(5, moved)
        parts = [f"{words.percent(max(moved.value, 0.0))} of {self.who}'s answers on {self.about} change without the image"]
        parts[0] += f" ({_level(moved)} interval {words.percent_interval(moved)})" if moved.low is not None else ""
        if seen is not None and seen.value is not None:
            between = f" ({words.bounds(seen)})" if seen.low is not None else ""
            parts.append(f"they tell the cases apart by {words.number(seen.value)} above chance{between}")
        number, between = words.percent(max(moved.value, 0.0)), words.percent_interval(moved)
        return self._told(5, moved, LOOKS, "; ".join(parts), number, " moved", between)

    def knowledge(self) -> Finding | None:
        """Q6: what the margin would score at its own threshold, less what the words score."""
        loss, own = self.get("criterion_loss"), self.get("ba_own_threshold")
        if loss is None:
            return None
        if loss.value is None or own is None or own.value is None:
            return self._by_description() or self.undefined(6, loss)
        told = f"At the threshold that suits it {self.who} would score {words.score(own.value)} on {self.about}; its answers"
        told += f" score {words.score(own.value - loss.value)}, {words.in_points(loss.value, signed=True)} of difference"
        between = words.points_interval(loss, signed=True)
        told += f" ({_level(loss)} interval {between})" if between else ""
        value, _, unit = words.in_points(loss.value, signed=True).partition(" ")
        more = f"{self._inside()} {self._described()}".rstrip()
        found = self._told(6, loss, KNOWS, told, value, f" {unit}", between, more)
        instead = {"nothing lost": self._little, "threshold problem": self._unshown}.get(loss.verdict or "")
        if instead is None or (amounts := instead(own)) is None:
            return found
        sentence = f"{told}. {amounts[2]}{words.aside(loss)}{more}"
        return replace(found, symbol=amounts[0], verdict=amounts[1], sentence=sentence)

    @staticmethod
    def _unshown(own: Estimate) -> tuple[str, str, str] | None:
        """What a "threshold problem" amounts to where the best threshold is not shown to beat chance; None where it is."""
        return UNSHOWN if own.low is not None and own.low <= 0.5 else None

    def _little(self, own: Estimate) -> tuple[str, str, str] | None:
        """What "nothing lost" amounts to where the model is not shown to know much; None where it is."""
        whole = self.get("ba_all")
        if whole is not None and whole.verdict in STEADY:
            return GUESSED
        enough = self.view.thresholds.enough_of(self.task.best_accuracy)
        return LITTLE if own.low is not None and own.low <= enough else None

    def _described(self) -> str:
        """What its descriptions carry, in sentences; empty where nothing read them."""
        gain = self.get("description_gain")
        leaks = self.index.get(("label_leak_rate", frozenset({"model": self.model, "task": self.task.name}.items())))
        if gain is None:
            return ""
        return described.in_words(gain, self.get("description_gain_rethresholded"), leaks)

    def _by_description(self) -> Finding | None:
        """Q6 of a model that gives no probabilities: by what its descriptions carry beyond its answers."""
        gain = self.get("description_gain")
        if gain is None or gain.value is None:
            return None
        value, _, unit = words.in_points(gain.value, signed=True).partition(" ")
        verdict = gain.verdict or "no verdict"
        symbol, between = words.SYMBOLS.get(verdict, words.UNKNOWN), words.points_interval(gain, signed=True)
        sentence = f"{self.who} on {self.about}. {self._described()}"
        unit, note = f" {unit}", _note(gain)
        return Finding(self.model, 6, self.task.name, symbol, verdict, value, sentence, unit=unit, between=between, note=note)

    def _inside(self) -> str:
        """Where the stages inside the model lose it, as a sentence; empty where none was probed."""
        asked = next((p.name for p in self.view.prompts[self.task.name] if p.form.closed and p.cell == self.cell), "")
        lost = bottleneck(self.ladder, self.model, self.task.name, self.cell, asked)
        return "" if lost is None else f" Inside: {lost.told}."

    def confidence(self) -> Finding | None:
        """Q7: whether it is less sure where it is wrong, by its margin or, without one, by the agreement of the wordings."""
        kinds = ("margin", "agreement")
        asked = [(kind, self.get("auroc_failure", confidence=kind)) for kind in kinds]
        kind, area = next(((k, e) for k, e in asked if e is not None and e.value is not None), asked[0])
        if area is None:
            return None
        if area.value is None:
            return self.undefined(7, area)
        by = "" if kind == "margin" else " (by how far its wordings agree)"
        told = f"{self.who} on {self.about}: a right answer is more confident than a wrong one in {words.percent(area.value)}{by}"
        told += f" ({_level(area)} interval {words.percent_interval(area)})" if area.low is not None else ""
        risk = self.get("risk_at_80", confidence=kind)
        if risk is not None and risk.value is not None:
            told += f"; of the 80 % it is surest of, {words.percent(risk.value)} are wrong"
        slope = self.get("calibration_slope")
        if slope is not None and slope.verdict in ("overconfident", "underconfident"):
            told += f"; its probabilities are {slope.verdict}"
        return self._told(7, area, ABSTAINS, told, words.percent(area.value), " right first", words.percent_interval(area))

    def _told(
        self, question: int, e: Estimate, said: Mapping[str, str], told: str, number: str, unit: str, between: str, more: str = ""
    ) -> Finding:
        verdict = e.verdict or "no verdict"
        symbol = words.SYMBOLS.get(verdict, words.UNKNOWN)
        sentence = f"{told}. {said.get(verdict, 'No verdict.')}{words.aside(e)}{more}"
        name = self.task.name
        return Finding(self.model, question, name, symbol, verdict, number, sentence, unit=unit, between=between, note=_note(e))


def _pair(view: ReportView, task: TaskCard, e: Estimate, index: Index) -> Finding:
    """Q4: the tuned model against its base on the same images and wordings."""
    base, tuned, about = e.by["base"], e.by["tuned"], words.labels(view)[task.name]
    head = f"{words.line(tuned)} against {words.line(base)} on {about}"
    if e.value is None:
        why = why_not(e)
        sentence = f"{head}: not measured: {why}."
        return Finding(tuned, 4, task.name, words.NOTHING, words.NOT_MEASURED, words.NOTHING, sentence, base, why=why)
    size, between = words.in_points(abs(e.value), signed=True).lstrip("+"), words.points_interval(e, signed=True)
    signed, _, unit = words.in_points(e.value, signed=True).partition(" ")
    verdict = e.verdict or "no verdict"
    margin = words.in_points(view.thresholds.equivalence)
    told = {
        "better": f"better by {size} of balanced accuracy",
        "worse": f"worse by {size} of balanced accuracy",
        "equivalent": f"the same within ±{margin} of balanced accuracy ({signed})",
    }.get(verdict, f"{words.in_points(e.value, signed=True)} of balanced accuracy, too uncertain for a verdict")
    sentence = f"{head}: {told}" + (f" ({_level(e)} interval {between})." if between else ".") + words.aside(e)
    least = index.get(("delta_ba_all_mde", frozenset(e.by.items())))
    if verdict in ("undetermined", "equivalent") and least is not None and least.value is not None:
        sentence += f" These images would show differences of {words.points(least.value)} points and more (4 times out of 5)."
    wider = index.get(("delta_ba_all_over_wordings", frozenset(e.by.items())))
    if wider is not None and wider.low is not None:
        sentence += f" For other wordings of the same question: {words.points_interval(wider, signed=True)}.{words.aside(wider)}"
    relation = RELATIONS.get(e.by.get("relation", ""), "")
    sentence += f" {relation}" if relation else ""
    symbol = words.SYMBOLS.get(verdict, words.UNKNOWN)
    return Finding(tuned, 4, task.name, symbol, verdict, signed, sentence, base, f" {unit}", between, note=_note(e))


def _note(e: Estimate) -> str:
    return BY_ITSELF if e.value is not None and e.reason else ""


def why_not(e: Estimate | None) -> str:
    """Why there is no number."""
    return "no estimate was made" if e is None else words.line(e.reason or "no reason is given")


def _level(e: Estimate) -> str:
    return f"{100 * e.level:.3g} %"


def _interval(e: Estimate, text: str) -> str:
    return f"; {_level(e)} interval {text}" if text else ""
