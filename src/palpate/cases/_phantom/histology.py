"""Breast histology, H&E: glands give way to infiltrating nests of large, uneven nuclei as the conspicuity grows."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from palpate.cases._phantom.latent import Latent
from palpate.cases._phantom.primitives import Drawing, F, Plane, grid, inside, mix, radius, size_word, smooth_noise

HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], F)  # optical density per stain (Ruifrok & Johnston 2001)
EOSIN = np.array([0.07, 0.99, 0.11], F)
RADII = np.linspace(1.5, 5.4, 14)  # of nuclei, pixels at 96
ELONGATIONS = (1.0, 0.82, 0.62, 0.42)
TURNS = 12


class Slide:
    """A patch while it is drawn: nuclei, haematoxylin and eosin of the ground, and where malignant tissue lies."""

    def __init__(self, size: int) -> None:
        self.size, self.scale = size, size / 96.0
        self.nuclei = np.zeros((size, size), F)
        self.blue = np.zeros((size, size), F)
        self.pink = np.zeros((size, size), F)
        self.nests = np.zeros((size, size), F)
        self.lumen = np.zeros((size, size), F)

    def nucleus(
        self, rng: np.random.Generator, at: tuple[float, float], mean: float, sd: float, shape: int, dark: float, turn: float
    ) -> None:
        """Stamp one nucleus at a pixel position."""
        reach = min(max(rng.normal(mean, sd), RADII[0]), RADII[-1]) * self.scale
        stamp = _stamp(round(reach * 4) / 4, shape, round(turn / math.pi * TURNS) % TURNS)
        half = stamp.shape[0] // 2
        x0, y0 = int(at[0]) - half, int(at[1]) - half
        left, top = max(0, -x0), max(0, -y0)
        right, bottom = (
            stamp.shape[1] - max(0, x0 + stamp.shape[1] - self.size),
            stamp.shape[0] - max(0, y0 + stamp.shape[0] - self.size),
        )
        if left < right and top < bottom:
            under = self.nuclei[y0 + top : y0 + bottom, x0 + left : x0 + right]
            np.maximum(under, stamp[top:bottom, left:right] * F(dark), out=under)


@lru_cache(maxsize=4096)
def _stamp(reach: float, shape: int, turn: int) -> Plane:
    """A soft nucleus: body, darker rim, clumped chromatin, and a nucleolus in large ones."""
    rng = np.random.default_rng([int(reach * 4), shape, turn])
    half = math.ceil(reach + 1.5)
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(F)
    angle = turn * math.pi / TURNS
    u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    narrow = ELONGATIONS[shape]
    around = np.arctan2(v, u)
    wobble = 1 + 0.05 * np.cos(2 * around + rng.uniform(0, 6.28)) + 0.05 * np.cos(3 * around + rng.uniform(0, 6.28))
    out = np.sqrt((u / reach) ** 2 + (v / (reach * narrow)) ** 2) / wobble
    body = np.clip((1 - out) * reach * narrow + 0.5, 0, 1)
    clumps = gaussian_filter(rng.standard_normal(out.shape), 0.8) * 1.6
    stamp = body * (0.72 + 0.30 * np.exp(-(((out - 0.85) * 4) ** 2)) + 0.20 * clumps * min(1.0, reach / 4))
    if reach > 3.4:
        ox, oy = rng.uniform(-0.3, 0.3, 2) * reach
        stamp = stamp + 0.55 * np.exp(-((u - ox) ** 2 + (v - oy) ** 2) / 0.9) * body
    return np.asarray(np.clip(stamp, 0, 1.5), F)


def render(latent: Latent, size: int) -> Drawing:
    """Draw one patch. Stain strength and hue are the patient's; tissue, nuclei and noise the image's."""
    patient, view, k = latent.patient_stream(), latent.image_stream(), latent.conspicuity
    blue_strength, pink_strength, hue = patient.uniform(0.85, 1.25), patient.uniform(0.75, 1.25), patient.normal(0, 0.05)
    slide = Slide(size)
    fibres, texture = _stroma(slide, view)
    nuclei = {"mean": 2.05 + 1.25 * k + view.normal(0, 0.10), "sd": 0.16 + 0.60 * k, "dark": 0.80 + 0.22 * k}
    glands = _glands(slide, view, k, texture, nuclei)
    nests = _nests(slide, view, k, fibres, texture, nuclei)
    if view.random() < 0.30:
        _fat(slide, view, texture)
    _bystanders(slide, view, fibres)
    image = _stained(slide, view, blue_strength, pink_strength, float(hue))
    sd = view.uniform(0.006, 0.016)
    image = image + F(sd) * view.standard_normal((size, size, 3), dtype=F)
    lesion = slide.nests * F(1.0 if nests else 0.0)
    facts: dict[str, str | int | float | bool | None] = {
        "glands": glands,
        "nests": nests,
        "nuclear_radius": nuclei["mean"],
        "lesion_diameter": 2 * math.sqrt(float((lesion > 0.5).sum()) / math.pi),
        "contrast": k,
        "size": size_word(nuclei["mean"], 2.4, 2.9),
        "side": "central",
        "architecture": "disorganised" if nests > glands else "organised",
        "stain_hue": float(hue),
        "noise": float(sd),
    }
    return Drawing(image, lesion, facts)


def _stroma(slide: Slide, view: np.random.Generator) -> tuple[float, Plane]:
    """Eosin-pink collagen: fibres along one warped direction, with clefts."""
    x, y = grid(slide.size)
    turn = view.uniform(0, math.pi)
    c, s = F(math.cos(turn)), F(math.sin(turn))
    broad, middle, fine = (smooth_noise(view, slide.size, n) for n in (4, 9, 24))
    one, two = smooth_noise(view, slide.size, 5), smooth_noise(view, slide.size, 5)
    across = c * y - s * x + F(0.12) * broad + F(0.04) * middle
    pitch = view.uniform(26, 38)
    fibre = np.sin(across * F(pitch) + F(2.2) * one) * F(0.55)
    fibre = fibre + np.sin(across * F(pitch * 1.9) + F(3.0) * two) * F(0.45) * np.clip(F(0.6) + one, 0, 1.5)
    fibre = fibre * np.clip(F(0.7) + F(0.45) * two, 0.1, 1.4)
    cleft = np.clip(np.sin(across * F(pitch * 0.5) + F(3) * two) * F(2) - F(1.45), 0, 1) * np.clip(one, 0, 1)
    slide.pink = F(0.52) + F(0.085) * fibre + F(0.08) * broad + F(0.05) * fine - F(0.38) * cleft
    slide.blue = F(0.06) + F(0.02) * fibre + F(0.015) * broad - F(0.04) * cleft
    return turn, middle


def _glands(slide: Slide, view: np.random.Generator, k: float, texture: Plane, nuclei: dict[str, float]) -> int:
    """Ducts with a lumen and two orderly rows of nuclei: fewer with k."""
    x, y = grid(slide.size)
    placed: list[tuple[float, float, float]] = []
    for _ in range(int(view.binomial(4, 0.80 - 0.62 * k))):
        gx, gy, reach = view.uniform(-0.85, 0.85), view.uniform(-0.85, 0.85), view.uniform(0.20, 0.40)
        if any((gx - a) ** 2 + (gy - b) ** 2 < (reach + c + 0.05) ** 2 for a, b, c in placed):
            continue
        placed.append((gx, gy, reach))
        out = radius(x, y, (gx, gy), (reach, reach * view.uniform(0.72, 1.0)), view.uniform(0, math.pi)) + F(0.07) * texture
        wall, lumen = inside(1 - out, 0.08), inside(F(view.uniform(0.40, 0.58)) - out, 0.06)
        slide.pink = mix(mix(slide.pink, F(0.36), wall), F(0.03), lumen)
        slide.blue = mix(mix(slide.blue, F(0.20), wall), F(0.01), lumen)
        slide.lumen = np.maximum(slide.lumen, lumen)
        for layer, (share, shape) in enumerate(((0.96, 2), (0.74, 1))):
            ring = reach * share * slide.size / 2 * 0.92
            count = max(5, int(2 * math.pi * ring / ((5.2 + layer) * slide.scale)))
            start = view.uniform(0, 2 * math.pi)
            jitter, unevenness = view.normal(0, 1, count), view.normal(0, 1, count)
            for i in range(count):
                angle = start + 2 * math.pi * i / count + (0.03 + 0.10 * k) * jitter[i]
                away = ring * (1 + (0.03 + 0.05 * k) * unevenness[i])
                at = ((gx + 1) * slide.size / 2 + away * math.cos(angle), (gy + 1) * slide.size / 2 + away * math.sin(angle))
                mean = nuclei["mean"] * (0.92 if layer else 0.72)
                slide.nucleus(view, at, mean, nuclei["sd"] * 0.7, shape, nuclei["dark"], angle + (0 if layer else math.pi / 2))
    return len(placed)


def _nests(slide: Slide, view: np.random.Generator, k: float, fibres: float, texture: Plane, nuclei: dict[str, float]) -> int:
    """Cords and nests of crowded, uneven nuclei without lumen: more with k."""
    x, y = grid(slide.size)
    count = int(view.binomial(10, 0.05 + 0.75 * k))
    for _ in range(count):
        place = (view.uniform(-1, 1), view.uniform(-1, 1))
        axes, turn = (view.uniform(0.16, 0.42), view.uniform(0.10, 0.20)), fibres + view.normal(0, 0.4)
        cover = inside(1 - radius(x, y, place, axes, turn) - F(0.2) * texture, 0.15)
        slide.pink, slide.blue = mix(slide.pink, F(0.47), F(0.8) * cover), mix(slide.blue, F(0.17), F(0.8) * cover)
        slide.nests = np.maximum(slide.nests, cover)
        area = math.pi * axes[0] * axes[1] * (slide.size / 2) ** 2
        crowd = int(area / (3.3 * (nuclei["mean"] * slide.scale) ** 2) * view.uniform(0.65, 0.95))
        out, angle = np.sqrt(view.random(crowd)), view.uniform(0, 2 * math.pi, crowd)
        ux, uy = axes[0] * out * np.cos(angle), axes[1] * out * np.sin(angle)
        px = (place[0] + math.cos(turn) * ux - math.sin(turn) * uy + 1) * slide.size / 2
        py = (place[1] + math.sin(turn) * ux + math.cos(turn) * uy + 1) * slide.size / 2
        shapes, turns, darks = view.integers(0, 3, crowd), view.uniform(0, math.pi, crowd), view.uniform(0.75, 1.1, crowd)
        for i in range(crowd):
            dark = nuclei["dark"] * darks[i]
            slide.nucleus(view, (px[i], py[i]), nuclei["mean"] * 1.05, nuclei["sd"], int(shapes[i]), dark, float(turns[i]))
    return count


def _fat(slide: Slide, view: np.random.Generator, texture: Plane) -> None:
    x, y = grid(slide.size)
    for _ in range(int(view.integers(1, 4))):
        reach = view.uniform(0.16, 0.34)
        out = radius(x, y, (view.uniform(-1, 1), view.uniform(-1, 1)), (reach, reach)) + F(0.05) * texture
        vacuole = inside(1 - out, 0.05)
        slide.pink, slide.blue = mix(slide.pink, F(0.02), vacuole), slide.blue * (1 - vacuole)
        slide.nuclei *= 1 - F(0.95) * inside(F(0.92) - out, 0.05)
        slide.nests *= 1 - vacuole


def _bystanders(slide: Slide, view: np.random.Generator, fibres: float) -> None:
    """Fibroblasts along the fibres and, at times, a cluster of lymphocytes: crowded, but small and round."""
    for _ in range(int(view.integers(6, 20))):
        at = (view.uniform(0, slide.size), view.uniform(0, slide.size))
        slide.nucleus(view, at, 2.5, 0.3, 3, 0.70, fibres + view.normal(0, 0.25))
    if view.random() < 0.35:
        cx, cy = view.uniform(0, slide.size, 2)
        for _ in range(int(view.integers(10, 40))):
            at = (cx + view.normal(0, slide.size * 0.13), cy + view.normal(0, slide.size * 0.13))
            slide.nucleus(view, at, 1.7, 0.12, 0, 1.0, view.uniform(0, math.pi))
    slide.nuclei *= 1 - F(0.9) * slide.lumen


def _stained(slide: Slide, view: np.random.Generator, blue_strength: float, pink_strength: float, hue: float) -> Plane:
    """Beer–Lambert absorption of two stains, sometimes slightly out of focus."""
    covered = np.clip(slide.nuclei, 0, 1)
    blue = (slide.nuclei * F(0.95) + slide.blue * (1 - covered)) * F(blue_strength)
    pink = np.clip(slide.pink * (1 - F(0.45) * covered), 0, 2) * F(pink_strength)
    shift = np.array([hue, 0, -hue], F)
    density = blue[..., None] * (HAEMATOXYLIN + shift) + pink[..., None] * (EOSIN - shift * F(0.5)) * F(0.72)
    image = np.exp(-density * F(1.25)) * F(0.965)
    if view.random() < 0.5:
        image = gaussian_filter1d(gaussian_filter1d(image, 0.45, axis=0), 0.45, axis=1)
    return np.asarray(image, F)
