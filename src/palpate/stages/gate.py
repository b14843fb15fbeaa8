"""gate: Estimates × Conditions → pass, fail or not evaluable. Reads interval bounds and verdicts as the study names them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from palpate.nouns import Condition, ConditionResult, Estimate, Held

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


def gate(conditions: Sequence[Condition], estimates: Sequence[Estimate]) -> list[ConditionResult]:
    """Each condition against every estimate it selects; one that selects none is not evaluable.

    A condition without ``for prompt=…`` or ``for class=…`` speaks of the estimates over prompts and classes, not of each.
    """
    return [result for condition in conditions for result in _evaluate(condition, estimates)]


def _evaluate(condition: Condition, estimates: Sequence[Estimate]) -> list[ConditionResult]:
    selected = [e for e in estimates if e.measure == condition.measure and _selects(condition, e)]
    if not selected:
        return [ConditionResult(condition, Held.NOT_EVALUABLE, None, "no estimate matches")]
    return [_held(condition, estimate) for estimate in selected]


def _selects(condition: Condition, estimate: Estimate) -> bool:
    finer = {"prompt", "class"} & set(estimate.by) - set(condition.where)
    return not finer and all(estimate.by.get(key) == value for key, value in condition.where.items())


def _held(condition: Condition, estimate: Estimate) -> ConditionResult:
    given = getattr(estimate, condition.quantity)
    if given is None:
        why = estimate.reason or f"has no {condition.quantity}"
        return ConditionResult(condition, Held.NOT_EVALUABLE, estimate, why)
    held = OPERATORS[condition.operator](given, condition.bound)
    shown = f"{given:.4g}" if isinstance(given, float) else str(given)
    return ConditionResult(condition, Held.PASS if held else Held.FAIL, estimate, f"{condition.quantity} is {shown}")


def exit_code(results: Sequence[ConditionResult]) -> int:
    """0 where every condition passes; 1 where one fails; 2 where none fails but one could not be evaluated."""
    held = {r.held for r in results}
    return 1 if Held.FAIL in held else 2 if Held.NOT_EVALUABLE in held else 0
