"""gate: Estimates × Conditions → pass, fail or not evaluable. Reads interval bounds and verdicts as the study names them."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from palpate.nouns import VERDICTS, Condition, ConditionResult, Estimate, Held

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}

FINER = ("prompt", "class", "perturbation", "null_image", "factor")
"""What an estimate may be split by, and a condition means only where it says so."""


def gate(conditions: Sequence[Condition], estimates: Sequence[Estimate]) -> list[ConditionResult]:
    """Each condition against every estimate it selects; one that selects none is not evaluable.

    A condition without ``for prompt=…``, ``for class=…``, ``for factor=…`` or ``for perturbation=…`` speaks of the estimates
    over prompts, classes and factors, of the images as they are, where there are such; else of each.
    """
    return [result for condition in conditions for result in _evaluate(condition, estimates)]


def _evaluate(condition: Condition, estimates: Sequence[Estimate]) -> list[ConditionResult]:
    selected = _selected(condition, estimates)
    if not selected:
        return [ConditionResult(condition, Held.NOT_EVALUABLE, None, "no estimate matches")]
    strange = _strange_word(condition, estimates)
    if strange:
        return [ConditionResult(condition, Held.NOT_EVALUABLE, e, strange) for e in selected]
    return [_held(condition, estimate) for estimate in selected]


def _strange_word(condition: Condition, estimates: Sequence[Estimate]) -> str:
    """Why the condition's word is no verdict; ``!= "wrose"`` would hold of anything, and so show nothing."""
    if condition.quantity != "verdict":
        return ""
    word, known = str(condition.bound), VERDICTS | {e.verdict for e in estimates if e.verdict is not None}
    if word in known:
        return ""
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"no verdict is called {word!r}" + (f": did you mean {near[0]!r}?" if near else "")


def _selected(condition: Condition, estimates: Sequence[Estimate]) -> list[Estimate]:
    where = condition.where.items()
    found = [e for e in estimates if e.measure == condition.measure and all(e.by.get(key) == value for key, value in where)]
    for finer in set(FINER) - set(condition.where):
        found = [e for e in found if finer not in e.by] or found
    return found


def _held(condition: Condition, estimate: Estimate) -> ConditionResult:
    given = getattr(estimate, condition.quantity)
    if given is None:
        why = (estimate.reason if estimate.value is None else None) or f"has no {condition.quantity}"
        return ConditionResult(condition, Held.NOT_EVALUABLE, estimate, why)
    held = OPERATORS[condition.operator](given, condition.bound)
    shown = f"{given:.4g}" if isinstance(given, float) else str(given)
    beside = f" ({estimate.reason})" if condition.quantity == "verdict" and estimate.reason else ""
    return ConditionResult(condition, Held.PASS if held else Held.FAIL, estimate, f"{condition.quantity} is {shown}{beside}")


def exit_code(results: Sequence[ConditionResult]) -> int:
    """0 where every condition passes; 1 where one fails; 2 where none fails but one could not be evaluated."""
    held = {r.held for r in results}
    return 1 if Held.FAIL in held else 2 if Held.NOT_EVALUABLE in held else 0
