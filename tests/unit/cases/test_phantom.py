"""Phantoms: pure functions of their name, planted as said, and no label but through the evidence."""

from __future__ import annotations

import pickle
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import kstest

from palpate.cases import phantom
from palpate.cases._phantom.latent import Latent, draw_latent, stream
from palpate.cases._phantom.primitives import grid, inside, mix, radius, smooth_noise
from palpate.cases.phantom import D_PRIME, MODALITIES, PhantomImage, PhantomSource, best_accuracy, draw, render
from palpate.errors import PalpateError, SourceError, UnknownName
from palpate.parts import Labels, Sample

SOURCE = PhantomSource()


def latents(modality: str, count: int) -> list[Latent]:
    return [draw_latent(modality, i, "test", 0, D_PRIME[modality]) for i in range(count)]


def with_conspicuity(latent: Latent, k: float) -> Latent:
    """The same phantom with the disease as visible as ``k`` says, whatever its label."""
    offset, scale = phantom.CONSPICUITY[latent.modality]
    return replace(latent, evidence=offset + scale * float(np.log(k / (1 - k))))


@pytest.mark.parametrize("modality", MODALITIES)
class TestEveryModality:
    def test_the_same_name_is_the_same_image_in_any_order(self, modality: str) -> None:
        forwards = [draw(modality, i).image for i in range(4)]
        backwards = [draw(modality, i).image for i in reversed(range(4))][::-1]
        assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))

    def test_images_are_rgb_bytes_with_contrast(self, modality: str) -> None:
        image = draw(modality, 3).image
        assert image.shape == (96, 96, 3)
        assert image.dtype == np.uint8
        assert image.std() > 10

    def test_splits_seeds_and_indices_differ(self, modality: str) -> None:
        images = [draw(modality, 5), draw(modality, 6), draw(modality, 5, split="train"), draw(modality, 5, seed=1)]
        assert len({p.image.tobytes() for p in images}) == len(images)

    @pytest.mark.parametrize("size", [64, 224])
    def test_other_sizes(self, modality: str, size: int) -> None:
        found = draw(modality, 1, size=size)
        assert found.image.shape == (size, size, 3)
        assert found.mask.shape == (size, size)

    def test_two_images_share_a_patient_and_its_label(self, modality: str) -> None:
        pairs = [(draw(modality, 2 * i), draw(modality, 2 * i + 1)) for i in range(4)]
        assert all(a.patient == b.patient and a.label == b.label for a, b in pairs)
        assert len({a.patient for a, _ in pairs}) == 4
        assert any(not np.array_equal(a.image, b.image) for a, b in pairs)

    def test_labels_are_balanced(self, modality: str) -> None:
        labels = [latent.label for latent in latents(modality, 400)]
        assert sum(labels) == 200

    def test_evidence_is_normal_about_half_d_prime(self, modality: str) -> None:
        found = latents(modality, 3000)
        centred = [latent.evidence - (2 * latent.label - 1) * D_PRIME[modality] / 2 for latent in found]
        assert kstest(centred, "norm").pvalue > 0.001

    def test_the_best_reader_reaches_what_is_promised(self, modality: str) -> None:
        found = latents(modality, 8000)
        right = np.mean([(latent.evidence > 0) == (latent.label == 1) for latent in found])
        promised = NormalDist().cdf(D_PRIME[modality] / 2)
        assert best_accuracy(D_PRIME[modality]) == pytest.approx(promised)
        assert abs(right - promised) < 4 * np.sqrt(promised * (1 - promised) / 8000)

    def test_the_label_itself_changes_no_pixel(self, modality: str) -> None:
        for latent in latents(modality, 6):
            other = replace(latent, label=1 - latent.label)
            assert np.array_equal(render(latent, 64).image, render(other, 64).image)

    def test_more_conspicuous_disease_changes_more_pixels(self, modality: str) -> None:
        changes = []
        for k in (0.1, 0.4, 0.7, 0.95):
            each = [
                np.abs(render(with_conspicuity(latent, k), 64).image - render(with_conspicuity(latent, 0.001), 64).image).mean()
                for latent in latents(modality, 8)
            ]
            changes.append(np.mean(each))
        assert changes == sorted(changes)
        assert changes[-1] > 2 * changes[0]

    def test_metadata_says_what_was_drawn(self, modality: str) -> None:
        facts = draw(modality, 0).metadata
        assert {"evidence", "conspicuity", "difficulty", "lesion_diameter", "contrast", "size", "side"} <= set(facts)
        assert 0 <= float(facts["difficulty"] or 0) <= 1
        assert facts["size"] in ("small", "medium", "large")
        assert all(value is None or isinstance(value, (str, int, float, bool)) for value in facts.values())

    def test_what_is_drawn_once_for_several_uses_cannot_be_written_to(self, modality: str) -> None:
        one, same = (PhantomImage(modality, 0, "test", 0, 96, D_PRIME[modality]) for _ in range(2))
        assert one.phantom() is same.phantom()
        for held in (one.phantom().image, one.phantom().mask):
            with pytest.raises(ValueError, match="read-only"):
                held[0] = 0
        assert np.array_equal(np.asarray(one.open()), one.phantom().image)
        one.open().putpixel((0, 0), (1, 2, 3))  # a picture of its own

    def test_an_image_survives_pickling(self, modality: str) -> None:
        case = SOURCE.load({"modality": modality}, Labels(), Sample(per_class=1)).cases[0]
        again = pickle.loads(pickle.dumps(case))
        assert np.array_equal(np.asarray(case.image.open()), np.asarray(again.image.open()))


@pytest.mark.parametrize("modality", ["brain_mri", "chest_xray"])
def test_the_mask_is_where_the_image_changes(modality: str) -> None:
    hits = []
    for latent in latents(modality, 20):
        seen, unseen = render(with_conspicuity(latent, 0.9), 96), render(with_conspicuity(latent, 0.001), 96)
        mask = seen.lesion > phantom.VISIBLE_COVER
        if mask.sum() < 30:  # an opacity behind the heart is drawn, but hardly in the lung
            continue
        change = np.abs(seen.image - unseen.image).mean(axis=2)
        hits.append(change[mask].mean() / change[~mask].mean())
    assert len(hits) >= 10
    assert np.median(hits) > 2


def test_where_nothing_can_be_seen_the_mask_is_empty() -> None:
    for modality in ("brain_mri", "chest_xray"):
        assert not (render(with_conspicuity(latents(modality, 1)[0], 0.01), 96).lesion > phantom.VISIBLE_COVER).any()


def test_difficulty_is_least_where_the_evidence_is_strongest() -> None:
    latent = latents("brain_mri", 1)[0]
    ranks = [replace(latent, evidence=m).difficulty for m in (0.0, 0.3, 1.0, 3.0)]
    assert ranks[0] == pytest.approx(1.0)
    assert ranks == sorted(ranks, reverse=True)


def test_a_simple_reader_sees_the_brain_tumours() -> None:
    # Ridge on blurred pixels: far from the best reader, and clearly better than chance.
    def features(start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        found = [draw("brain_mri", i, split="train") for i in range(start, start + count)]
        pixels = np.stack([p.image[..., 0].reshape(12, 8, 12, 8) for p in found]).astype(float)
        blocks = np.concatenate([pixels.mean((2, 4)).reshape(count, -1), pixels.max((2, 4)).reshape(count, -1)], axis=1)
        sides = np.abs(pixels.mean((2, 4)) - pixels.mean((2, 4))[:, :, ::-1]).reshape(count, -1)  # a tumour breaks symmetry
        return np.concatenate([blocks, sides], axis=1), np.array([2 * p.label - 1 for p in found])

    x, y = features(0, 700)
    z, truth = features(700, 300)
    centre, scale = x.mean(0), x.std(0) + 1e-9
    x, z = (x - centre) / scale, (z - centre) / scale
    weights = np.linalg.solve(x.T @ x + 300 * np.eye(x.shape[1]), x.T @ y)
    assert np.mean(np.sign(z @ weights) == truth) > 0.62  # five standard errors above chance


class TestSource:
    def load(self, per_class: int | None = 5, sample_seed: int = 0, **options: object) -> phantom.CaseSet:
        return SOURCE.load({"modality": "chest_xray", **options}, Labels(), Sample(per_class, sample_seed))

    def test_classes_are_balanced_and_ids_unique(self) -> None:
        cases = self.load(7).cases
        assert [sum(c.label == label for c in cases) for label in (0, 1)] == [7, 7]
        assert len({c.id for c in cases}) == 14
        assert len({c.digest for c in cases}) == 14

    def test_two_cases_share_a_group(self) -> None:
        groups = [c.group for c in self.load(10).cases]
        assert len(set(groups)) == 10

    def test_the_best_accuracy_comes_with_the_cases(self) -> None:
        assert self.load().best_accuracy == pytest.approx(0.92, abs=0.001)
        assert self.load(d_prime=0).best_accuracy == 0.5

    def test_it_is_stable_and_the_seed_draws_other_patients(self) -> None:
        assert self.load() == self.load()
        first, second = ({c.group for c in self.load(6 * (s + 1), sample_seed=s).cases} for s in (0, 1))
        assert not first & second

    def test_a_larger_sample_holds_the_smaller(self) -> None:
        for seed in (0, 3, -2):
            assert {c.id for c in self.load(4, seed).cases} <= {c.id for c in self.load(9, seed).cases}

    def test_every_case_carries_its_lesions_facts(self) -> None:
        assert all({"lesion_diameter", "contrast", "difficulty", "conspicuity"} <= set(c.metadata) for c in self.load(3).cases)

    def test_a_default_sample(self) -> None:
        assert len(self.load(None).cases) == 200

    def test_pixels_are_those_of_draw(self) -> None:
        case = self.load(1).cases[0]
        assert isinstance(case.image, PhantomImage)
        assert np.array_equal(np.asarray(case.image.open()), draw("chest_xray", case.image.index).image)
        assert np.array_equal(case.image.mask(), draw("chest_xray", case.image.index).mask)

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"modality": "brain"}, "brain_mri"),
            ({"modality": None}, "brain_mri"),
            ({"sise": 96}, "size"),
            ({"size": 8}, "32 to 1024"),
            ({"size": "96"}, "32 to 1024"),
            ({"seed": 0.5}, "whole number"),
            ({"split": ""}, "a word"),
            ({"d_prime": -1}, "0 to 10"),
        ],
    )
    def test_bad_options_are_named(self, options: dict[str, object], named: str) -> None:
        with pytest.raises(PalpateError, match=named) as fault:
            self.load(**options)
        assert isinstance(fault.value, (SourceError, UnknownName))


def test_an_unknown_modality_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="skin_lesion"):
        draw("skin_lesions", 0)


class TestPrimitives:
    def test_streams_depend_on_their_name_alone(self) -> None:
        assert stream("a", 1).integers(1 << 30) == stream("a", 1).integers(1 << 30)
        assert stream("a", 1).integers(1 << 30) != stream("a", 2).integers(1 << 30)

    def test_noise_is_centred_with_about_unit_variance(self) -> None:
        planes = np.stack([smooth_noise(stream(i), 96, 6) for i in range(200)])
        assert abs(planes.mean()) < 0.1
        assert 0.6 < planes.std() < 1.2

    def test_shapes(self) -> None:
        x, y = grid(64)
        out = radius(x, y, (0.0, 0.0), (0.5, 0.25), np.pi / 2)
        assert out[32, 40] == pytest.approx(float(np.hypot(x[32, 40] / 0.25, y[32, 40] / 0.5)), rel=1e-4)
        edge = inside(1 - out, 0.1)
        assert edge.max() == 1
        assert edge.min() == 0

    def test_mix_is_opaque_where_share_is_one(self) -> None:
        under, over = np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)
        assert mix(under, over, np.float32(1)).min() == 1
        assert mix(under, over, np.float32(0)).max() == 0
