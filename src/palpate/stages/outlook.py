"""outlook: Study → what it takes and what it can show, from the plan alone and a pilot where there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace

import numpy as np

from palpate.errors import StudyError
from palpate.nouns import Prompt
from palpate.parts import Model, ServedModel
from palpate.registry import part
from palpate.stages.pilot import Pilot, Usage
from palpate.stages.plan import Plan
from palpate.stats.power import Alike, Resolution, resolution

CHARACTERS_PER_TOKEN = 4  # of English text: a rule of thumb
IMAGE_TOKENS = 1000  # from 256 (small) to 2,880 (LLaVA-1.6 in full): a round number, said to be assumed
ANSWER_TOKENS = {True: 30, False: 300}  # closed, open

KNOWN = tuple(f.name for f in fields(Alike))


def supposed(given: Mapping[str, str], found: Pilot | None, tasks: tuple[str, ...]) -> dict[str, Alike]:
    """What is supposed of each task's answers: the pilot's values, those of its other tasks, or the assumed; ``given`` beats all.

    Raises StudyError for a name or a value that is none.
    """
    values: dict[str, float] = {}
    for name, text in given.items():
        if name not in KNOWN:
            raise StudyError(f"nothing is called {name!r}", where="--assume", expected=f"one of {', '.join(KNOWN)}")
        try:
            values[name] = float(text)
        except ValueError:
            values[name] = -1.0
        if not 0 <= values[name] <= 1:
            raise StudyError(f"{text!r} is no proportion or correlation", where=f"--assume {name}", expected="a number from 0 to 1")
    base = found.alike if found is not None else {"": Alike()}
    return {task: replace(base.get(task, base[""]), **values) for task in tasks}


def resolutions(plan: Plan, alike: Mapping[str, Alike]) -> dict[str, Resolution | None]:
    """By task: what its images and the wordings of its main question can show."""
    study = plan.study
    found = {}
    for task in study.tasks:
        cases = plan.cases[task.name].cases
        groups: dict[str, int] = {}
        label = np.array([c.label for c in cases], dtype=np.int8)
        cluster = np.array([groups.setdefault(c.group, len(groups)) for c in cases], dtype=np.int64)
        asked = main_prompts(task.prompts)
        bounds = study.thresholds
        found[task.name] = (
            resolution(label, cluster, asked, alike[task.name], fragile=bounds.fragile, robust=bounds.robust) if asked else None
        )
    return found


def main_prompts(prompts: tuple[Prompt, ...]) -> int:
    """How many closed wordings the target question has, or the first question where none is called so."""
    cells = [p.cell for p in prompts if p.form.closed]
    return cells.count("target") or (cells.count(cells[0]) if cells else 0)


def usage(plan: Plan, model: str, found: Pilot | None) -> tuple[dict[bool, Usage], str]:
    """({closed or not: what an answer takes}, where that comes from: "own", "others" or "assumed")."""
    if found is not None:
        own = {closed: use for (name, closed), use in found.usage.items() if name == model}
        if own:
            return _both(own), "own"
        others = list({name for name, _ in found.usage})
        if others:
            means = {c: _mean([u for (_, closed), u in found.usage.items() if closed is c]) for c in (True, False)}
            return _both({c: u for c, u in means.items() if u is not None}), "others"
    prompts = {c: [p for t in plan.study.tasks for p in t.prompts if p.form.closed is c] for c in (True, False)}
    tokens = _served_tokens(plan, model) or (lambda p: len(p.text) / CHARACTERS_PER_TOKEN + IMAGE_TOKENS)
    each = {c: float(np.mean([tokens(p) for p in prompts[c]])) if prompts[c] else 0.0 for c in prompts}
    return {c: Usage(each[c], ANSWER_TOKENS[c], None) for c in each}, "assumed"


def _served_tokens(plan: Plan, model: str) -> Callable[[Prompt], float] | None:
    """What a served model's own options reckon a question to take: the plan says the same of it wherever it speaks of tokens."""
    spec = next(m for m in plan.study.models if m.name == model)
    built: Model = part("models", spec.kind).build(spec)
    try:
        return (lambda p: built.tokens(p, image=True)[0]) if isinstance(built, ServedModel) else None
    finally:
        built.close()


def _both(found: dict[bool, Usage]) -> dict[bool, Usage]:
    """A pilot without descriptions says nothing of their length: then they count as the other kind."""
    return {c: found.get(c, found.get(not c, Usage(None, None, None))) for c in (True, False)}


def _mean(found: list[Usage]) -> Usage | None:
    if not found:
        return None
    means = []
    for name in ("tokens_in", "tokens_out", "seconds"):
        values = [v for u in found if (v := getattr(u, name)) is not None]
        means.append(float(np.mean(values)) if values else None)
    return Usage(*means)
