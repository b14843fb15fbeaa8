"""The null images, and Gaussian noise as the pattern for families with severities."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from palpate.parts import PerturbationFamily
from palpate.perturbations import gaussian_noise, null
from palpate.perturbations.gaussian_noise import STANDARD_DEVIATION, GaussianNoise

FAMILIES = (*null.PARTS, *gaussian_noise.PARTS)
NULL = {family.name: family for family in null.PARTS}


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def image() -> Image.Image:
    ramp = np.linspace(60, 190, 224 * 260).reshape(224, 260)
    return Image.fromarray(np.stack([ramp, ramp[::-1], ramp / 2 + 60], axis=-1).astype(np.uint8))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_every_family_keeps_size_mode_and_the_original_and_repeats_itself(family, image):
    assert isinstance(family, PerturbationFamily)
    before = image.tobytes()
    for severity in family.severities:
        once, again = family.apply(image, severity, rng()), family.apply(image, severity, rng())
        assert image.tobytes() == before
        if once is None:
            assert family.name == "no_image"
            continue
        assert (once.mode, once.size) == ("RGB", image.size)
        assert once.tobytes() == again.tobytes()


def test_none_shows_the_same_pixels(image):
    assert NULL["none"].apply(image, 0, rng()).tobytes() == image.tobytes()


def test_blank_is_one_mid_grey(image):
    assert NULL["blank"].apply(image, 0, rng()).getcolors() == [(224 * 260, (128, 128, 128))]


def test_noise_is_uniform_and_has_nothing_of_the_image(image):
    shown = np.asarray(NULL["noise"].apply(image, 0, rng())).astype(float)
    counts = np.bincount(shown.astype(int).ravel(), minlength=256)
    assert np.abs(counts / counts.mean() - 1).max() < 0.25  # 683 per value: 4 % expected spread, 256 values
    assert abs(np.corrcoef(shown.ravel(), np.asarray(image).ravel())[0, 1]) < 0.01
    other = NULL["noise"].apply(Image.new("RGB", image.size), 0, rng())
    assert np.array_equal(np.asarray(other), shown)
    assert not np.array_equal(np.asarray(NULL["noise"].apply(image, 0, rng(6))), shown)


def test_no_image_is_none(image):
    assert NULL["no_image"].apply(image, 0, rng()) is None


def change(image: Image.Image, severity: int) -> np.ndarray:
    return np.asarray(GaussianNoise().apply(image, severity, rng())).astype(float) - np.asarray(image)


def test_gaussian_noise_grows_with_severity(image):
    sizes = [np.abs(change(image, severity)).mean() for severity in GaussianNoise.severities]
    assert all(b > 1.2 * a for a, b in pairwise(sizes))


def test_gaussian_noise_has_the_standard_deviation_it_states():
    grey = Image.new("RGB", (224, 224), (128, 128, 128))
    for severity in (1, 2, 3):  # the stronger ones are clipped
        noise = change(grey, severity)
        assert noise.std() == pytest.approx(STANDARD_DEVIATION[severity], rel=0.02)
        assert abs(noise.mean()) < 0.5


def test_what_arrives_at_224_pixels_does_not_depend_on_the_size_of_the_file():
    arrived = {}
    for side in (224, 448, 896):
        grey = Image.new("RGB", (side, side), (128, 128, 128))
        noisy = GaussianNoise().apply(grey, 1, rng())
        shrunk = noisy.resize((224, 224), Image.Resampling.BOX)
        arrived[side] = float(np.asarray(shrunk).astype(float).std())
    assert arrived[448] == pytest.approx(arrived[224], rel=0.05)
    assert arrived[896] == pytest.approx(arrived[224], rel=0.05)


def test_an_unknown_severity_is_an_error(image):
    with pytest.raises(KeyError):
        GaussianNoise().apply(image, 6, rng())
