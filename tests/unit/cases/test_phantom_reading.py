"""What can be seen in phantoms: where the mask lies, that listing draws nothing, and that tasks get harder in their order."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from palpate.cases import phantom
from palpate.cases._phantom.latent import draw_latent
from palpate.cases.phantom import D_PRIME, MODALITIES, PhantomSource, best_accuracy, draw
from palpate.errors import SourceError
from palpate.parts import Labels, Sample

SOURCE = PhantomSource()


def refuse(*_: object) -> None:
    raise AssertionError("drawn while listing")


class TestListing:
    def test_nothing_is_drawn_until_a_drawn_fact_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(phantom, "render", refuse)
        case = SOURCE.load({"modality": "brain_mri"}, Labels(), Sample(2)).cases[0]
        assert 0 < case.metadata["conspicuity"] < 1
        with pytest.raises(AssertionError, match="drawn while listing"):
            case.metadata["lesion_diameter"]

    @pytest.mark.parametrize("modality", MODALITIES)
    def test_listed_facts_are_those_of_the_drawing(self, modality: str) -> None:
        case = SOURCE.load({"modality": modality}, Labels(), Sample(1)).cases[0]
        drawn = draw(modality, case.image.index).metadata  # type: ignore[attr-defined]
        assert dict(case.metadata) == dict(drawn)
        assert list(case.metadata) == list(drawn)
        assert len(case.metadata) == len(drawn)
        assert repr(case.metadata) == repr(dict(drawn))
        assert dict(pickle.loads(pickle.dumps(case.metadata))) == dict(drawn)

    def test_cases_limits_what_is_drawn(self) -> None:
        def count(per_class: int | None, **options: int) -> list[int]:
            cases = SOURCE.load({"modality": "brain_mri", **options}, Labels(), Sample(per_class)).cases
            return [sum(c.label == label for c in cases) for label in (0, 1)]

        assert count(None, cases=8) == [4, 4]
        assert count(3, cases=8) == [3, 3]
        assert count(9, cases=8) == [4, 4]

    @pytest.mark.parametrize("cases", [0, 6, -4, True, "8", 4.0])
    def test_a_bad_number_of_cases_is_named(self, cases: object) -> None:
        with pytest.raises(SourceError, match="multiple of 4"):
            SOURCE.load({"modality": "brain_mri", "cases": cases}, Labels(), Sample(1))

    def test_seeds_a_thousand_apart_draw_other_patients(self) -> None:
        groups = [{c.group for c in SOURCE.load({"modality": "brain_mri"}, Labels(), Sample(3, s)).cases} for s in (0, 1000, -1)]
        assert not groups[0] & groups[1]
        assert not groups[0] & groups[2]


def planes(modality: str, k: float, count: int) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    offset, scale = phantom.CONSPICUITY[modality]
    found = []
    for i in range(count):
        latent = replace(draw_latent(modality, i, "test", 0, 1.0), evidence=offset + scale * float(np.log(k / (1 - k))))
        drawing = phantom.render(latent, 96)
        found.append((drawing.image, drawing.lesion > phantom.VISIBLE_COVER))
    return found


class TestMask:
    def test_brain_mask_overlaps_the_change(self) -> None:
        # Intersection over union with the most changed pixels, as many as the mask has.
        scores = []
        for (seen, mask), (unseen, _) in zip(planes("brain_mri", 0.9, 16), planes("brain_mri", 0.002, 16), strict=True):
            change = np.abs(seen - unseen).mean(axis=2)
            top = change >= np.sort(change, axis=None)[-max(1, int(mask.sum()))]
            scores.append((mask & top).sum() / (mask | top).sum())
        assert np.median(scores) > 0.4  # a place drawn at random scores about 0.02

    def test_skin_mask_is_the_pigmented_lesion(self) -> None:
        for image, mask in planes("skin_lesion", 0.5, 12):
            assert 200 < mask.sum() < 6000
            near = np.zeros_like(mask)
            near[24:72, 24:72] = True  # clear of the vignette
            assert image[mask].mean() < image[near & ~mask].mean()

    def test_histology_mask_is_richer_in_haematoxylin(self) -> None:
        # Haematoxylin absorbs red, eosin hardly does: nests of nuclei are darker in the red channel.
        darker = [image[..., 0][mask].mean() < image[..., 0][~mask].mean() for image, mask in planes("breast_histology", 0.9, 12)]
        assert np.mean(darker) > 0.9


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.local
def test_the_tasks_get_harder_in_order_and_no_reader_beats_its_best() -> None:
    # A small network regresses the evidence (more to learn from than the label) and is scored on the label by its sign.
    pytest.importorskip("torch")
    trained, tested = 2000, 800
    reached = {modality: read(modality, trained, tested) for modality in MODALITIES}
    assert list(reached) == sorted(reached, key=lambda m: -reached[m])
    for modality, accuracy in reached.items():
        best = best_accuracy(D_PRIME[modality])
        assert 0.6 < accuracy < best + 4 * np.sqrt(best * (1 - best) / tested)


def read(modality: str, trained: int, tested: int) -> float:
    """Accuracy of a small convolutional network, trained on the split ``train``, on the split ``test``."""
    import torch
    from torch import nn

    def drawn(split: str, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        found = [draw(modality, i, split=split, size=64) for i in range(count)]
        pixels = torch.from_numpy(np.stack([p.image for p in found])).permute(0, 3, 1, 2).float() / 128 - 1
        return pixels, torch.tensor([p.evidence for p in found]), torch.tensor([p.label for p in found])

    torch.manual_seed(0)
    stages: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        stages += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(
        *stages, nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 1)
    )
    x, evidence, _ = drawn("train", trained)
    epochs, batch = 8, 50
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * trained // batch)
    for _ in range(epochs):
        for rows in torch.randperm(trained).split(batch):
            turned = x[rows].flip(3) if torch.rand(()) < 0.5 and modality != "chest_xray" else x[rows]
            loss = nn.functional.mse_loss(network(turned)[:, 0], evidence[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    network.eval()
    z, _, label = drawn("test", tested)
    with torch.no_grad():
        says = torch.cat([network(part)[:, 0] for part in z.split(100)]) > 0
    return float((says == (label == 1)).float().mean())
