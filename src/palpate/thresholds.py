"""Where a number becomes a word. ``parts`` gives it on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a number becomes a word: every bound that a verdict rests on, with its source. ``[verdicts]`` of a study sets them.

    Rates, differences of rates and spreads are in proportions (0.05 is five points). Fix them before looking at answers.
    Those marked *proposed* are this project's own: what a reader would call small or large, derived from nothing. A bound that an
    effect must lie above is what is tested, and corrected over the tasks: anything from no effect up to it counts as none.
    """

    chance_margin: float = 0.05
    """"At chance": the 1 − 2α interval lies within this of chance (two one-sided tests, Schuirmann 1987; margin proposed)."""
    chance_margin_small: float = 0.10
    """The same below ``chance_small`` cases, where 5 points are out of reach: power 0 at 100 cases, 0.44 at 500, 0.81 at 900."""
    chance_small: int = 900
    """From this many cases on ``chance_margin`` holds (exact binomial power, see docs/methods.md)."""
    fragile: float = 0.02
    """Spread over wordings: fragile where its interval lies above this. Proposed."""
    robust: float = 0.05
    """Spread over wordings: robust where its interval lies below this. Proposed: the margin of ``equivalence``."""
    factor: float = 0.0
    """A part of the wording matters where its effect's interval, after Holm, excludes this on both sides."""
    answers: float = 0.02
    """A model answers where the share without a definite answer is below this with confidence. Proposed."""
    equivalence: float = 0.05
    """Tuned and base are equivalent where the 1 − 2α interval of the difference lies within this (Schuirmann 1987; proposed)."""
    kappa: float = 0.8
    """Agreement of a reading method with people below which nothing read by it is reported; "almost perfect" begins at 0.81
    (Landis & Koch 1977, doi 10.2307/2529310)."""
    answer_mass: float = 0.5
    """Below this mean probability of all answer words, the margin compares words the model hardly considers: it is not used."""
    threshold_problem: float = 0.0
    """Spread of balanced accuracy less spread of AUROC: a threshold problem where its interval lies above this."""
    image_dependence: float = 0.0
    """Share of images that move the answer, rerun floor taken off: the image is ignored unless its interval lies above this."""
    label_dependence: float = 0.0
    """AUROC − 0.5: a model that depends on the image looks but is blind unless this one's interval lies above this."""
    consistent: float = 0.9
    """Four quadrants: a case is consistent where at least this share of its prompts agree on the outcome. Proposed."""
    latent: float = 0.0
    """Criterion or representation loss: latent knowledge where the interval lies above this."""
    confidence_auroc: float = 0.5
    """Confidence against correctness: usable to abstain by where the AUROC's interval lies above this (0.5: no use)."""
    criterion_spread: float = 0.1
    """Spread over wordings of the criterion, or of half of d′, in z units: it varies where above this. Proposed."""
    enough: float = 0.8
    """A knowledge problem: even at its own best threshold balanced accuracy lies, with confidence, below this; where the best that
    any reader can reach is known, below what ``enough_of`` makes of it. Proposed."""
    ignored: float = 0.10
    """The image is ignored only where the share of images that move the answer lies, with confidence, below this. Proposed."""
    blind: float = 0.10
    """Blind only where the 1 − 2α interval of AUROC − 0.5 lies below this: the margin of "at chance" for few cases. Proposed."""
    text_share: float = 0.5
    """The text outweighs the image where its share of the sway lies above this: both weigh alike at one half."""
    corruption_slope: float = 0.01
    """Robust to a corruption where the 1 − 2α interval of the slope per level is within this: 5 points in 5 levels. Proposed."""
    description_gain: float = 0.0
    """A description carries what the direct answer loses only where the interval of its gain lies above this."""
    oracle: float = 0.8
    """A reader that is told the truth must score more than this, with confidence, before "nothing recovered" is said of what it
    read: what it fails to read says nothing of the description. Proposed: the bound of ``enough``."""

    def enough_of(self, best: float | None) -> float:
        """``enough`` on a task whose best possible balanced accuracy is ``best``: as far on the way from 0.5 to it as ``enough`` is
        from 0.5 to 1. A model is not blamed for what the images do not hold. None: not known, taken as 1."""
        return self.enough if best is None else 0.5 + (2 * self.enough - 1) * (best - 0.5)
