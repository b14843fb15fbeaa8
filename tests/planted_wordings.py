"""Studies of models whose order bias, misread negations, flips, factor effects, difficulty and refusals are planted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from palpate.nouns import Panel, Polarity, Prompt
from planted import NEGATIVE, POSITIVE, REFUSED, Planted, panel
from wordings import both_orders, both_polarities


@dataclass(frozen=True)
class Reader:
    """A model that decides once per case and then says it in each wording, with the planted faults.

    ``order_bias``: with this probability takes the first option, whatever it is. ``confusion``: overlooks a negation so often.
    ``flip``: says the opposite so often, anew in every reading. ``slope``: of the share right on a fact z ~ N(0, 1).
    """

    accuracy: float = 0.8
    order_bias: float = 0.0
    confusion: float = 0.0
    flip: float = 0.0
    slope: float = 0.0
    refusal: tuple[float, float] = (0.0, 0.0)
    within_cluster: float = 0.0

    def panel(
        self,
        seed: int,
        prompts: tuple[Prompt, ...],
        clusters: int = 100,
        per_cluster: int = 1,
        *,
        repeats: int = 1,
        model: str = "m",
    ) -> Panel:
        """A study of it; studies of one seed share their cases, and models of different names decide independently."""
        cases = Planted(clusters, per_cluster, uneven=per_cluster > 1)
        label, cluster = cases.cases(np.random.default_rng([seed, 1]))
        n, shape = label.size, (label.size, len(prompts), repeats)
        rng = np.random.default_rng([seed, 2, *model.encode()])
        shared = np.random.default_rng([seed, 3])
        z = np.sqrt(self.within_cluster) * shared.standard_normal(clusters)[cluster]
        z = z + np.sqrt(1 - self.within_cluster) * shared.standard_normal(n)
        latent = np.sqrt(self.within_cluster) * rng.standard_normal(clusters)[cluster]
        latent = latent + np.sqrt(1 - self.within_cluster) * rng.standard_normal(n)
        right = norm.cdf(latent) < np.clip(self.accuracy + self.slope * z, 0, 1)
        present = np.broadcast_to((right == (label == 1))[:, None, None], shape).copy()
        negated = np.array([_negated(p) for p in prompts])[None, :, None]
        present ^= negated & (rng.random(shape) < self.confusion)
        present ^= rng.random(shape) < self.flip
        first = np.array([p.polarity is Polarity.POSITIVE for p in prompts])[None, :, None]
        lettered = np.array([p.options is not None for p in prompts])[None, :, None]
        present = np.where(lettered & (rng.random(shape) < self.order_bias), first, present)
        code = np.where(present, POSITIVE, NEGATIVE)
        code = np.where(rng.random(shape) < np.asarray(self.refusal)[label][:, None, None], REFUSED, code)
        return panel(code, label, cluster, prompts=prompts, facts={"size": tuple(map(float, z))}, model=model)


def _negated(prompt: Prompt) -> bool:
    return prompt.options is None and prompt.polarity is Polarity.NEGATIVE


def four() -> tuple[Prompt, ...]:
    """Four wordings: one question in both orders, one affirmed and negated."""
    return both_orders() + both_polarities()


def shifted(
    prompts: tuple[Prompt, ...], factor: str, level: str, by: float, seed: int, clusters: int, per_cluster: int = 1
) -> Panel:
    """Accuracy .75 everywhere but under one level of a factor."""
    shift = tuple(by if p.factors.get(factor) == level else 0.0 for p in prompts)
    plan = Planted(clusters, per_cluster, len(prompts), 0.75, shift=shift, within_case=0.5, uneven=per_cluster > 1)
    return replace(plan.panel(seed), prompts=prompts)
