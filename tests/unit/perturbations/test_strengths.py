"""How much each perturbation changes a phantom, written down: a changed strength is a changed version.

Who changes pixels on purpose raises the family's ``version``, so that old answers stay answers to the old pixels.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
from PIL import Image

from palpate.cases.phantom import draw
from palpate.registry import part, parts
from reference_probe import PHANTOMS

STRENGTH: dict[tuple[str, int], tuple[float, float]] = {
    ("bias_field", 1): (1.7, -0.2),
    ("bias_field", 2): (3.5, -0.6),
    ("bias_field", 3): (5.7, -1.4),
    ("bias_field", 4): (8.7, -3.0),
    ("bias_field", 5): (12.8, -5.8),
    ("blur", 1): (2.4, -0.0),
    ("blur", 2): (9.4, -0.0),
    ("blur", 3): (13.5, -0.0),
    ("blur", 4): (16.4, -0.0),
    ("blur", 5): (18.4, -0.0),
    ("brightness", 1): (15.8, -15.8),
    ("brightness", 2): (26.8, -26.8),
    ("brightness", 3): (38.1, -38.1),
    ("brightness", 4): (49.6, -49.6),
    ("brightness", 5): (57.1, -57.1),
    ("burned_text", 1): (2.5, 2.5),
    ("burned_text", 2): (7.0, 7.0),
    ("burned_text", 3): (11.0, 11.0),
    ("burned_text", 4): (15.6, 15.6),
    ("burned_text", 5): (19.5, 19.5),
    ("contrast", 1): (17.0, -0.0),
    ("contrast", 2): (28.4, -0.1),
    ("contrast", 3): (38.1, 0.1),
    ("contrast", 4): (45.5, -0.1),
    ("contrast", 5): (51.2, -0.0),
    ("crop", 1): (24.4, 8.9),
    ("crop", 2): (38.8, 20.5),
    ("crop", 3): (55.6, 33.3),
    ("crop", 4): (67.9, 39.9),
    ("crop", 5): (67.5, 33.3),
    ("downsampling", 1): (9.9, 0.5),
    ("downsampling", 2): (14.3, -0.0),
    ("downsampling", 3): (17.2, 0.6),
    ("downsampling", 4): (18.4, 0.1),
    ("downsampling", 5): (20.9, -0.2),
    ("gamma", 1): (13.3, -13.3),
    ("gamma", 2): (24.6, -24.6),
    ("gamma", 3): (36.4, -36.4),
    ("gamma", 4): (46.2, -46.2),
    ("gamma", 5): (54.0, -54.0),
    ("gaussian_noise", 1): (7.6, 0.4),
    ("gaussian_noise", 2): (14.1, 1.8),
    ("gaussian_noise", 3): (22.9, 4.7),
    ("gaussian_noise", 4): (33.8, 9.0),
    ("gaussian_noise", 5): (46.0, 14.7),
    ("ghosting", 1): (5.7, 0.6),
    ("ghosting", 2): (10.6, 1.6),
    ("ghosting", 3): (15.5, 2.8),
    ("ghosting", 4): (20.5, 4.2),
    ("ghosting", 5): (24.3, 5.4),
    ("hair", 1): (2.2, -2.2),
    ("hair", 2): (5.6, -5.6),
    ("hair", 3): (15.2, -15.2),
    ("hair", 4): (26.7, -26.7),
    ("hair", 5): (48.1, -48.1),
    ("jpeg", 1): (1.7, 0.0),
    ("jpeg", 2): (3.0, -0.1),
    ("jpeg", 3): (4.7, -0.1),
    ("jpeg", 4): (6.8, -2.6),
    ("jpeg", 5): (12.3, -5.1),
    ("marker", 1): (1.9, 1.9),
    ("marker", 2): (3.4, 3.3),
    ("marker", 3): (8.2, 7.9),
    ("marker", 4): (12.9, 9.8),
    ("marker", 5): (21.6, 14.7),
    ("motion", 1): (7.6, -0.0),
    ("motion", 2): (11.1, -0.0),
    ("motion", 3): (14.5, -0.0),
    ("motion", 4): (16.6, -0.0),
    ("motion", 5): (18.0, -0.1),
    ("poisson_noise", 1): (10.0, 0.1),
    ("poisson_noise", 2): (15.1, -0.0),
    ("poisson_noise", 3): (21.9, -0.9),
    ("poisson_noise", 4): (32.3, -3.1),
    ("poisson_noise", 5): (45.8, -8.7),
    ("rician_noise", 1): (7.9, 2.9),
    ("rician_noise", 2): (16.5, 9.3),
    ("rician_noise", 3): (30.8, 20.9),
    ("rician_noise", 4): (50.6, 38.4),
    ("rician_noise", 5): (74.7, 61.6),
    ("rotation", 1): (17.6, -0.6),
    ("rotation", 2): (24.6, -0.6),
    ("rotation", 3): (28.2, -0.7),
    ("rotation", 4): (31.2, -0.7),
    ("rotation", 5): (35.1, -0.6),
    ("ruler", 1): (3.8, 0.3),
    ("ruler", 2): (6.7, 0.1),
    ("ruler", 3): (10.4, 0.1),
    ("ruler", 4): (14.9, -0.6),
    ("ruler", 5): (20.5, -1.2),
    ("stain_shift", 1): (6.8, -2.0),
    ("stain_shift", 2): (13.8, -6.1),
    ("stain_shift", 3): (26.4, -16.6),
    ("stain_shift", 4): (48.3, -38.4),
    ("stain_shift", 5): (87.4, -81.8),
    ("window", 1): (11.5, -6.5),
    ("window", 2): (17.7, -5.6),
    ("window", 3): (23.5, -3.9),
    ("window", 4): (29.1, -3.0),
    ("window", 5): (35.2, -2.9),
}
"""(family, severity) → mean absolute change, and mean change, of the first phantom of the family's first modality, of 255."""


@cache
def phantom(modality: str) -> Image.Image:
    return Image.fromarray(draw(PHANTOMS[modality], 0).image)


@pytest.mark.parametrize(("name", "severity"), STRENGTH)
def test_strength(name: str, severity: int) -> None:
    family = part("perturbations", name)
    image = phantom(family.sets[0])
    change = np.asarray(family.apply(image, severity, np.random.default_rng(7))).astype(float) - np.asarray(image)
    wanted = STRENGTH[name, severity]
    assert (np.abs(change).mean(), change.mean()) == pytest.approx(wanted, rel=0.05, abs=0.6)


def test_every_family_is_written_down() -> None:
    known = {n: f for n, f in parts("perturbations").items() if any(f.severities)}
    assert Counter(name for name, _ in STRENGTH) == dict.fromkeys(known, 5)
    assert {f.version for f in known.values()} == {1}


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _ in STRENGTH))
def test_strength_grows_on_every_modality_of_the_family(name: str) -> None:
    family = part("perturbations", name)
    for modality in family.sets:
        image = phantom(modality)
        before = np.asarray(image).astype(float)
        change = []
        for severity in family.severities:
            seeds = range(4)  # by chance a shift goes up or down, a crop here or there
            shown = [np.asarray(family.apply(image, severity, np.random.default_rng(s))).astype(float) for s in seeds]
            change.append(np.mean([np.abs(s - before).mean() for s in shown]))
        assert change == sorted(change), modality
