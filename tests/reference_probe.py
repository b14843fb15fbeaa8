"""A reference probe: logistic regression on simple features of phantoms, whose AUROC a stronger perturbation must not raise."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from palpate.cases.phantom import draw
from palpate.parts import PerturbationFamily

PHANTOMS = {"mri": "brain_mri", "xray": "chest_xray", "dermatoscopy": "skin_lesion", "histology": "breast_histology"}
"""Set of perturbations → the phantoms of that modality."""
SIDE = 48
UNSEEN = 10**6  # numbers of training images: none of them is a test image's


def features(image: Image.Image) -> np.ndarray:
    """Mean brightness and edges in patches, histograms of edge directions, colour quantiles, left-right asymmetry."""
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255
    grey = pixels.mean(axis=2)
    down, right = np.gradient(grey)
    edge, angle = np.hypot(right, down), (np.arctan2(down, right) % np.pi) / np.pi * 6

    def pooled(plane: np.ndarray, patch: int) -> np.ndarray:
        return plane.reshape(SIDE // patch, patch, SIDE // patch, patch).mean(axis=(1, 3)).ravel()

    directions = [pooled(np.where(angle.astype(int) % 6 == bin_, edge, 0), 8) for bin_ in range(6)]
    colours = np.quantile(pixels.reshape(-1, 3), np.linspace(0.02, 0.98, 9), axis=0).ravel()
    planes = (grey, edge, np.abs(grey - grey[:, ::-1]))
    ranked = [np.sort(pooled(plane, 4))[::-6] for plane in planes]  # the brightest patch, wherever it is
    return np.concatenate([pooled(grey, 4), pooled(edge, 6), *directions, colours, *ranked, [edge.mean(), edge.std(), grey.std()]])


@cache
def probe(modality: str, training: int, family: PerturbationFamily | None = None, severity: int = 0) -> Pipeline:
    """The probe of one modality, trained on ``training`` phantoms of a stream of their own: as they are, or so perturbed."""
    drawn = [draw(PHANTOMS[modality], i, split="train") for i in range(training)]
    images = [Image.fromarray(p.image) for p in drawn]
    if family is not None and severity:
        images = [changed(family, image, severity, UNSEEN + i) for i, image in enumerate(images)]
    made = make_pipeline(StandardScaler(), PCA(min(64, training // 4), random_state=0), LogisticRegression(C=0.02, max_iter=2000))
    return made.fit(np.array([features(image) for image in images]), [p.label for p in drawn])


def changed(family: PerturbationFamily, image: Image.Image, severity: int, number: int) -> Image.Image:
    """Image ``number`` at that severity, its randomness its own."""
    made = family.apply(image, severity, np.random.default_rng([number, severity]))
    assert made is not None
    return made


@cache
def shown(modality: str, count: int) -> tuple[tuple[Image.Image, ...], np.ndarray]:
    """(images, labels) to test on."""
    drawn = [draw(PHANTOMS[modality], i) for i in range(count)]
    return tuple(Image.fromarray(p.image) for p in drawn), np.array([p.label for p in drawn])


def aurocs(
    family: PerturbationFamily, modality: str, severities: tuple[int, ...], training: int, count: int, *, retrained: bool = False
) -> Iterator[float]:
    """AUROC of the probe on the images as they are (severity 0), then at each severity; ``retrained`` on images so perturbed.

    A probe trained on clean images says how far the perturbation leads a reader astray; one retrained, how much is left to see.
    """
    images, label = shown(modality, count)
    for severity in (0, *severities):
        seen = [changed(family, image, severity, i) for i, image in enumerate(images)] if severity else images
        reader = probe(modality, training, family, severity) if retrained else probe(modality, training)
        yield float(roc_auc_score(label, reader.decision_function(np.array([features(image) for image in seen]))))
