"""What readers that saw no image said of a model's descriptions. ``nouns`` gives it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from palpate.rung import Rung


@dataclass(frozen=True)
class Diagnoses:
    """One reader's answers to one question about the descriptions, given as they are or, as a control, changed.

    ``question``: how the reader was asked (one_word, tight, disease). ``input``: ``real``; ``masked``, the diagnosis cut out;
    ``empty``, none; ``oracle``, made of the label; ``grey``, of a grey image in the case's place. ``own``: the reader is the model
    that described. ``outcome`` (n, D, R) codes into OUTCOMES over cases × description prompts × repeats, −1 where there is none;
    ``margin`` and ``mass`` (n, D, R) of the reader's answer words, NaN where it gave none.
    """

    reader: str
    question: str
    input: str
    own: bool
    outcome: NDArray[np.int8]
    margin: NDArray[np.float64]
    mass: NDArray[np.float64]

    @property
    def cell(self) -> str:
        """The intent cell whose question it is: "disease" asks for anything abnormal, the others for the condition."""
        return "abnormal" if self.question == "disease" else "target"


@dataclass(frozen=True)
class Descriptions:
    """A model's descriptions of n cases under D prompts, in R repeats, and what was made of them.

    ``given`` (n, D, R): True where there is a description; ``stated`` (n, D, R): what it says of the diagnosis by name, as codes
    into OUTCOMES, −1 where it names none. ``probes``: description prompt → what a probe of its words tells, out of fold: rungs of
    the stages ``text`` and, without what names the diagnosis, ``masked``.
    """

    prompts: tuple[str, ...]
    stated: NDArray[np.int8]
    given: NDArray[np.bool_]
    diagnoses: tuple[Diagnoses, ...] = ()
    probes: Mapping[str, tuple[Rung, ...]] = field(default_factory=dict)
