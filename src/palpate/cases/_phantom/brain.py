"""Brain MRI: an axial slice, T1 after contrast or FLAIR, with a tumour whose visibility is the conspicuity."""

from __future__ import annotations

import math

import numpy as np

from palpate.cases._phantom.latent import Latent
from palpate.cases._phantom.primitives import (
    Drawing,
    F,
    Plane,
    grey,
    grid,
    inside,
    laterality,
    mix,
    radius,
    size_word,
    smooth_noise,
)

T1, FLAIR = "T1 post-contrast", "FLAIR"
TISSUE = {
    T1: {"grey": 0.40, "white": 0.52, "fluid": 0.13, "scalp": 0.72},
    FLAIR: {"grey": 0.47, "white": 0.36, "fluid": 0.09, "scalp": 0.44},
}
LARGEST_CONTRAST = 0.36
INVISIBLE = 0.05  # conspicuity below which the drawn change is less than the noise


def render(latent: Latent, size: int) -> Drawing:
    """Draw one slice. Anatomy and sequence are the patient's; level, tilt, tumour place and noise the image's."""
    patient, view, k = latent.patient_stream(), latent.image_stream(), latent.conspicuity
    sequence = T1 if patient.random() < 0.5 else FLAIR
    tissue = TISSUE[sequence]
    head = (patient.uniform(0.66, 0.75), patient.uniform(0.82, 0.91))
    ventricle = patient.uniform(0.7, 1.5)
    level = float(view.uniform(0, 1))
    place, spread, turn = _tumour_place(view, head, k)
    x, y = _tilted(patient, view, size)
    # Mass effect: tissue is pushed away from the tumour, as far as it is visible.
    dx, dy = x - F(place[0]), y - F(place[1])
    push = F(0.28 * k) * np.exp(-(dx * dx + dy * dy) * F(1 / (2 * (1.7 * spread) ** 2)))
    xb, yb = x - dx * push, y - dy * push
    brain = _brain(patient, view, xb, yb, head, tissue, ventricle, level)
    brain = brain + _mimics(patient, view, x, y, sequence)
    signal, lesion, pattern = _tumour(view, x, y, place, spread, turn, sequence, size)
    brain = brain + F(LARGEST_CONTRAST * k) * signal
    image = _skull(brain, radius(x, y, (0, 0), head), tissue, smooth_noise(view, size, 7))
    image, noise = _acquisition(view, image, size)
    facts: dict[str, str | int | float | bool | None] = {
        "sequence": sequence,
        "slice_level": round(level, 3),
        "pattern": pattern,
        "lesion_x": round(place[0], 4),
        "lesion_y": round(place[1], 4),
        "lesion_diameter": spread * size,
        "contrast": LARGEST_CONTRAST * k,
        "size": size_word(spread, 0.12, 0.17),
        "side": laterality(place[0]),
        "lobe": "frontal" if place[1] < -0.2 else "occipital" if place[1] > 0.25 else "parietal",
        "noise": noise,
    }
    return Drawing(grey(image), lesion * F(k > INVISIBLE), facts)


def _tumour_place(view: np.random.Generator, head: tuple[float, float], k: float) -> tuple[tuple[float, float], float, float]:
    side = -1 if view.random() < 0.5 else 1
    angle, reach = view.uniform(-1.1, 1.1), view.uniform(0.26, 0.52)
    spread = view.uniform(0.10, 0.20) * (0.65 + 0.55 * k)
    place = (side * reach * math.cos(angle) * head[0] * 1.32, reach * math.sin(angle) * head[1] * 1.28)
    return place, spread, view.uniform(0, math.pi)


def _tilted(patient: np.random.Generator, view: np.random.Generator, size: int) -> tuple[Plane, Plane]:
    x, y = grid(size)
    tilt = patient.normal(0, 0.06) + view.normal(0, 0.03)
    c, s = F(math.cos(tilt)), F(math.sin(tilt))
    return (
        c * x + s * y + F(0.018) * smooth_noise(patient, size, 4),
        c * y - s * x + F(0.018) * smooth_noise(patient, size, 4),
    )


def _brain(
    patient: np.random.Generator,
    view: np.random.Generator,
    x: Plane,
    y: Plane,
    head: tuple[float, float],
    tissue: dict[str, float],
    ventricle: float,
    level: float,
) -> Plane:
    """Cortex folded along radial sulci, white matter, deep nuclei and ventricles."""
    size = x.shape[0]
    rim = F(0.845) - radius(x, y, (0, 0), head)
    coarse, fine, folds = smooth_noise(view, size, 7), smooth_noise(view, size, 16), smooth_noise(patient, size, 6)
    ax = np.abs(x)
    angle = np.arctan2(y * F(0.85), ax + F(0.02))
    sulcus = np.abs(np.sin(F(7) * angle + F(1.1) * folds + F(1.5) * rim)) * (F(0.845) - rim) * F(0.11)
    deep = np.clip(rim - (F(0.13) + F(0.055) * coarse), 0, 2)
    fissure = np.where(np.abs(y) > 0.36, ax, F(1)) + F(0.004) * coarse
    to_fluid = np.minimum(np.minimum(rim, np.sqrt(sulcus**2 + deep**2) + F(0.005)), fissure + F(0.008)) + F(0.006) * fine
    brain = mix(F(tissue["grey"]), F(tissue["white"]), inside(to_fluid - F(0.060) - F(0.010) * coarse, 0.018))
    brain = mix(F(tissue["fluid"] + 0.04), brain, inside(to_fluid - F(0.016), 0.010))
    nuclei = np.maximum(
        inside(1 - radius(ax, y, (0.115, 0.075), (0.085, 0.125), -0.35), 0.15),
        np.maximum(
            inside(1 - radius(ax, y, (0.150, -0.17), (0.045, 0.10), -0.30), 0.2),
            inside(1 - radius(ax, y, (0.265, -0.02), (0.050, 0.150), -0.12), 0.2),
        ),
    )
    brain = mix(brain, F(tissue["grey"] + 0.03), F(0.85 * (1 - 0.8 * max(0.0, level - 0.55))) * nuclei)
    return mix(brain, F(tissue["fluid"]), _ventricles(ax, y, ventricle * (0.75 + 0.45 * level), level))


def _ventricles(ax: Plane, y: Plane, width: float, level: float) -> Plane:
    """Two mirrored crescents, horns in front and behind, and the third ventricle between the thalami."""
    axis = F(0.060) + F(0.62) * np.clip(y + F(0.02), 0, 1) ** F(1.3) + F(0.40) * np.clip(-y - F(0.08), 0, 1) ** F(1.5)
    half = (
        F(0.042 * width) * np.exp(-(((y + F(0.17)) * F(6.5)) ** 2))
        + F(0.036 * width) * np.exp(-(((y - F(0.26)) * F(8)) ** 2))
        + F(0.030 * width * max(0.0, level - 0.35)) * np.exp(-((y * F(5)) ** 2))
        - F(0.006)
    )
    third = inside(F(0.010 * width + 0.003) - ax, 0.008) * inside(F(0.085) - np.abs(y - F(0.055)), 0.02) * F(1 - level)
    return np.asarray(np.maximum(inside(half - np.abs(ax - axis), 0.012), third), F)


def _mimics(patient: np.random.Generator, view: np.random.Generator, x: Plane, y: Plane, sequence: str) -> Plane:
    """Bright spots that are no tumour: enhancing vessels on T1, white-matter hyperintensities on FLAIR."""
    spots = np.zeros_like(x)
    count = int(patient.integers(1, 4)) if sequence == T1 else int(patient.integers(0, 5))
    for _ in range(count):
        px, py = view.uniform(-0.4, 0.4), view.uniform(-0.5, 0.5)
        width, strength = (0.016, 0.35) if sequence == T1 else (0.028, 0.16)
        spots += F(strength) * np.exp(-((x - F(px)) ** 2 + (y - F(py)) ** 2) * F(1 / (2 * width**2)))
    return spots


def _tumour(
    view: np.random.Generator, x: Plane, y: Plane, place: tuple[float, float], spread: float, turn: float, sequence: str, size: int
) -> tuple[Plane, Plane, str]:
    """(signal per unit contrast, lesion cover, pattern): solid or ring-enhancing with oedema around."""
    coarse, fine = smooth_noise(view, size, 7), smooth_noise(view, size, 14)
    ragged = F(view.uniform(0.08, 0.22))
    axes = (spread * view.uniform(0.85, 1.25), spread * view.uniform(0.85, 1.10))
    reach = radius(x, y, place, axes, turn) + ragged * coarse + F(0.4) * ragged * fine
    core = inside(1 - reach, 0.24)
    oedema = np.clip(inside(F(1.75) - reach - F(0.15) * coarse, 0.35) - core, 0, 1)
    texture = F(0.95) + F(0.20) * fine + F(0.15) * coarse
    ring = sequence == T1 and view.random() < 0.5
    if sequence == FLAIR:
        return core * texture + F(0.55) * oedema, np.maximum(core, oedema), "solid"
    if ring:
        wall = np.exp(-(((reach - F(0.80)) * F(4.5)) ** 2)) - F(0.45) * inside(F(0.55) - reach, 0.2)
        return wall - F(0.6) * oedema, core, "ring-enhancing"
    return core * texture - F(0.6) * oedema, core, "solid"


def _skull(brain: Plane, head: Plane, tissue: dict[str, float], texture: Plane) -> Plane:
    """Brain, fluid, dark bone with marrow, bright scalp, black air."""
    image = mix(F(tissue["fluid"] * 0.9), brain, inside(F(0.850) - head, 0.012))
    marrow = F(0.16) * np.exp(-(((head - F(0.905)) * F(60)) ** 2))
    image = mix(F(0.045) + marrow, image, inside(F(0.875) - head, 0.01))
    scalp = inside(head - F(0.935), 0.012) * inside(F(1.0) - head, 0.015)
    return mix(image, F(tissue["scalp"]) * (1 + F(0.12) * texture), scalp) * (head < F(1.03))


def _acquisition(view: np.random.Generator, image: Plane, size: int) -> tuple[Plane, float]:
    """Bias field and Rician noise (Gudbjartsson & Patz 1995)."""
    image = image * (1 + F(view.uniform(0.02, 0.10)) * smooth_noise(view, size, 2))
    sd = view.uniform(0.018, 0.036)
    real = image + F(sd) * view.standard_normal((size, size), dtype=F)
    imaginary = F(sd) * view.standard_normal((size, size), dtype=F)
    return np.sqrt(real * real + imaginary * imaginary) * F(view.uniform(1.0, 1.25)), float(sd)
