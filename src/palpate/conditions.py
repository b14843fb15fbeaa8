"""What a run must hold: ``ba_all.low >= 0.8 for task=pneumonia_cxr`` → Condition, from a study, a file or the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from palpate.errors import StudyError, unknown_name
from palpate.files import check, load_toml
from palpate.nouns import Condition
from palpate.registry import parts

ALIASES: Mapping[str, str] = {"pair": "delta_ba_all", "refusal": "refusal_rate"}
"""Short names a condition may use: ``pair.verdict != "worse"`` speaks of the tuned model against its base."""


class GateFile(BaseModel):
    """``[gate]``: conditions such as ``ba_all.low >= 0.8 for task=pneumonia_cxr``."""

    model_config = ConfigDict(extra="forbid", strict=True)
    conditions: list[str] = []


class _ConditionsFile(BaseModel):
    """A file of conditions alone, at its top or under ``[gate]`` as in a study."""

    model_config = ConfigDict(extra="forbid", strict=True)
    conditions: list[str] = []
    gate: GateFile = GateFile()


def load_conditions(path: Path) -> tuple[Condition, ...]:
    """The conditions of a TOML file. Raises StudyError for a file that is none, or demands nothing."""
    parsed = check(_ConditionsFile, load_toml(path), str(path))
    found = [(text, f"conditions[{i}]") for i, text in enumerate(parsed.conditions)]
    found += [(text, f"gate.conditions[{i}]") for i, text in enumerate(parsed.gate.conditions)]
    if not found:
        raise StudyError("names no condition", where=str(path), expected='conditions = ["ba_all.low >= 0.8"]')
    return tuple(parse_condition(text, f"{path}: {key}") for text, key in found)


_CONDITION = re.compile(r"^\s*(\w+)(?:\.(\w+))?\s*(>=|<=|==|!=|>|<)\s*(\"[^\"]*\"|'[^']*'|[-+.\deE]+)\s*(?:for\s+(.+?))?\s*$")


def parse_condition(text: str, where: str = "gate") -> Condition:
    """``ba_all.low >= 0.8 for task=pneumonia_cxr, model=mine`` → Condition. Raises StudyError."""
    match = _CONDITION.match(text)
    shape = "MEASURE.low|high|value|verdict OP BOUND [for KEY=VALUE, …], e.g. ba_all.low >= 0.8 for task=pneumonia_cxr"
    if match is None:
        raise StudyError(f"{text!r} is no condition", where=where, expected=shape)
    given, quantity, operator, bound, selection = match.groups()
    measure = ALIASES.get(given, given)
    known = {name for m in parts("measures").values() for name in m.estimates}
    if measure not in known:
        raise unknown_name(measure, known | set(ALIASES), noun="measure", where=where)
    quantity = quantity or "value"
    if quantity not in ("value", "low", "high", "verdict"):
        raise StudyError(f"{quantity!r} is no part of an estimate", where=where, expected="value, low, high or verdict")
    words = bound[0] in "\"'"
    if words != (quantity == "verdict") or (words and operator not in ("==", "!=")):
        raise StudyError(
            f"{text!r} compares {quantity} with {bound}", where=where, expected='a verdict with == or != "word", else a number'
        )
    pairs = [item.partition("=") for item in (selection or "").split(",") if item.strip()]
    chosen = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    if any(not k or not v for k, v in chosen.items()):
        raise StudyError(f"{selection!r} selects nothing", where=where, expected=shape)
    try:
        limit: float | str = bound[1:-1] if words else float(bound)
    except ValueError:
        raise StudyError(f"{bound!r} is no number", where=where, expected=shape) from None
    return Condition(text.strip(), measure, quantity, operator, limit, chosen)
