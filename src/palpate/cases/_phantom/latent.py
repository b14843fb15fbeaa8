"""What is known of a phantom before a pixel is drawn: patient, label, latent evidence, conspicuity, and the random streams.

Label y → evidence m ~ N((2y − 1)·d′/2, 1) → conspicuity k = 1/(1 + exp(−(m − offset)/scale)) → everything in the drawing
that depends on disease. The label enters nowhere else, so whatever a reader does with the pixels, its accuracy on balanced
labels cannot exceed that of the best reader of m itself, Φ(d′/2) (signal detection with equal variances; Green & Swets 1966).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

IMAGES_PER_PATIENT = 2
STREAM_VERSION = 1

CONSPICUITY: Mapping[str, tuple[float, float]] = {
    # A brain or chest lesion below k ≈ 0.2 cannot be seen; a skin lesion or a tissue always looks like something.
    "brain_mri": (0.30, 0.75),
    "chest_xray": (0.30, 0.75),
    "skin_lesion": (0.0, 0.80),
    "breast_histology": (0.0, 0.80),
}
"""Modality → (offset, scale) of evidence → conspicuity."""


@dataclass(frozen=True, slots=True)
class Latent:
    """One phantom before drawing. ``evidence`` in units of its standard deviation; ``conspicuity`` in (0, 1)."""

    modality: str
    split: str
    seed: int
    index: int
    patient: str
    label: int
    evidence: float
    d_prime: float

    @property
    def conspicuity(self) -> float:
        """How visible the disease is drawn: the only thing the drawing knows of the label."""
        offset, scale = CONSPICUITY[self.modality]
        return 1.0 / (1.0 + math.exp(-(self.evidence - offset) / scale))

    @property
    def difficulty(self) -> float:
        """1 − |2·P(present | evidence) − 1|: 0 where the best reader is sure, 1 where it must guess."""
        present = 1.0 / (1.0 + math.exp(-self.d_prime * self.evidence))
        return 1.0 - abs(2.0 * present - 1.0)

    def patient_stream(self) -> np.random.Generator:
        """Randomness of the anatomy, shared by a patient's images."""
        return stream(self.seed, self.modality, self.split, "anatomy", self.index // IMAGES_PER_PATIENT)

    def image_stream(self) -> np.random.Generator:
        """Randomness of one image: view, lesion place and shape, noise."""
        return stream(self.seed, self.modality, self.split, "view", self.index)


def draw_latent(modality: str, index: int, split: str, seed: int, d_prime: float) -> Latent:
    """The latent of image ``index``. Patients come in pairs of opposite labels, so that any even run of patients is balanced."""
    patient = index // IMAGES_PER_PATIENT
    flipped = int(stream(seed, modality, split, "pair", patient // 2).integers(2))
    label = (patient + flipped) % 2
    noise = float(stream(seed, modality, split, "evidence", index).standard_normal())
    name = f"{modality}-{split}-p{patient:06d}"
    return Latent(modality, split, seed, index, name, label, (2 * label - 1) * d_prime / 2 + noise, d_prime)


def stream(*parts: object) -> np.random.Generator:
    """A generator that depends on its name alone: image i is the same however many were drawn before it."""
    text = "\x1f".join(map(str, (STREAM_VERSION, *parts)))
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little"))


def best_accuracy(d_prime: float) -> float:
    """Φ(d′/2): what the best possible reader reaches on balanced labels."""
    return NormalDist().cdf(d_prime / 2)
