"""What the wordings of a cell differ in, and which of them differ in one thing alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from palpate.nouns import Form, Polarity, Prompt

NESTED: Mapping[str, str] = {"order": "format"}
"""A factor that only some levels of another have: two lettered options have an order, a yes-no question has none."""

LETTERED = "lettered"


def factors_of(prompt: Prompt) -> dict[str, str]:
    """The prompt's factors, with form and polarity always among them.

    A-B and B-A are one format, ``lettered``, in two orders: so the order's effect is not counted as the format's. The polarity
    is the stem's: swapping two options swaps what the first asserts, not what the question does.
    """
    found = dict(prompt.factors)
    if prompt.form in (Form.AB, Form.BA):
        found |= {"format": LETTERED, "order": str(prompt.form)}
    else:
        found["format"] = str(prompt.form)
    stem = prompt.polarity.flipped if prompt.form is Form.BA else prompt.polarity
    found.setdefault("polarity", "affirmative" if stem is Polarity.POSITIVE else "negated")
    return found


def varying(prompts: Sequence[Prompt]) -> dict[str, tuple[str, ...]]:
    """Factor → its levels in the order they are first met, for every factor with at least two among the prompts."""
    levels: dict[str, dict[str, None]] = {}
    for prompt in prompts:
        for name, level in factors_of(prompt).items():
            levels.setdefault(name, {})[level] = None
    return {name: tuple(found) for name, found in levels.items() if len(found) > 1}


def blocks(prompts: Sequence[Prompt], factor: str) -> list[dict[str, list[int]]]:
    """Level of ``factor`` → places of the prompts, for every set of prompts that agree in all other factors and not in this.

    Prompts without the factor are in no block. Factors nested in it are not matched on.
    """
    within = {name for name, outer in NESTED.items() if outer == factor}
    found: dict[tuple[tuple[str, str], ...], dict[str, list[int]]] = {}
    for place, prompt in enumerate(prompts):
        own = factors_of(prompt)
        level = own.pop(factor, None)
        if level is not None:
            rest = tuple(sorted((name, value) for name, value in own.items() if name not in within))
            found.setdefault(rest, {}).setdefault(level, []).append(place)
    return [block for block in found.values() if len(block) > 1]


def goes_with(prompts: Sequence[Prompt], factor: str) -> tuple[str, ...]:
    """The other factors that change where ``factor`` does, by name: those it cannot be told from where there is no block."""
    within = {name for name, outer in NESTED.items() if outer == factor} | {factor}
    found: dict[str, None] = {}
    levels: dict[str, list[dict[str, str]]] = {}
    for prompt in prompts:
        own = factors_of(prompt)
        if factor in own:
            levels.setdefault(own[factor], []).append(own)
    names = sorted({name for rows in levels.values() for row in rows for name in row} - within)
    for name in names:
        shares = [sorted(row.get(name, "") for row in rows) for rows in levels.values()]
        if any({*share} != {*shares[0]} for share in shares):
            found[name] = None
    return tuple(found)


def replicate_groups(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Places of prompts that are one wording asked again (alike but for white space): null replicates. Groups of two and more."""
    found: dict[tuple[object, ...], list[int]] = {}
    for place, prompt in enumerate(prompts):
        found.setdefault((" ".join(prompt.text.split()), prompt.form, prompt.polarity, prompt.options), []).append(place)
    return [group for group in found.values() if len(group) > 1]
