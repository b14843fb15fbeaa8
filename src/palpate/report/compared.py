"""What changed between two runs, as a table for the terminal, Markdown, a page, and JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from rich.text import Text

from palpate import __version__
from palpate.nouns import Comparison, Estimate, Joined
from palpate.report import words
from palpate.report.html import scriptless
from palpate.report.markdown import escaped, table_lines
from palpate.report.tables import fitting_rows, render

OF: Mapping[str, tuple[str, str]] = {
    "delta_ba_all": ("ba_all", "balanced accuracy"),
    "delta_ba_answered": ("ba_answered", "balanced accuracy of the answered"),
    "delta_accuracy_all": ("accuracy_all", "accuracy"),
    "delta_coverage": ("coverage", "coverage"),
    "delta_refusal_rate": ("refusal_rate", "refusal rate"),
}
"""Difference → what it is the difference of, and what that is called here. The first is the one the summary rests on."""
MAIN = ("delta_ba_all", "delta_refusal_rate")
HEADS = ("model", "task", "question", "what", "before", "after", "change", "interval", "verdict")
POINTS = "Changes are in points (hundredths), after minus before, on the images and wordings both runs asked, errors left out."


@dataclass(frozen=True, slots=True)
class Change:
    """One line: a difference with the two values it is of. ``detectable``: what would have been found with 80 % power."""

    estimate: Estimate
    what: str
    before: Estimate | None
    after: Estimate | None
    detectable: Estimate | None

    def cells(self) -> tuple[str, ...]:
        """The line's texts, in the order of HEADS."""
        e = self.estimate
        model = e.by["before"] if e.by["before"] == e.by["after"] else f"{e.by['before']} → {e.by['after']}"
        question = " · ".join(e.by[k] for k in ("cell", "perturbation") if k in e.by)
        values = [words.score(None if side is None else side.value) for side in (self.before, self.after)]
        return (model, e.by["task"], question, self.what, *values, self.change, words.points_interval(e, signed=True), self.verdict)

    @property
    def change(self) -> str:
        """The difference in points."""
        return words.points(self.estimate.value, signed=True)

    @property
    def verdict(self) -> str:
        """The verdict with its symbol, or why there is none; where it is open, what could have been seen."""
        e = self.estimate
        if e.value is None:
            return f"{words.NOT_MEASURED}: {e.reason}"
        if not e.verdict:
            return ""
        symbol = words.SYMBOLS.get(e.verdict, "")
        least = self.detectable.value if self.detectable is not None and e.measure == "delta_ba_all" else None
        seen = f" (80 % power from {words.in_points(least)})" if e.verdict == "undetermined" and least is not None else ""
        return f"{symbol} {e.verdict}{seen}{f' ({e.reason})' if e.reason else ''}".strip()


def changes(found: Comparison) -> list[Change]:
    """Every difference with its values, in the order of OF within each model, task and question."""
    index = {(e.measure, frozenset(e.by.items())): e for e in found.estimates}

    def side(run: str, name: str, e: Estimate) -> Estimate | None:
        rest = {k: v for k, v in e.by.items() if k not in ("before", "after")}
        return index.get((name, frozenset({"run": run, "model": e.by[run], **rest}.items())))

    return [
        Change(
            e,
            OF[e.measure][1],
            side("before", OF[e.measure][0], e),
            side("after", OF[e.measure][0], e),
            index.get(("delta_ba_all_mde", frozenset(e.by.items()))),
        )
        for e in found.estimates
        if e.measure in OF and "before" in e.by and "prompt" not in e.by
    ]


def summary(found: Comparison) -> str:
    """How many verdicts of each kind, on balanced accuracy: the first thing to know."""
    told = [e.verdict or "not measured" for e in found.estimates if e.measure == "delta_ba_all"]
    counted = ", ".join(f"{told.count(word)} {word}" for word in dict.fromkeys(told))
    return f"Balanced accuracy: {counted}." if told else "Nothing could be compared."


def shared(found: Comparison) -> Iterator[str]:
    """What was compared and what was not, a sentence each; nothing is left out in silence."""
    for j in _said_once(found.joined):
        where = j.task if j.perturbation == "none" else f"{j.task} · {j.perturbation}"
        if j.before:
            where += f" · {j.before if j.before == j.after else f'{j.before} → {j.after}'}"
        counted = f"{j.cases:,} images ({j.cases_before:,} before, {j.cases_after:,} after)"
        text = f"{where}: {counted}, {j.prompts} wordings ({j.prompts_before} before, {j.prompts_after} after)"
        if j.why:
            yield f"{text}; not compared: {j.why}."
            continue
        if j.relabelled:
            text += f"; {words.count(j.relabelled, 'label')} changed in between, the later ones count"
        if j.alike:
            text += "; every answer is read the same in both"
        if j.regrouped:
            text += "; patients are grouped differently, the later grouping counts"
        yield text + "."
    yield from (f"{text[0].upper()}{text[1:]}." for text in found.unmatched)


def _said_once(joined: Sequence[Joined]) -> Iterator[Joined]:
    """What is the same for all models of a task once, without their names; where they differ, each with its name."""
    nameless = [replace(j, before="", after="") for j in joined]
    kinds = Counter((j.task, j.perturbation) for j in dict.fromkeys(nameless))
    told = [one if kinds[j.task, j.perturbation] == 1 else j for j, one in zip(joined, nameless, strict=True)]
    yield from dict.fromkeys(told)


def render_comparison(found: Comparison, *, every: bool = False) -> str:
    """For the terminal: the summary, what was shared, a table. ``every``: all differences, not only the two main ones."""
    rows = [change.cells() for change in changes(found) if every or change.estimate.measure in MAIN]
    table = fitting_rows(HEADS, rows, right=("before", "after", "change"), of=4, says=8)
    opening = [f"{found.before} → {found.after}", summary(found), POINTS]
    closing = [*shared(found), *(f"note: {text}" for text in found.notes)]
    return render(*(Text(words.line(t)) for t in opening), *table, *(Text(words.line(t)) for t in closing))


def comparison_markdown(found: Comparison) -> str:
    """The same as Markdown, with every difference."""
    lines = [f"# Palpate: {escaped(found.before)} → {escaped(found.after)}", "", escaped(summary(found)), "", escaped(POINTS), ""]
    lines += [*table_lines(HEADS, (change.cells() for change in changes(found))), "", "## What was compared", ""]
    lines += [*(f"- {escaped(text)}" for text in shared(found)), ""]
    if found.notes:
        lines += ["## What else differs", "", *(f"- {escaped(text)}" for text in found.notes), ""]
    methods = dict.fromkeys(c.estimate.method for c in changes(found))
    lines += ["## How", "", *(f"- {escaped(method)}" for method in methods), "", f"Made with Palpate {__version__}."]
    return "\n".join(lines) + "\n"


def comparison_html(found: Comparison) -> str:
    """The same as one self-contained page without scripts."""
    rows = [(change, change.cells()) for change in changes(found)]
    return scriptless(
        "compare.html.j2",
        found=found,
        summary=summary(found),
        points=POINTS,
        heads=HEADS,
        rows=rows,
        shared=list(shared(found)),
        methods=list(dict.fromkeys(change.estimate.method for change, _ in rows)),
        version=__version__,
    )


def comparison_json(found: Comparison) -> str:
    """Everything, for machines; undefined values are null, never NaN."""
    return json.dumps({**asdict(found), "palpate": __version__}, indent=1, allow_nan=False) + "\n"
