"""Reading a model's options: unknown names, wrong types and numbers out of range are errors that name the model and the key.

The errors carry no ``where``: whoever builds the model from a study file knows the place and adds it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from palpate.errors import ModelError
from palpate.parts import ModelSpec

T = TypeVar("T")


def check_names(spec: ModelSpec, known: Iterable[str]) -> None:
    """Raises ModelError for an option the kind does not have, with the nearest names."""
    names = sorted(known)
    for given in spec.options:
        if given not in names:
            near = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
            raise ModelError(
                f"model {spec.name!r} (kind {spec.kind!r}) has no option {given!r}",
                expected=f"one of {', '.join(names)}",
                hint=f"did you mean {' or '.join(map(repr, near))}?" if near else "",
            )


def number(spec: ModelSpec, key: str, default: float, bounds: tuple[float, float]) -> float:
    """The option as a number within ``bounds`` (both included)."""
    given = spec.options.get(key, default)
    low, high = bounds
    if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given <= high:
        raise _wrong(spec, key, given, f"a number from {low:g} to {high:g}")
    return float(given)


def whole(spec: ModelSpec, key: str, default: int, bounds: tuple[int, int]) -> int:
    """The option as a whole number within ``bounds`` (both included)."""
    given = spec.options.get(key, default)
    low, high = bounds
    if isinstance(given, bool) or not isinstance(given, int) or not low <= given <= high:
        raise _wrong(spec, key, given, f"a whole number from {low} to {high}")
    return given


def one_of(spec: ModelSpec, key: str, allowed: Sequence[T]) -> T:
    """The option as one of ``allowed``; the first is the default."""
    given = spec.options.get(key, allowed[0])
    for value in allowed:
        if type(value) is type(given) and value == given:
            return value
    raise _wrong(spec, key, given, " or ".join(map(_toml, allowed)))


def text(spec: ModelSpec, key: str) -> str | None:
    """The option as text; None where it is not given."""
    given = spec.options.get(key)
    if given is not None and not isinstance(given, str):
        raise _wrong(spec, key, given, "text")
    return given


def _wrong(spec: ModelSpec, key: str, given: Any, expected: str) -> ModelError:
    return ModelError(f"model {spec.name!r} has {key} = {_toml(given)}", expected=expected)


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
