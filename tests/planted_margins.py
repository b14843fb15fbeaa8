"""Panels with margins whose truth is known: equal-variance normal evidence, criteria, prompts, null images, text that pulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from palpate.nouns import Panel, Perturbation
from planted import NEGATIVE, POSITIVE, REFUSED, panel


@dataclass(frozen=True)
class Seen:
    """Evidence x = ±d/2 + noise of variance 1 per case and prompt; says "present" where x > criterion; margin = scale · d · x.

    With scale 1 the margin is the log odds (classes alike): calibrated. ``signal`` d′ may be given per prompt.
    """

    clusters: int = 60
    per_cluster: int = 3
    prompts: int = 6
    signal: float | Sequence[float] = 1.5
    criterion: Sequence[float] = ()
    within_case: float = 0.5
    within_cluster: float = 0.2
    scale: float = 1.0
    repeats: int = 1
    repeat_noise: float = 0.0  # share of the noise that is new in every repeat
    label_by_cluster: bool = False

    def cases(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        cluster = np.repeat(np.arange(self.clusters), self.per_cluster)
        own = np.arange(self.clusters) % 2
        label = rng.permutation(own)[cluster] if self.label_by_cluster else rng.permutation(np.arange(cluster.size) % 2)
        return label.astype(np.int8), cluster

    def evidence(self, label: np.ndarray, cluster: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n, P, R)."""
        n, shape = label.size, (label.size, self.prompts, self.repeats)
        parts = self.within_cluster, self.within_case - self.within_cluster, 1 - self.within_case
        noise = parts[0] ** 0.5 * rng.standard_normal(self.clusters)[cluster][:, None, None]
        noise = noise + parts[1] ** 0.5 * rng.standard_normal(n)[:, None, None]
        again = self.repeat_noise * parts[2]
        noise = noise + (parts[2] - again) ** 0.5 * rng.standard_normal((n, self.prompts))[:, :, None]
        noise = noise + again**0.5 * rng.standard_normal(shape)
        signal = np.broadcast_to(np.asarray(self.signal, float), self.prompts)
        return (label[:, None, None] - 0.5) * signal[None, :, None] + noise

    def of(self, x: np.ndarray, label: np.ndarray, cluster: np.ndarray, **more: object) -> Panel:
        criterion = np.asarray(self.criterion or np.zeros(self.prompts))[None, :, None]
        signal = np.broadcast_to(np.asarray(self.signal, float), self.prompts)[None, :, None]
        codes = np.where(x > criterion, POSITIVE, NEGATIVE)
        margin = self.scale * signal * x
        return replace(panel(codes, label, cluster, **more), margin=margin, mass=np.full(x.shape, 0.9))

    def panel(self, seed: int = 0, **more: object) -> Panel:
        rng = np.random.default_rng([seed, 11])
        label, cluster = self.cases(rng)
        return self.of(self.evidence(label, cluster, rng), label, cluster, **more)


def null(one: Panel, seed: int = 0, *, name: str = "blank", prior: float | Sequence[float] = 0.0, refuses: float = 0.0) -> Panel:
    """The same cases and prompts on an image of nothing: "present" with probability ``prior`` per prompt, one answer for all cases.

    A prior strictly between 0 and 1 is a model that answers anew at every repeat.
    """
    rng = np.random.default_rng([seed, 5])
    says = rng.random(one.outcome.shape) < np.broadcast_to(np.asarray(prior, float), one.outcome.shape[1])[None, :, None]
    codes = np.where(rng.random(one.outcome.shape) < refuses, REFUSED, np.where(says, POSITIVE, NEGATIVE)).astype(np.int8)
    return replace(one, perturbation=Perturbation(name), outcome=codes, margin=np.zeros(codes.shape))


@dataclass(frozen=True)
class Blind:
    """Answers without looking: each prompt says "present" with its own probability, anew at every repeat."""

    clusters: int = 60
    per_cluster: int = 3
    prior: Sequence[float] = field(default=(0.0, 1.0, 0.0, 1.0))
    repeats: int = 1

    def panels(self, seed: int = 0) -> list[Panel]:
        rng = np.random.default_rng([seed, 13])
        cluster = np.repeat(np.arange(self.clusters), self.per_cluster)
        label = rng.permutation(np.arange(cluster.size) % 2).astype(np.int8)
        shape = (cluster.size, len(self.prior), self.repeats)
        says = rng.random(shape) < np.asarray(self.prior)[None, :, None]
        margin = np.where(says, 1.0, -1.0) + rng.normal(0, 0.5, shape)
        one = replace(panel(np.where(says, POSITIVE, NEGATIVE), label, cluster), margin=margin, mass=np.full(shape, 0.9))
        return [one, null(one, seed, prior=self.prior)]


def with_texts(one: Panel, pull: float, scale: float = 1.0, seed: int = 0) -> Panel:
    """Prompts 0 and 1 become twins whose text speaks for and against: the margin moves by ±pull, and the answer with it."""
    words = ("for", "against")
    asked = tuple(replace(p, factors={"suggestion": w}) for p, w in zip(one.prompts[:2], words, strict=True))
    margin = one.margin[:, :2] + scale * pull * np.array([1.0, -1.0])[None, :, None]
    outcome = np.where(margin > 0, POSITIVE, NEGATIVE).astype(np.int8)
    return replace(one, prompts=asked, margin=margin, outcome=outcome, mass=one.mass[:, :2])
