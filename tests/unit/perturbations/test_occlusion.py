"""The lesion goes, as much goes elsewhere, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from palpate.cases.phantom import draw
from palpate.executors._work import present
from palpate.nouns import Block, Case, Perturbation
from palpate.parts import MaskedFamily, MaskedImage
from palpate.perturbations.occlusion import OccludeLesion, OccludeMatched, matched_region
from palpate.registry import part

LESIONS = [("brain_mri", 6), ("brain_mri", 1), ("chest_xray", 6), ("skin_lesion", 0), ("breast_histology", 7)]


def rng(seed: int = 2) -> np.random.Generator:
    return np.random.default_rng(seed)


def changed(before: np.ndarray, after: Image.Image | None) -> np.ndarray:
    return (np.asarray(after).astype(int) != before).any(axis=2)


@pytest.mark.parametrize(("modality", "index"), LESIONS)
def test_the_lesion_is_covered_by_one_colour_and_the_rest_is_left(modality, index):
    phantom = draw(modality, index)
    assert phantom.mask.any()
    shown = OccludeLesion().apply(Image.fromarray(phantom.image), 0, rng(), phantom.mask)
    assert len(np.unique(np.asarray(shown)[phantom.mask], axis=0)) == 1
    where = changed(phantom.image, shown)
    from scipy.ndimage import distance_transform_edt

    assert not where[distance_transform_edt(~phantom.mask) > 0.02 * 96].any()


@pytest.mark.parametrize(("modality", "index"), LESIONS)
def test_the_matched_region_is_as_large_and_shares_no_pixel_with_the_lesion(modality, index):
    phantom = draw(modality, index)
    image = Image.fromarray(phantom.image)
    lesion, matched = (f.apply(image, 0, rng(), phantom.mask) for f in (OccludeLesion(), OccludeMatched()))
    there, elsewhere = changed(phantom.image, lesion), changed(phantom.image, matched)
    assert not (elsewhere & phantom.mask).any()
    # A covered pixel that had that very colour does not count as changed.
    assert elsewhere.sum() == pytest.approx(there.sum(), rel=0.35)
    assert matched.tobytes() == OccludeMatched().apply(image, 0, rng(), phantom.mask).tobytes()


def test_the_matched_region_has_the_shape_where_there_is_room():
    pixels = np.full((80, 80, 3), 90, np.float32)
    lesion = np.zeros((80, 80), bool)
    lesion[10:24, 10:20] = True
    lesion[12:14, 12:18] = False
    region = matched_region(pixels, lesion, rng())
    assert region.sum() == lesion.sum()
    assert not (region & lesion).any()
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    assert np.array_equal(region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], lesion[10:24, 10:20])


def test_tissue_is_preferred_to_background():
    pixels = np.zeros((80, 80, 3), np.float32)
    pixels[:, 40:] = 120  # tissue on the right
    lesion = np.zeros((80, 80), bool)
    lesion[30:44, 50:64] = True
    region = matched_region(pixels, lesion, rng())
    assert np.nonzero(region)[1].min() >= 40


def test_a_lesion_too_large_for_a_twin_is_matched_by_as_many_pixels_of_the_rest():
    pixels = np.full((60, 60, 3), 90, np.float32)
    lesion = np.zeros((60, 60), bool)
    lesion[12:48, 12:48] = True
    region = matched_region(pixels, lesion, rng())
    assert region.sum() == lesion.sum()
    assert not (region & lesion).any()
    lesion[:] = True
    assert not matched_region(pixels, lesion, rng()).any()


@pytest.mark.parametrize("family", [OccludeLesion(), OccludeMatched()], ids=lambda f: f.name)
def test_where_nothing_is_masked_nothing_is_covered(family):
    image = Image.fromarray(draw("chest_xray", 1).image)
    assert isinstance(family, MaskedFamily)
    for mask in (None, np.zeros((96, 96), bool)):
        assert family.apply(image, 0, rng(), mask).tobytes() == image.tobytes()


def test_a_mask_of_another_size_is_fitted_to_the_image():
    phantom = draw("skin_lesion", 0)
    large = Image.fromarray(phantom.image).resize((192, 192))
    shown = OccludeLesion().apply(large, 0, rng(), phantom.mask)
    where = changed(np.asarray(large).astype(int), shown)
    assert where.mean() == pytest.approx(phantom.mask.mean(), rel=0.25)


# ---------------------------------------------------------------- on the way to a model


def block(image: object, name: str) -> Block:
    case = Case("c", 1, "g", "digest", image)  # type: ignore[arg-type]
    return Block("m", "t", case, Perturbation(name), ())


def test_the_case_s_own_mask_reaches_the_family():
    source = part("cases", "phantom")
    from palpate.parts import Labels, Sample

    case = next(c for c in source.load({"modality": "skin_lesion"}, Labels(), Sample(2)).cases)
    assert isinstance(case.image, MaskedImage)
    stimulus = present(block(case.image, "occlude_lesion"), 0)
    where = changed(np.asarray(case.image.open()).astype(int), stimulus.image)
    assert where[case.image.mask()].mean() > 0.95


def test_an_image_without_a_mask_is_a_failure_of_that_question():
    class Plain:
        def open(self) -> Image.Image:
            return Image.new("RGB", (20, 20))

    with pytest.raises(ValueError, match="no mask"):
        present(block(Plain(), "occlude_matched"), 0)
    assert present(block(Plain(), "blank"), 0).image is not None
