"""Which slice of a volume is the case's image, and the window it is shown with: what DICOM and NIfTI sources share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from palpate.errors import SourceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLICE = 'which slice of a volume: "middle", "largest" (most pixels above the volume\'s mean), or its number from 1'
WINDOW = "[centre, width] in the file's units (a CT's Hounsfield units) that become black to white"
MIDDLE, LARGEST = "middle", "largest"

Slice = int | str | None


def slice_rule(options: Mapping[str, Any]) -> Slice:
    """The option ``slice``: a rule's name, a number from 1, or None. Raises SourceError."""
    given = options.get("slice")
    if given is None or given in (MIDDLE, LARGEST) or (isinstance(given, int) and not isinstance(given, bool) and given >= 1):
        found: Slice = given
        return found
    raise SourceError(f"slice = {given!r} is no rule", expected=f'"{MIDDLE}", "{LARGEST}" or a number from 1')


def window_option(options: Mapping[str, Any]) -> tuple[float, float] | None:
    """The option ``window`` as (centre, width), or None. Raises SourceError."""
    given = options.get("window")
    if given is None:
        return None
    numbers = isinstance(given, list | tuple) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in given)
    if not numbers or len(given) != 2 or not 1 <= given[1] < 1e9 or not abs(given[0]) < 1e9:
        raise SourceError(f"window = {given!r} is no window", expected="window = [centre, width], width at least 1")
    return float(given[0]), float(given[1])


def choose(rule: Slice, n: int, values: Callable[[int], NDArray[np.float64]]) -> int:
    """Which of ``n`` slices, from 0; ``values`` decodes one. Raises ValueError where there is no such slice.

    ``largest``: the slice with the most pixels above the mean of the whole volume; of equals the first.
    """
    if isinstance(rule, int):
        if rule > n:
            raise ValueError(f"has {n} slices, and no slice {rule}")
        return rule - 1
    if rule != LARGEST:
        return n // 2
    mean = sum(float(values(i).mean()) for i in range(n)) / n
    areas = [int((values(i) > mean).sum()) for i in range(n)]
    return areas.index(max(areas))


def told(rule: Slice, index: int, n: int) -> str:
    """The slice as the case's decode settings record it."""
    return f"{index + 1} of {n}" if isinstance(rule, int) else f"{rule}, {index + 1} of {n}"


def ordered(names: Sequence[str], positions: Sequence[float | None], numbers: Sequence[int | None]) -> list[int]:
    """Slices in the order they lie: along the normal where every position is known, else by instance number, else by name."""
    if all(p is not None for p in positions):
        return sorted(range(len(names)), key=lambda i: (positions[i], names[i]))
    if all(n is not None for n in numbers):
        return sorted(range(len(names)), key=lambda i: (numbers[i], names[i]))
    return sorted(range(len(names)), key=lambda i: names[i])
