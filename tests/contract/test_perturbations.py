"""Every perturbation: same size, same pixels from the same generator, and the original untouched."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from palpate.registry import part, parts

LEVELS = [(name, severity) for name, family in parts("perturbations").items() for severity in family.severities]
SIZES = [(224, 224), (60, 37), (8, 8), (340, 250)]


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Smooth shades with an edge and some texture: what a filter, a noise and a compression all change."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    texture = np.random.default_rng(seed).normal(0, 8, (height, width, 3))
    base = np.stack([x, y, (x + y) / 2], axis=-1) * 180 + 30 + (x > 0.5)[..., None] * 30
    return Image.fromarray(np.clip(base + texture, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("name", parts("perturbations"))
def test_severities_and_version(name: str) -> None:
    family = part("perturbations", name)
    assert family.severities == (0,) or family.severities == tuple(range(1, len(family.severities) + 1))
    assert isinstance(family.version, int)
    assert family.version >= 1
    assert "-" not in name  # a study writes name-severity


@pytest.mark.parametrize(("name", "severity"), LEVELS)
@pytest.mark.parametrize("size", SIZES)
def test_what_comes_out(name: str, severity: int, size: tuple[int, int]) -> None:
    family, image = part("perturbations", name), picture(size)
    before = image.tobytes()
    out = family.apply(image, severity, np.random.default_rng(1))
    assert image.tobytes() == before
    assert (image.mode, image.size) == ("RGB", size)
    if out is not None:
        assert (out.mode, out.size) == ("RGB", size)
        again = family.apply(picture(size), severity, np.random.default_rng(1))
        assert out.tobytes() == again.tobytes()


@pytest.mark.parametrize(("name", "severity"), LEVELS)
def test_the_global_generator_is_neither_read_nor_moved(name: str, severity: int) -> None:
    family, image = part("perturbations", name), picture((64, 64))
    outs = []
    for seed in (1, 2):
        np.random.seed(seed)
        state = np.random.get_state()[1].copy()
        out = family.apply(image, severity, np.random.default_rng(3))
        outs.append(None if out is None else out.tobytes())
        assert (np.random.get_state()[1] == state).all()
    assert outs[0] == outs[1]


@pytest.mark.parametrize("name", [n for n, f in parts("perturbations").items() if len(f.severities) > 1])
def test_a_higher_severity_changes_more(name: str) -> None:
    family, image = part("perturbations", name), picture((224, 224))
    original = np.asarray(image).astype(float)
    change = [
        np.abs(np.asarray(family.apply(image, s, np.random.default_rng(0))).astype(float) - original).mean()
        for s in family.severities
    ]
    assert change == sorted(change)
    assert len(set(change)) == len(change)
    assert change[0] > 0
