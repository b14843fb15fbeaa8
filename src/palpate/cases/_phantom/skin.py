"""Dermatoscopy: a pigmented lesion whose asymmetry, border, colours and structures grow malignant with the conspicuity."""

from __future__ import annotations

import math

import numpy as np

from palpate.cases._phantom.latent import Latent
from palpate.cases._phantom.primitives import Drawing, F, Plane, grid, inside, layered_noise, mix, radius, size_word, smooth_noise

SKIN = np.array([[0.93, 0.78, 0.72], [0.90, 0.72, 0.62], [0.82, 0.62, 0.51], [0.70, 0.50, 0.40]], F)  # four tones
PIGMENT = {
    "tan": (0.70, 0.48, 0.34),
    "brown": (0.50, 0.31, 0.20),
    "dark": (0.30, 0.17, 0.12),
    "black": (0.13, 0.09, 0.09),
    "blue": (0.42, 0.45, 0.54),
    "red": (0.74, 0.36, 0.34),
    "white": (0.90, 0.82, 0.79),
}
EXTRA_COLOURS = (("black", 0.18, 0.85), ("blue", 0.40, 0.62), ("red", 0.55, 0.50), ("white", 0.72, 0.38))  # name, from k, strength
HAIRS = (0, 0, 0, 0, 2, 4, 8)


def render(latent: Latent, size: int) -> Drawing:
    """Draw one lesion. Skin tone, hair, vignette and artefacts are the patient's; lesion, light and noise the image's."""
    patient, view, k = latent.patient_stream(), latent.image_stream(), latent.conspicuity
    tone = int(patient.choice(4, p=(0.35, 0.35, 0.2, 0.1)))
    coarse, mottle = smooth_noise(view, size, 3), layered_noise(view, size, 14, 3, 0.7)
    skin = SKIN[tone] * F(patient.uniform(0.95, 1.05)) * (1 + (F(0.035) * coarse + F(0.022) * mottle)[..., None])
    waves = (smooth_noise(view, size, 3), smooth_noise(view, size, 6), smooth_noise(view, size, 13))
    depth, cover, facts = _outline(view, k, waves, size)
    inner = np.clip(depth * F(1.6), 0, 1)
    pigment = _pigment(view, k, inner, coarse, waves, tone)
    pigment = _structures(view, k, pigment, inner, waves, size)
    pigment, colours = _extra_colours(view, k, pigment, inner, waves, facts)
    halo = inside(depth + F(0.28), 0.30)
    skin = skin * (1 - (F(0.05) * halo)[..., None] * np.array([0.4, 1.0, 1.0], F))
    image = mix(skin, pigment * (1 + F(0.05) * mottle[..., None]), (F(view.uniform(0.86, 0.97)) * cover)[..., None])
    image, dressing = _dressing(patient, view, image, size)
    sd = view.uniform(0.008, 0.018)
    image = image + F(sd) * view.standard_normal((size, size, 3), dtype=F)
    return Drawing(image, cover, {**facts, "colours": colours, "contrast": k, "skin_tone": tone, **dressing, "noise": float(sd)})


def _outline(
    view: np.random.Generator, k: float, waves: tuple[Plane, Plane, Plane], size: int
) -> tuple[Plane, Plane, dict[str, str | int | float | bool | None]]:
    """(depth below the border, cover, facts): an ellipse whose border grows ragged, sharp and notched with k."""
    x, y = grid(size)
    spread = view.uniform(0.34, 0.56) * (0.88 + 0.20 * k)
    place = (view.normal(0, 0.09), view.normal(0, 0.09))
    ragged = 0.05 + 0.20 * k
    ellipse = radius(x, y, place, (spread, spread * view.uniform(0.78, 1.0)), view.uniform(0, math.pi))
    depth = 1 - ellipse + F(ragged) * (F(0.75) * waves[0] + F(0.70) * waves[1] + F(0.30) * waves[2])
    cover = inside(depth, max(view.uniform(0.16, 0.26) - 0.10 * k, 0.05))
    cover = cover * (1 - F(0.8 * k) * inside(waves[1] - F(1.15) - F(0.5) * depth, 0.2))
    angle = np.arctan2(y - F(place[1]), x - F(place[0]))
    rays = np.clip(np.cos(angle * F(int(view.integers(24, 36))) + F(2.5) * waves[0] + waves[1]) - F(0.1), 0, 1)
    rays = rays * inside(F(0.20) - np.abs(depth + F(0.02)), 0.14) * np.clip(waves[0] * F(1.4) - F(0.1), 0, 1)
    cover = np.maximum(cover, F(0.75 * max(0.0, k - 0.40)) * rays)
    return (
        depth,
        cover,
        {
            "lesion_x": round(float(place[0]), 4),
            "lesion_y": round(float(place[1]), 4),
            "lesion_diameter": spread * size,
            "size": size_word(spread, 0.40, 0.50),
            "side": "central",
            "irregularity": ragged,
            "border": "irregular" if ragged > 0.15 else "regular",
        },
    )


def _pigment(
    view: np.random.Generator, k: float, inner: Plane, coarse: Plane, waves: tuple[Plane, Plane, Plane], tone: int
) -> Plane:
    shade = view.uniform(0.25, 0.75)
    outer = mix(_colour("tan"), _colour("brown"), F(shade))
    centre = mix(_colour("brown"), _colour("dark"), F(shade * 0.8))
    uneven = F(0.13) * waves[0] + F(0.30 * k) * waves[1]
    share = np.clip(inner * F(0.75) + F(0.10) * coarse + uneven, 0, 1)[..., None]
    return mix(outer, centre, share) * F(1.0 - 0.07 * tone)


def _structures(
    view: np.random.Generator, k: float, pigment: Plane, inner: Plane, waves: tuple[Plane, Plane, Plane], size: int
) -> Plane:
    """Pigment network (three plane waves make a honeycomb, bent where atypical), dots and globules."""
    x, y = grid(size)
    pitch, turn = view.uniform(34, 46), view.uniform(0, math.pi)
    bend = F(0.012 + 0.035 * k)
    jx, jy = x + bend * waves[1] + F(0.012) * waves[2], y + bend * waves[0] - F(0.012) * waves[2]
    comb = sum(
        np.cos(F(pitch) * (F(math.cos(turn + j * math.pi / 3)) * jx + F(math.sin(turn + j * math.pi / 3)) * jy)) for j in range(3)
    )
    net = np.clip(F(0.35) - np.asarray(comb, F) * F(0.45), 0, 1) * np.clip(F(1.25) - inner * F(0.9), 0, 1)
    net = net * mix(F(1), np.clip(F(0.6) + F(0.9) * waves[0], 0, 1.5), F(min(1.0, 2 * k)))
    pigment = pigment * (1 - F(view.uniform(0.10, 0.24) * (1 + 0.5 * k)) * net[..., None])
    dots = inside(smooth_noise(view, size, 26) - F(1.35), 0.25) * inner
    return mix(pigment, _colour("dark"), (F(0.25 + 0.45 * k) * dots)[..., None])


def _extra_colours(
    view: np.random.Generator,
    k: float,
    pigment: Plane,
    inner: Plane,
    waves: tuple[Plane, Plane, Plane],
    facts: dict[str, str | int | float | bool | None],
) -> tuple[Plane, int]:
    """Black blotch, blue-white veil, red and regression: each appears above its own conspicuity, give or take."""
    x, y = grid(pigment.shape[0])
    cx, cy = float(facts["lesion_x"] or 0), float(facts["lesion_y"] or 0)
    spread = float(facts["lesion_diameter"] or 0) / pigment.shape[0]
    colours = 2
    for name, start, strength in EXTRA_COLOURS:
        excess = k - start + view.normal(0, 0.13)
        place = (cx + view.normal(0, 0.45) * spread, cy + view.normal(0, 0.45) * spread)
        reach, flat, turn = spread * view.uniform(0.28, 0.50), view.uniform(0.6, 1.0), view.uniform(0, 3)
        if excess > 0:
            colours += 1
            blotch = inside(1 - radius(x, y, place, (reach, reach * flat), turn) + F(0.40) * waves[1] + F(0.18) * waves[2], 0.65)
            share = F(strength * min(1.0, 0.45 + 1.3 * excess)) * blotch * np.clip(inner * 3, 0, 1)
            pigment = mix(pigment, _colour(name), share[..., None])
    return pigment, colours


def _dressing(
    patient: np.random.Generator, view: np.random.Generator, image: Plane, size: int
) -> tuple[Plane, dict[str, str | int | float | bool | None]]:
    """Hair, immersion bubbles or a ruler, vignette and light: nuisances that say nothing of the disease."""
    x, y = grid(size)
    hairs = int(patient.choice(HAIRS))
    thickness = patient.uniform(0.006, 0.014)
    for _ in range(hairs):
        turn = view.uniform(0, math.pi)
        c, s = F(math.cos(turn)), F(math.sin(turn))
        along, across = c * x + s * y, c * y - s * x
        off = np.abs(across - F(view.uniform(-1, 1)) - F(view.normal(0, 0.25)) * along * along)
        image = mix(image, np.array([0.16, 0.11, 0.09], F), (F(0.75) * inside(F(thickness) - off, 0.012))[..., None])
    luck, artefact = patient.random(), "none"
    if luck < 0.12:
        artefact = "bubbles"
        for _ in range(4):
            reach = view.uniform(0.04, 0.09)
            bubble = radius(x, y, (view.uniform(-1, 1), view.uniform(-1, 1)), (reach, reach))
            image = image + (F(0.22) * np.exp(-(((bubble - 1) * F(6)) ** 2)))[..., None]
    elif luck < 0.26:
        artefact = "ruler"
        ticks = (np.abs(np.mod(x * F(8), 1) - F(0.5)) < 0.07) & (y > F(0.84))
        image = mix(image, np.array([0.10, 0.10, 0.12], F), (F(0.8) * ticks)[..., None])
    off_centre = np.sqrt(x * x + y * y)
    vignette = patient.random() < 0.40
    if vignette:
        image = image * inside(F(view.uniform(1.12, 1.28)) - off_centre, 0.05)[..., None]
    image = image * (F(1.04) - F(0.10) * off_centre**2)[..., None] * F(view.uniform(0.92, 1.05))
    return image, {"hair": hairs, "artefact": artefact, "vignette": bool(vignette)}


def _colour(name: str) -> Plane:
    return np.array(PIGMENT[name], F)
