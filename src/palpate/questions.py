"""The seven questions, and what a run concludes of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from palpate.nouns import Estimate

TITLES: Mapping[int, str] = {
    1: "Better than chance?",
    2: "Depends on the wording?",
    3: "Refuses?",
    4: "Did tuning help?",
    5: "Looks at the image?",
    6: "Knows more than it says?",
    7: "Knows when to abstain?",
}
"""The seven questions that every measure answers one of."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a run says to one of the seven questions, about one model (or pair) on one task and cell.

    ``verdict`` is a word of VERDICTS, "no verdict" where the measure gives none, "not measured" where there is no number (then
    ``why`` says why), "not examined" where nothing in the study speaks to the question. Beside a number ``why`` is why the verdict
    claims less than the interval. ``null`` is what no skill or no effect would give: a number, or the estimate of it with its
    interval. ``beside`` are estimates to be read with the main one.
    """

    question: int
    by: Mapping[str, str]
    verdict: str
    estimate: Estimate | None = None
    null: float | Estimate | None = None
    beside: tuple[Estimate, ...] = ()
    why: str = ""

    @property
    def title(self) -> str:
        """The question."""
        return TITLES[self.question]

    @property
    def mde(self) -> float | None:
        """The smallest true effect the sample would have found with 80 % power, in the estimate's units."""
        return None if self.estimate is None else self.estimate.mde
