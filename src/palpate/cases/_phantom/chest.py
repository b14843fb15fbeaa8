"""Chest X-ray: a frontal film with an opacity (lobar, patchy or interstitial) whose visibility is the conspicuity."""

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
    layered_noise,
    mix,
    radius,
    size_word,
    smooth_noise,
)

LARGEST_OPACITY = 0.80
INVISIBLE = 0.05  # conspicuity below which the drawn change is less than the noise
KINDS = ("lobar", "patchy", "interstitial")


def render(latent: Latent, size: int) -> Drawing:
    """Draw one film. Build, heart and inspiration are the patient's; rotation, opacity and noise the image's."""
    patient, view, k = latent.patient_stream(), latent.image_stream(), latent.conspicuity
    build = {"width": patient.uniform(0.92, 1.08), "breath": patient.uniform(-0.06, 0.10), "heart": patient.uniform(0.88, 1.18)}
    fat, slope = patient.uniform(0, 1), patient.uniform(0.35, 0.6)
    x, y = _rotated(patient, view, build["width"], size)
    ax = np.abs(x)
    body = _body(ax, y, fat)
    image = F(0.03) + body * (F(0.60) + F(0.06) * y + F(0.08) * np.exp(-(((ax - F(0.85)) * F(6)) ** 2)))
    floor = (
        F(0.50 + build["breath"])
        + np.where(x > 0, F(0.05), F(0))
        + F(0.55) * (ax - F(0.36)) ** 2 * np.where(ax > 0.36, F(1.9), F(0.6))
    )
    heart = _heart(x, y, build["heart"])
    centre = inside(F(0.115) + F(0.03) * np.clip(y + F(0.2), 0, 1) - ax, 0.025)
    lung = _lung(ax, y, floor) * (1 - np.maximum(centre, heart * F(0.97)))
    air, vessels = _parenchyma(patient, view, ax, y, size)
    opacity, facts = _opacity(view, x, y, k, size)
    image = mix(image, mix(air, F(0.70), np.clip(F(LARGEST_OPACITY * k) * opacity, 0, 0.95)), lung)
    image = _mediastinum(image, x, y, body, heart, centre, vessels)
    image = mix(image, F(0.76) - F(0.05) * (y - F(0.6)), inside(y - floor, 0.03) * body * F(0.80))
    if patient.random() < 0.6:  # gastric bubble
        image = image - F(0.13) * inside(1 - radius(x, y, (0.38, 0.70 + build["breath"]), (0.13, 0.07)), 0.4)
    image = image + _bones(ax, y, x, floor, heart, slope) * body * F(1.15 - 0.4 * fat)
    breast = patient.random() < 0.45
    if breast:
        image = image + F(0.07) * inside(1 - radius(ax, y, (0.46, 0.32), (0.27, 0.24)), 0.30) * body
    image, noise = _film(view, image, size)
    facts |= {"contrast": LARGEST_OPACITY * k, "breast_shadow": bool(breast), "noise": noise}
    return Drawing(grey(image), (opacity * lung * F(k > INVISIBLE)).astype(F), facts)


def _rotated(patient: np.random.Generator, view: np.random.Generator, width: float, size: int) -> tuple[Plane, Plane]:
    x, y = grid(size)
    turn = view.normal(0, 0.03)
    c, s = F(math.cos(turn)), F(math.sin(turn))
    wobble = F(0.012)
    return (
        (c * x + s * y) * F(1 / width) + wobble * smooth_noise(patient, size, 4),
        c * y - s * x + wobble * smooth_noise(patient, size, 4),
    )


def _body(ax: Plane, y: Plane, fat: float) -> Plane:
    flank = F(0.80 + 0.10 * fat) + F(0.30) * np.clip((-y - F(0.48)) * F(1.6), 0, 1) ** 2
    neck = F(0.17) + F(2.6) * np.clip(y + F(0.86), 0, 2) ** F(0.8)
    return inside(np.minimum(flank, neck) - ax, 0.03)


def _lung(ax: Plane, y: Plane, floor: Plane) -> Plane:
    half = F(0.30) * np.clip((y + F(0.74)) * F(2.1), 0, 1) ** F(0.55) * (1 + F(0.10) * y)
    middle = F(0.41) - F(0.07) * np.clip(-y, 0, 1)
    return inside(half - np.abs(ax - middle), 0.035) * inside(floor - y, 0.03)


def _heart(x: Plane, y: Plane, scale: float) -> Plane:
    left = inside(1 - radius(x, y, (0.14, 0.29), (0.37 * scale, 0.26 * scale), 0.55), 0.13)
    right = inside(1 - radius(x, y, (-0.07, 0.27), (0.115 * scale, 0.24)), 0.25)
    trunk = inside(1 - radius(x, y, (0.10, -0.02), (0.13, 0.26)), 0.3)
    arch = inside(1 - radius(x, y, (0.10, -0.30), (0.085, 0.085)), 0.3)
    return np.maximum(np.maximum(left, right), np.maximum(trunk, arch))


def _parenchyma(patient: np.random.Generator, view: np.random.Generator, ax: Plane, y: Plane, size: int) -> tuple[Plane, Plane]:
    """Air with vessels that radiate from the hila; also the noise the vessels follow."""
    branching = layered_noise(view, size, 8, 3, 0.75)
    from_hilum = np.sqrt((ax - F(0.17)) ** 2 + ((y - F(0.02)) * F(0.75)) ** 2)
    vessels = np.clip(1 - np.abs(branching) * F(1.6), 0, 1) * np.exp(-from_hilum * F(3.3))
    air = F(0.215) + F(0.05) * y + F(0.20 * patient.uniform(0.75, 1.25)) * vessels
    return air + F(0.20) * np.exp(-((from_hilum * F(7)) ** 2)) + F(0.018) * branching, branching


def _opacity(
    view: np.random.Generator, x: Plane, y: Plane, k: float, size: int
) -> tuple[Plane, dict[str, str | int | float | bool | None]]:
    """(how much of the lung's air is filled at full opacity, where and what it is)."""
    side = -1 if view.random() < 0.5 else 1
    kind = KINDS[int(view.choice(3, p=(0.50, 0.35, 0.15)))]
    spread = view.uniform(0.14, 0.24) * (0.75 + 0.4 * k)
    place = (side * view.uniform(0.32, 0.50), view.uniform(-0.10, 0.36) if kind == "lobar" else view.uniform(-0.40, 0.34))
    cloud, fine = layered_noise(view, size, 6), smooth_noise(view, size, 12)
    if kind == "lobar":
        edge = 1 - radius(x, y, place, (spread * 1.15, spread * 0.95), view.uniform(-0.5, 0.5)) + F(0.22) * cloud
        opacity = inside(edge, 0.40) * (F(0.88) + F(0.16) * fine)
    elif kind == "patchy":
        opacity = np.zeros_like(x)
        for patch in range(3):
            centre = (
                place if patch == 0 else ((side if patch == 1 else -side) * view.uniform(0.28, 0.52), view.uniform(-0.35, 0.38))
            )
            small = spread * view.uniform(0.50, 0.80)
            opacity = np.maximum(opacity, inside(1 - radius(x, y, centre, (small, small * 0.9)) + F(0.25) * cloud, 0.5))
        opacity = opacity * (F(0.85) + F(0.20) * fine)
    else:
        band = inside(F(0.9) - np.abs(y - F(0.15)) * F(1.6), 0.5)
        opacity = F(0.75) * np.clip(F(0.95) - np.abs(fine + F(0.4) * cloud) * F(1.5), 0, 1) * band
    return np.clip(opacity, 0, 1.2), {
        "kind": kind,
        "lesion_x": round(place[0], 4),
        "lesion_y": round(place[1], 4),
        "lesion_diameter": spread * size,
        "size": size_word(spread, 0.15, 0.205),
        "side": laterality(place[0]),
        "lobe": "upper" if place[1] < -0.15 else "lower" if place[1] > 0.12 else "middle",
    }


def _mediastinum(image: Plane, x: Plane, y: Plane, body: Plane, heart: Plane, centre: Plane, texture: Plane) -> Plane:
    """Heart, great vessels, spine and trachea."""
    glow = F(0.70) - F(0.07) * np.clip(radius(x, y, (0.13, 0.27), (0.34, 0.27)), 0, 1.4) ** 2 + F(0.012) * texture
    image = mix(image, glow, heart * body)
    image = mix(image, F(0.70) + F(0.03) * y, centre * body * F(0.88))
    image = image + (F(0.05) + F(0.022) * np.cos(y * F(36))) * np.exp(-((x * F(13)) ** 2)) * body
    trachea = np.exp(-((x * F(24)) ** 2)) * inside(F(-0.30) - y, 0.15)
    return np.asarray(image - F(0.20) * trachea * body, F)


def _bones(ax: Plane, y: Plane, x: Plane, floor: Plane, heart: Plane, slope: float) -> Plane:
    """Posterior and anterior ribs as periodic bands, and the clavicles."""
    back = np.cos((y + F(slope * 1.1) * np.abs(ax - F(0.2)) ** F(1.5) - F(0.10)) * F(2 * math.pi / 0.152))
    front = np.cos((y - F(slope * 1.4) * (ax - F(0.2)) + F(0.05)) * F(2 * math.pi / 0.185))
    bands = F(0.050) * np.clip(back * F(1.6) + F(0.1), 0, 1) + F(0.040) * np.clip(F(1) - np.abs(back + F(0.02)) * F(3.5), 0, 1)
    bands = bands + F(0.038) * np.clip(front * F(2.0) - F(0.6), 0, 1) * np.clip((ax - F(0.28)) * F(6), 0, 1)
    cage = inside(F(0.76) - ax, 0.03) * inside(ax - F(0.12), 0.05) * inside(y + F(0.72), 0.06) * inside(floor + F(0.10) - y, 0.12)
    cage = cage * (1 - F(0.72) * heart * np.clip(x * F(9), 0, 1))
    line = F(-0.60) - F(0.16) * (ax - F(0.12)) + F(0.10) * np.sin(ax * F(5))
    clavicle = inside(F(0.026) - np.abs(y - line), 0.016) * inside(ax - F(0.08), 0.03) * inside(F(0.66) - ax, 0.03)
    return np.asarray(cage * bands + F(0.11) * clavicle, F)


def _film(view: np.random.Generator, image: Plane, size: int) -> tuple[Plane, float]:
    sd = view.uniform(0.010, 0.024)
    image = image + F(sd) * view.standard_normal((size, size), dtype=F) + F(0.010) * smooth_noise(view, size, 30)
    return (image - F(0.05)) * F(view.uniform(1.05, 1.22)) + F(view.uniform(-0.02, 0.03)), float(sd)
