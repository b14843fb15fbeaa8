"""Each family does what its name says, at the strength it states, whatever the size of the file."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from palpate.cases.phantom import draw
from palpate.perturbations.acquisition_noise import PHOTONS, STANDARD_DEVIATION
from palpate.perturbations.shading import CONTRAST
from palpate.perturbations.stain_shift import STAINS
from palpate.registry import part, parts

WITH_STRENGTH = [name for name, family in parts("perturbations").items() if any(family.severities)]


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def grey(value: int, side: int = 224) -> Image.Image:
    return Image.new("RGB", (side, side), (value,) * 3)


def phantom(modality: str, index: int = 0, size: int = 224) -> Image.Image:
    return Image.fromarray(draw(modality, index, size=size).image)


def values(image: Image.Image | None) -> np.ndarray:
    assert image is not None
    return np.asarray(image).astype(float)


def apply(name: str, image: Image.Image, severity: int = 0, seed: int = 5) -> np.ndarray:
    return values(part("perturbations", name).apply(image, severity, rng(seed)))


@pytest.mark.parametrize("name", WITH_STRENGTH)
def test_there_are_five_strengths_and_no_sixth(name):
    family = part("perturbations", name)
    assert family.severities == (1, 2, 3, 4, 5)
    with pytest.raises(KeyError):
        family.apply(grey(100), 6, rng())


@pytest.mark.parametrize("name", [n for n in WITH_STRENGTH if "mri" in part("perturbations", n).sets and n != "gaussian_noise"])
def test_a_grey_image_stays_grey(name):
    for severity in (1, 5):
        shown = apply(name, phantom("brain_mri"), severity)
        assert (shown[..., 0] == shown[..., 1]).all()
        assert (shown[..., 0] == shown[..., 2]).all()


SIZE_FREE = [n for n in WITH_STRENGTH if n not in ("hair", "gaussian_noise", "poisson_noise", "rician_noise")]


@pytest.mark.parametrize("name", SIZE_FREE)
def test_the_same_picture_in_a_larger_file_is_changed_as_much(name):
    modality = {"dermatoscopy": "skin_lesion", "histology": "breast_histology"}.get(
        part("perturbations", name).sets[0], "brain_mri"
    )
    large = phantom(modality, 0, 448)
    small = large.resize((224, 224), Image.Resampling.BOX)
    for severity in (2, 4):
        wanted = apply(name, small, severity)
        got = values(Image.fromarray(apply(name, large, severity).astype(np.uint8)).resize((224, 224), Image.Resampling.BOX))
        change = np.abs(wanted - values(small)).mean()
        assert np.abs(got - values(small)).mean() == pytest.approx(change, rel=0.4)
        # and at the same places: letters alone are of whole pixels
        assert name == "burned_text" or np.abs(got - wanted).mean() < 0.8 * change + 2.0


# ---------------------------------------------------------------- noise


def test_poisson_noise_has_the_spread_of_its_photons():
    for severity in (1, 2):
        shown = apply("poisson_noise", grey(100), severity)
        expected = np.sqrt(100 / 255 * PHOTONS[severity]) / PHOTONS[severity] * 255
        assert shown[..., 0].std() == pytest.approx(expected, rel=0.03)
        assert shown.mean() == pytest.approx(100, abs=1)


def test_rician_noise_lifts_the_background_as_theory_says():
    for severity in (1, 2):
        shown = apply("rician_noise", grey(0), severity)
        assert shown.mean() == pytest.approx(STANDARD_DEVIATION[severity] * np.sqrt(np.pi / 2), rel=0.02)


@pytest.mark.parametrize("name", ["poisson_noise", "rician_noise"])
def test_the_noise_that_arrives_does_not_depend_on_the_size_of_the_file(name):
    arrived = []
    for side in (224, 448, 896):
        shown = apply(name, grey(120, side), 1)
        arrived.append(float(values(Image.fromarray(shown.astype(np.uint8)).resize((224, 224), Image.Resampling.BOX)).std()))
    assert arrived[1:] == pytest.approx([arrived[0]] * 2, rel=0.08)


# ---------------------------------------------------------------- sharpness


def test_a_blurred_point_spreads_as_far_as_stated():
    point = np.zeros((225, 225, 3), np.uint8)
    point[112, 112] = 255
    shown = values(part("perturbations", "blur").apply(Image.fromarray(point), 1, rng()))[..., 0]
    _, x = np.mgrid[:225, :225]
    assert np.sqrt(((x - 112) ** 2 * shown).sum() / shown.sum()) == pytest.approx(1.0, rel=0.15)


def test_motion_smears_along_one_straight_line():
    point = np.zeros((225, 225, 3), np.uint8)
    point[110:115, 110:115] = 255
    shown = values(part("perturbations", "motion").apply(Image.fromarray(point), 3, rng()))[..., 0]
    y, x = (axis - 112 for axis in np.mgrid[:225, :225])
    cov = [[(a * b * shown).sum() / shown.sum() for a in (x, y)] for b in (x, y)]
    across, along = np.linalg.eigvalsh(cov)
    assert np.sqrt(12 * (along - across)) == pytest.approx(20.0, rel=0.1)  # a uniform path of that length


def test_downsampling_leaves_no_detail_finer_than_its_pixels():
    stripes = np.zeros((224, 224, 3), np.uint8)
    stripes[:, ::2] = 255
    shown = values(part("perturbations", "downsampling").apply(Image.fromarray(stripes), 2, rng()))
    assert shown[10:-10, 10:-10].std() < 35
    assert values(Image.fromarray(stripes)).std() > 120


# ---------------------------------------------------------------- magnetic resonance


def test_ghosts_are_copies_along_one_axis():
    image = np.zeros((224, 224, 3), np.uint8)
    image[100:124, 100:124] = 200
    shown = values(part("perturbations", "ghosting").apply(Image.fromarray(image), 3, rng()))[..., 0]
    beyond = shown.copy()
    beyond[100:124, 100:124] = 0
    rows, columns = (beyond > 15).any(axis=1), (beyond > 15).any(axis=0)
    assert max(rows.sum(), columns.sum()) >= 24 + 12  # copies far from the square …
    assert min(rows.sum(), columns.sum()) <= 24  # … along one axis only


def test_a_bias_field_is_smooth_positive_and_of_the_stated_range():
    shown = apply("bias_field", grey(60), 2)[..., 0]
    assert np.log(shown.max() / shown.min()) == pytest.approx(1.0, abs=0.05)
    assert np.abs(np.diff(shown, axis=0)).max() <= 3


# ---------------------------------------------------------------- shading, compression, framing


def test_contrast_keeps_the_mean_and_shrinks_the_rest():
    image = phantom("brain_mri")
    before, after = values(image), apply("contrast", image, 2)
    assert after.mean() == pytest.approx(before.mean(), abs=0.5)
    assert after.std() == pytest.approx(CONTRAST[2] * before.std(), rel=0.02)


def test_brightness_goes_both_ways_by_chance():
    means = {round(float(apply("brightness", grey(128), 1, seed).mean())) for seed in range(12)}
    assert means == {108, 148}


def test_a_window_cuts_both_ends_off():
    shown = apply("window", phantom("chest_xray"), 3)
    before = values(phantom("chest_xray"))
    assert (shown == 0).mean() + (shown == 255).mean() > (before == 0).mean() + (before == 255).mean() + 0.2


def test_gamma_leaves_black_and_white():
    assert apply("gamma", grey(0), 3).max() == 0
    assert apply("gamma", grey(255), 3).min() == 255
    assert apply("gamma", grey(128), 3).max() < 60


def test_jpeg_blocks_are_eight_reference_pixels_in_any_file():
    image = phantom("brain_mri", 0, 448)
    change = apply("jpeg", image, 5) - values(image)
    line = np.abs(np.diff(change.mean(axis=2), axis=1)).mean(axis=0)
    at_edges = [line[k * 16 - 2 : k * 16 + 1].max() for k in range(2, 26)]  # a block is 16 of 448 pixels
    assert np.mean(at_edges) > 1.5 * line.mean()


def test_a_crop_shows_a_part_and_a_flip_the_mirror():
    image = Image.fromarray(np.tile(np.linspace(0, 255, 224).astype(np.uint8)[None, :, None], (224, 1, 3)))
    shown = apply("crop", image, 3)
    assert np.ptp(shown[..., 0]) == pytest.approx(0.70 * 255, abs=6)
    assert np.array_equal(apply("flip", image), values(image)[:, ::-1])


def test_a_rotation_turns_by_the_stated_angle_and_fills_with_the_edge():
    image = np.full((225, 225, 3), 70, np.uint8)
    image[112 - 2 : 112 + 3, 150:200] = 250
    for seed in (0, 1, 2, 3):
        shown = values(part("perturbations", "rotation").apply(Image.fromarray(image), 2, rng(seed)))[..., 0]
        y, x = np.nonzero(shown > 160)
        turned = np.degrees(np.arctan2(-(y.mean() - 112), x.mean() - 112))
        assert abs(turned) == pytest.approx(18.0, abs=0.5)
        assert shown[0, 0] == shown[-1, -1] == 70


# ---------------------------------------------------------------- what a modality has of its own


def test_the_stain_matrix_separates_its_own_stains():
    haematoxylin, eosin = (np.array(STAINS[k]) / np.linalg.norm(STAINS[k]) for k in (0, 1))
    pixel = 256 * np.exp(-(0.6 * haematoxylin + 0.4 * eosin)) - 1
    image = Image.fromarray(np.broadcast_to(pixel.round().astype(np.uint8), (32, 32, 3)).copy())
    factors = []
    for seed in range(8):
        density = -np.log((apply("stain_shift", image, 1, seed)[0, 0] + 1) / 256)
        found = np.linalg.lstsq(np.stack([haematoxylin, eosin], axis=1), density, rcond=None)[0]
        factors.append((float(found[0] / 0.6), float(found[1] / 0.4)))
    up, down = np.exp(0.25), np.exp(-0.25)
    for h, e in factors:
        wanted = (up, down) if h > 1 else (down, up)
        assert (h, e) == pytest.approx(wanted, abs=0.05)
    assert len({h > 1 for h, _ in factors}) == 2


def test_hairs_are_thin_and_dark_and_more_with_each_severity():
    shares = []
    for severity in (1, 3, 5):
        change = values(grey(220)) - apply("hair", grey(220), severity)
        assert change.min() >= 0
        shares.append((change[..., 0] > 60).mean())
    assert shares == sorted(shares)
    assert 0.005 < shares[0] < 0.05
    assert shares[2] < 0.75


def test_a_ruler_lies_along_one_edge():
    for seed in range(6):
        changed = (apply("ruler", grey(128), 2, seed) != 128).any(axis=2)
        rows, columns = changed.any(axis=1), changed.any(axis=0)
        assert {int(rows.sum()), int(columns.sum())} == {29, 224}


def test_text_is_written_at_the_top_and_the_bottom_in_white():
    changed = (apply("burned_text", grey(40), 2) != 40).any(axis=2)
    assert changed[:15].any()
    assert changed[-15:].any()
    assert not changed[90:130].any()
    assert set(np.unique(apply("burned_text", grey(40), 2))) == {40, 245}


def test_no_text_names_a_person_or_a_finding():
    from palpate.perturbations.overlay import GLYPHS, NOTES

    assert all(set(note) <= set(GLYPHS) for note in NOTES)
    assert not {"NAME", "PATIENT", "ID", "BORN", "NORMAL", "TUMOR", "MASS"} & set(NOTES)


def test_a_marker_sits_in_a_corner():
    corners = set()
    for seed in range(12):
        y, x = np.nonzero((apply("marker", grey(100), 3, seed) != 100).any(axis=2))
        corners.add((y.min() == 0, x.min() == 0))
        assert y.max() - y.min() + 1 == x.max() - x.min() + 1 == round(0.27 * 224)
    assert len(corners) == 4


# ---------------------------------------------------------------- another modality


@pytest.mark.parametrize(
    ("modality", "coloured"), [("brain_mri", True), ("chest_xray", True), ("skin_lesion", False), ("breast_histology", False)]
)
def test_another_modality_is_coloured_where_the_image_is_grey_and_grey_where_it_is_coloured(modality, coloured):
    shown = apply("other_modality", phantom(modality))
    assert bool((shown.max(axis=2) - shown.min(axis=2)).mean() > 20) is coloured
    same = apply("other_modality", phantom(modality, 7))
    assert np.array_equal(shown, same)  # nothing of the image but its size and being grey
    assert not np.array_equal(shown, apply("other_modality", phantom(modality), seed=6))
    assert shown.std() > 20
