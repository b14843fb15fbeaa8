"""Models whose truth lies exactly at a bound that a study has raised: whatever is called beyond it is called falsely."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.stats import norm

import planted_descriptions
from palpate.measures._recovered import CARRIED, LEAK, OTHERS
from palpate.measures.confidence import Confidence
from palpate.measures.description import Description
from palpate.measures.factors import Factors
from palpate.measures.image import Image
from palpate.measures.knowledge import Knowledge
from palpate.measures.ladder import Ladder
from palpate.nouns import Panel
from palpate.parts import Measure, MeasureSettings
from palpate.rung import Rung
from palpate.stats.probes import ladder_folds, probe_score
from planted import Planted, panel
from planted_margins import Seen, null
from wordings import core


@dataclass(frozen=True)
class AtBound:
    """One bound of ``[verdicts]``, at the planted truth: the measure it belongs to, the estimate and the words that claim more than
    it, and ``make``: a task's panels from a seed."""

    measure: Measure
    estimate: str
    words: tuple[str, ...]
    bounds: Mapping[str, float]
    make: Callable[[int], Sequence[Panel]]
    by: Mapping[str, str] | None = None


def sure(bound: float, clusters: int = 60, size: int = 2, prompts: int = 4) -> Callable[[int], Sequence[Panel]]:
    """Right in seven of ten; a right answer's margin is larger than a wrong one's with probability ``bound``."""

    def make(seed: int) -> Sequence[Panel]:
        rng = np.random.default_rng([seed, 21])
        cluster = np.repeat(np.arange(clusters), size)
        label = rng.permutation(np.arange(cluster.size) % 2).astype(np.int8)
        shape = (cluster.size, prompts)
        right = rng.random(shape) < 0.7
        common = np.sqrt(0.3) * rng.standard_normal(clusters)[cluster][:, None]
        strength = np.exp(norm.ppf(bound) * 2**0.5 * right + common + np.sqrt(0.7) * rng.standard_normal(shape))
        yes = right == (label == 1)[:, None]
        one = panel(np.where(yes, 0, 1), label, cluster)
        return [replace(one, margin=np.where(yes, strength, -strength)[:, :, None], mass=np.full((*shape, 1), 0.9))]

    return make


def _said_worse(signal: float, criterion: float) -> float:
    """Balanced accuracy lost by drawing the line there."""
    half = signal / 2
    return float(norm.cdf(half) - (norm.cdf(half - criterion) + norm.cdf(half + criterion)) / 2)


def inside(known: float, said: float, n: int = 200) -> Callable[[int], Sequence[Panel]]:
    """An inner stage of d′ ``known`` whose margin, a noisy copy of it, has d′ ``said``."""

    def make(seed: int) -> Sequence[Panel]:
        rng = np.random.default_rng([seed, 22])
        label = rng.permutation(np.arange(n) % 2).astype(np.int8)
        state = (label - 0.5) * known + rng.standard_normal(n)
        margin = state + rng.standard_normal(n) * np.sqrt((known / said) ** 2 - 1)
        one = panel(np.where(margin > 0, 0, 1)[:, None], label)
        probed = probe_score(state, label, ladder_folds(label, np.arange(n), 0, "t"))
        rung = Rung("hidden", state, probed.mean_right, repeats=probed.right)
        return [replace(one, margin=margin[:, None, None], mass=np.full((n, 1, 1), 0.9), rungs={"target": (rung,)})]

    return make


def moved(plan: Seen) -> Callable[[int], Sequence[Panel]]:
    """It sees, and says "absent" of every blank image."""
    return lambda seed: [plan.panel(seed), null(plan.panel(seed), seed)]


WAVERS = Seen(60, 2, 4, 1.5, criterion=(0.8,) * 4, repeats=2, repeat_noise=0.5)


@cache
def moved_beyond_reruns() -> float:
    """What ``WAVERS`` comes to where there are a great many patients."""
    found = Image().measure(moved(replace(WAVERS, clusters=40_000))(1), MeasureSettings())
    return next(float(e.value) for e in found if e.measure == "image_dependence" and e.value is not None)


def worded(effect: float) -> Callable[[int], Sequence[Panel]]:
    """Negated questions cost ``effect``; no other part of the wording does anything."""
    prompts = tuple(p for p in core() if p.factors["suffix"] == "none")
    shift = tuple(-effect * (p.factors["polarity"] == "negated") for p in prompts)
    plan = Planted(60, 2, len(prompts), 0.75, shift=shift, within_case=0.5, within_cluster=0.2)
    return lambda seed: [replace(plan.panel(seed), prompts=prompts)]


def described(plan: planted_descriptions.Planted) -> Callable[[int], Sequence[Panel]]:
    """Its descriptions, read with every control."""
    return lambda seed: [plan.panel(seed)]


TELLS = planted_descriptions.Planted(direct=1.0, findings=2.0)
NAMES_IT = replace(TELLS, conclusion=4.0, names=0.5)
"""What is found beyond the findings is the leak."""
MORE_TOLD = float(norm.cdf(1.0 / (1 + TELLS.noise**2) ** 0.5) - norm.cdf(0.5))
"""The gain of readers of ``TELLS``, and of ``NAMES_IT`` on masked text: .136."""


SPEAKS = Seen(60, 2, 4, 2.0, criterion=(0.9,) * 4)
MOVES = Seen(60, 2, 4, 1.5, criterion=(0.8,) * 4)
SEES = Seen(60, 2, 4, 1.0)
MEAN_NOISE = (0.5 + 0.5 / 4) ** 0.5  # of the mean of four wordings: half is the case's own


def planted() -> Mapping[str, AtBound]:
    """By the name of the bound, and what is special about the case."""
    moves = float((norm.cdf(0.75 - 0.8) + norm.cdf(-0.75 - 0.8)) / 2)
    tells = float(norm.cdf(1.0 / MEAN_NOISE / 2**0.5)) - 0.5
    uses = ("uses the image", "looks but blind", "sees, but says the opposite")
    lost = _said_worse(2.0, 0.9)
    return {
        "confidence_auroc = 0.6": AtBound(Confidence(), "auroc_failure", ("usable",), {"confidence_auroc": 0.6}, sure(0.6)),
        "confidence_auroc = 0.75": AtBound(Confidence(), "auroc_failure", ("usable",), {"confidence_auroc": 0.75}, sure(0.75)),
        "latent, of the criterion": AtBound(
            Knowledge(), "criterion_loss", ("threshold problem",), {"latent": lost}, lambda s: [SPEAKS.panel(s)]
        ),
        "latent, of the inner states": AtBound(
            Ladder(), "representation_loss", ("latent",), {"latent": float(norm.cdf(1.3) - norm.cdf(0.5))}, inside(2.6, 1.0)
        ),
        "image_dependence, asked once": AtBound(Image(), "image_dependence", uses, {"image_dependence": moves}, moved(MOVES)),
        "image_dependence, asked twice": AtBound(
            Image(), "image_dependence", uses, {"image_dependence": moved_beyond_reruns()}, moved(WAVERS)
        ),
        "label_dependence": AtBound(Image(), "image_dependence", ("uses the image",), {"label_dependence": tells}, moved(SEES)),
        "factor": AtBound(
            Factors(),
            "factor_effect",
            ("raises", "lowers"),
            {"factor": 0.1},
            worded(0.1),
            {"factor": "polarity", "level": "negated"},
        ),
        **_gains(),
    }


def _gains() -> Mapping[str, AtBound]:
    """Of descriptions: all gains at the bound; the gain far above it, and that of masked text at it."""
    bounds, named = {"description_gain": MORE_TOLD}, (CARRIED, OTHERS, LEAK)
    beyond = "description_gain_rethresholded"
    return {
        "description_gain": AtBound(Description(), "description_gain", named, bounds, described(TELLS)),
        "description_gain, over the margin": AtBound(Description(), beyond, named, bounds, described(TELLS)),
        "description_gain, of masked text": AtBound(
            Description(), "description_gain", (CARRIED, OTHERS), bounds, described(NAMES_IT)
        ),
    }
