"""What probes of a model's inner states say of each case. ``nouns`` gives it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Rung:
    """What one stage inside a model tells of each of n cases, by probes that saw neither the case nor its group.

    ``stage``: ``metadata`` (size and colours of the file), ``vision-03``, ``read``, ``projector``, ``image-12``, ``last-30`` by
    layer, and ``vision``, ``image``, ``last``, ``hidden``: the best layer of a kind, or of all, chosen on the other cases.
    ``score`` (n,) grows with the condition, NaN where the stage was not kept; ``right`` (n,) share of repeats on the right side of
    a threshold fitted on other cases, ``repeats`` (R, n) that side in each repeat, whose scatter says what training anew changes;
    ``control``: AUROC of the same probe on labels permuted over groups; ``twin`` (n,) the score of the same stage of a randomly
    initialised twin; ``width``: how many directions share the stage's variance, of a best layer's kind the most of any.
    """

    stage: str
    score: NDArray[np.float64]
    right: NDArray[np.float64]
    control: float | None = None
    twin: NDArray[np.float64] | None = None
    repeats: NDArray[np.float64] | None = None
    width: float | None = None
