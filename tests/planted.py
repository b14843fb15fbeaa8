"""Synthetic Panels with planted behaviour: what a measure must recover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import norm

from palpate.nouns import OUTCOME_CODE, Form, Outcome, Panel, Perturbation, Polarity, Prompt

POSITIVE, NEGATIVE = OUTCOME_CODE[Outcome.POSITIVE], OUTCOME_CODE[Outcome.NEGATIVE]
REFUSED = OUTCOME_CODE[Outcome.REFUSE_POLICY]


def prompts(count: int, cell: str = "target") -> tuple[Prompt, ...]:
    return tuple(Prompt(f"{cell}{k}", f"{cell} {k}?", Form.YES_NO, Polarity.POSITIVE, cell) for k in range(count))


@dataclass(frozen=True)
class Planted:
    """Accuracy by prompt (accuracy + shift), with correlation of a case's answers over prompts, and of a cluster's cases."""

    clusters: int = 60
    per_cluster: int = 3
    prompts: int = 12
    accuracy: float | tuple[float, float] = 0.7  # or by class: label 0, label 1
    shift: Sequence[float] = field(default_factory=tuple)  # per prompt, added to the accuracy
    within_case: float = 0.3  # share of the latent variance that prompts of a case have in common, clusters' part included
    within_cluster: float = 0.0
    refusal: tuple[float, float] = (0.0, 0.0)  # by class: label 0, label 1
    label_by_cluster: bool = False
    repeats: int = 1
    uneven: bool = False  # cluster sizes 1 + Poisson(per_cluster − 1)

    def codes(self, label: np.ndarray, cluster: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n, P, R) outcome codes."""
        n, shape = label.size, (label.size, self.prompts, self.repeats)
        own = self.within_case - self.within_cluster
        latent = np.sqrt(self.within_cluster) * rng.standard_normal(self.clusters)[cluster][:, None, None]
        latent = latent + np.sqrt(own) * rng.standard_normal(n)[:, None, None]
        latent = latent + np.sqrt(1 - self.within_case) * rng.standard_normal(shape)
        accuracy = np.broadcast_to(self.accuracy, 2)[label][:, None]
        rate = np.clip(accuracy + np.asarray(self.shift or np.zeros(self.prompts)), 0, 1)
        right = latent < norm.ppf(rate)[:, :, None]
        code = np.where(right == (label == 1)[:, None, None], POSITIVE, NEGATIVE)
        refuses = rng.random(shape) < np.asarray(self.refusal)[label][:, None, None]
        return np.where(refuses, REFUSED, code).astype(np.int8)

    def cases(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(label, cluster) of the cases, shuffled."""
        sizes = 1 + rng.poisson(self.per_cluster - 1, self.clusters) if self.uneven else self.per_cluster
        cluster = np.repeat(np.arange(self.clusters), sizes)
        by_cluster = rng.permutation(np.arange(self.clusters) % 2)
        label = by_cluster[cluster] if self.label_by_cluster else rng.permutation(np.arange(cluster.size) % 2)
        order = rng.permutation(cluster.size)
        return label[order].astype(np.int8), cluster[order]

    def panel(self, seed: int = 0, model: str = "m", task: str = "t", cases_seed: int | None = None) -> Panel:
        """A Panel; panels with the same ``cases_seed`` share their cases."""
        label, cluster = self.cases(np.random.default_rng(seed if cases_seed is None else cases_seed))
        return panel(self.codes(label, cluster, np.random.default_rng([seed, 1])), label, cluster, model=model, task=task)


def panel(codes: np.ndarray, label: np.ndarray, cluster: np.ndarray | None = None, **more: object) -> Panel:
    """A Panel of given outcome codes (n, P) or (n, P, R)."""
    codes = np.asarray(codes, np.int8)
    codes = codes[:, :, None] if codes.ndim == 2 else codes
    n = codes.shape[0]
    fields: dict[str, object] = {
        "model": "m",
        "task": "t",
        "perturbation": Perturbation(),
        "prompts": prompts(codes.shape[1]),
        "cases": tuple(f"c{i}" for i in range(n)),
        "label": np.asarray(label, np.int8),
        "cluster": np.arange(n) if cluster is None else np.asarray(cluster, np.int64),
        "outcome": codes,
        "margin": np.full(codes.shape, np.nan),
        "mass": np.full(codes.shape, np.nan),
        "n_errors": int((codes < 0).sum()),
    }
    return Panel(**{**fields, **more})  # type: ignore[arg-type]
