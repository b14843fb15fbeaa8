"""How many images go together on a GPU of made-up memory. No GPU is needed: what is reckoned is what is tested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from palpate.models import _hf_identity as identity
from palpate.models import _hf_memory as memory
from palpate.models._hf_memory import Need, fitting, images_at_once, need
from palpate.models._hf_settings import Settings
from palpate.models._hf_ways import VERIFIED

pytest.importorskip("torch")
pytestmark = pytest.mark.local

GB = 10**9
REAL = ("llava", "gemma")
TINY = ("llava", "llava_next", "gemma3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics3", "smolvlm", "llava_onevision", "internvl")


@pytest.fixture
def card(monkeypatch):
    """Sets how much memory the GPU has; None: not known."""

    def put(size: float | None) -> None:
        monkeypatch.setattr(identity, "memory_of", lambda device: None if size is None else int(size))

    return put


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The two measured models in their real sizes: their configs, without weights."""
    from benchmarks.gpu_checkpoints import MAKERS

    def made(name: str) -> Path:
        folder = tmp_path_factory.mktemp(f"real-{name}")
        MAKERS[name](folder)
        return folder

    return {name: identity.Checkpoint(made(name)) for name in REAL}


def at_once(checkpoint: identity.Checkpoint, unrepeated: bool = True, device: str = "cuda", **options) -> memory.AtOnce:
    settings = Settings(path=str(checkpoint.folder), device=device, **options)
    return images_at_once(settings, checkpoint, device, unrepeated, together=True)


# ---------------------------------------------------------------- real sizes


@pytest.mark.parametrize(
    ("name", "gigabytes", "images"),
    [
        ("llava", 150, 64),
        ("llava", 140, 64),
        ("llava", 80, 32),
        ("llava", 40, 16),
        ("llava", 24, 4),
        ("llava", 16, 1),  # the weights fit, an image hardly
        ("llava", 8, 1),  # not even the weights
        ("gemma", 150, 128),
        ("gemma", 140, 128),
        ("gemma", 80, 64),
        ("gemma", 24, 16),
        ("gemma", 8, 1),
    ],
)
def test_a_gpu_of_such_memory_takes_so_many_images(real, card, name, gigabytes, images) -> None:
    card(gigabytes * GB)
    assert at_once(real[name]).images == images


@pytest.mark.parametrize(("name", "images", "measured"), [("llava", 64, 52), ("gemma", 256, 67)])
def test_what_is_reckoned_is_what_a_gpu_was_measured_to_take(real, name, images, measured) -> None:
    """Peaks on an H200 with 12 questions an image and 40 new tokens: reckoned never less, and at most a sixth more."""
    found = need(Settings(path="", device="cuda", max_new_tokens=(40, 40)), real[name], unrepeated=True)
    assert 0.99 * measured <= (found.weights + found.of(images, rows=12)) / GB <= 7 / 6 * measured


@pytest.mark.parametrize(("name", "parameters", "tokens", "token"), [("llava", 7.57, 2928, 131_072), ("gemma", 4.3, 256, 139_264)])
def test_weights_and_keys_and_values_are_those_of_the_real_model(real, name, parameters, tokens, token) -> None:
    found = need(Settings(path="", device="cuda"), real[name], unrepeated=True)
    assert found.weights / 2 / GB == pytest.approx(parameters, rel=0.01)
    assert found.image == (tokens + memory.TEMPLATE) * token


@pytest.mark.parametrize(
    ("options", "unrepeated"),
    [
        ({"dtype": "float32"}, True),
        ({}, False),  # a copy of the image's keys and values for every question
        ({"max_new_tokens": (256, 256)}, True),
    ],
)
def test_what_takes_more_memory_lets_fewer_images_go_together(real, card, options, unrepeated) -> None:
    card(80 * GB)
    for name in REAL:
        assert at_once(real[name], unrepeated, **options).images < at_once(real[name]).images


def test_eager_attention_reckons_with_every_token_on_every_other(real) -> None:
    eager, usual = (
        need(Settings(path="", device="cuda", attn_implementation=how), real["llava"], unrepeated=True) for how in ("eager", None)
    )
    assert eager.reading - usual.reading == 32 * 2928**2 * 6


@pytest.mark.parametrize(("quantized", "images"), [(None, 1), ("int8", 4), ("nf4", 4)])
def test_quantised_weights_leave_more_room(real, card, quantized, images) -> None:
    card(16 * GB)
    assert at_once(real["llava"], quantized=quantized).images == images


def test_an_answer_longer_than_is_usual_counts_as_the_longest_usual_one(real) -> None:
    rows = [need(Settings(path="", device="cuda", max_new_tokens=(n, n)), real["llava"], unrepeated=True).row for n in (256, 2048)]
    assert rows[0] == rows[1]


# ---------------------------------------------------------------- ten families


def test_every_family_that_shares_an_image_is_reckoned_with() -> None:
    assert set(memory.IMAGE) == VERIFIED == set(TINY)


@pytest.mark.parametrize("family", TINY)
def test_an_image_has_no_more_tokens_than_are_reckoned(family, build, images) -> None:
    """The tiny checkpoint's own processor, on images of many shapes, some of them larger than anything it keeps."""
    from PIL import Image

    loaded = build(family)._loaded()
    checkpoint = identity.find(build(family).settings, weights=False)
    config, parameters = memory._made(checkpoint)
    assert parameters == sum(one.numel() for one in loaded.loaded.model.parameters())
    reckoned, _ = memory.IMAGE[family](config, checkpoint.image_settings)
    question = loaded.encoder.render("Is it?", image=True)
    bare = len(loaded.loaded.tokenizer(loaded.encoder.render("Is it?", image=False))["input_ids"])
    found = []
    for shape in ((40, 40), (32, 64), (64, 32), (300, 300), (500, 200), (200, 500), (64, 64)):
        shared = loaded.encoder.shared([[question]], [Image.new("RGB", shape, "grey")])
        found.append(len(shared.ids[0][0]) - bare)
    assert max(found) <= reckoned + memory.TEMPLATE
    assert 3 * max(found) > reckoned  # and the estimate is no wild one


@pytest.mark.parametrize("family", TINY)
def test_a_tiny_checkpoint_lets_as_many_go_together_as_ever_do(family, checkpoint, card) -> None:
    card(24 * GB)
    assert at_once(identity.Checkpoint(checkpoint(family))).images == memory.MOST


@pytest.mark.parametrize(
    ("family", "settings", "factor"),
    [
        ("gemma3", {"do_pan_and_scan": True, "pan_and_scan_max_num_crops": 3}, 4),
        ("internvl", {"crop_to_patches": False}, 1 / 5),
        ("idefics3", {"do_image_splitting": False}, 1 / 5),
        ("qwen2_vl", {"max_pixels": 1024}, 1 / 4),
    ],
)
def test_how_images_are_prepared_counts(family, settings, factor, checkpoint) -> None:
    found = identity.Checkpoint(checkpoint(family))
    config, _ = memory._made(found)
    usual, other = (memory.IMAGE[family](config, {**found.image_settings, **more}) for more in ({}, settings))
    assert [b / a for a, b in zip(usual, other, strict=True)] == pytest.approx([factor, factor])


def test_a_limit_of_pixels_beyond_any_usual_image_is_not_reckoned_with(checkpoint) -> None:
    found = identity.Checkpoint(checkpoint("qwen2_vl"))
    config, _ = memory._made(found)
    assert memory.IMAGE["qwen2_vl"](config, {"max_pixels": 2**24}) == (2**22 // 16**2, 2**22 // 8**2)


def test_onevision_shrinks_what_has_too_many_tiles(checkpoint) -> None:
    config, _ = memory._made(identity.Checkpoint(checkpoint("llava_onevision")))
    config.image_grid_pinpoints = [[32, 32 * n] for n in range(1, 13)]
    whole, one = memory.IMAGE["llava_onevision"](config, {})[0], config.vision_config.image_size // config.vision_config.patch_size
    config.vision_aspect_ratio = "anyres_max_4"
    assert memory.IMAGE["llava_onevision"](config, {})[0] < whole
    assert memory.IMAGE["llava_onevision"](config, {})[0] >= one**2 * (1 + 4)


# ---------------------------------------------------------------- where nothing is known, or something is said


def test_what_the_study_says_wins(real, card) -> None:
    card(140 * GB)
    found = at_once(real["llava"], images_at_once=3)
    assert (found.images, found.by_gpu, found.facts()) == (3, False, {})


@pytest.mark.parametrize(("device", "images"), [("cpu", 1), ("mps", 8)])
def test_without_a_gpu_all_is_as_it_was(real, card, device, images) -> None:
    card(140 * GB)
    found = at_once(real["llava"], device=device)
    assert (found.images, found.by_gpu) == (images, False)


def test_images_that_do_not_go_together_are_not_counted(real, card) -> None:
    card(140 * GB)
    settings = Settings(path="", device="cuda")
    assert images_at_once(settings, real["llava"], "cuda", True, together=False) == memory.AtOnce(8, "no GPU decides it")


def test_eight_where_memory_or_model_is_not_known(real, card, tmp_path) -> None:
    card(None)
    assert at_once(real["llava"]) == memory.AtOnce(8, "how much memory the GPU has is not known here", by_gpu=True)
    card(140 * GB)
    (tmp_path / "config.json").write_text('{"model_type": "llava", "vision_config": {"model_type": "no such thing"}}')
    assert at_once(identity.Checkpoint(tmp_path)) == memory.AtOnce(8, "how much memory an image takes is not known", by_gpu=True)


def test_powers_of_two_that_fit() -> None:
    needed = Need(weights=0, image=10, row=0, reading=5, part=4)
    assert [fitting(needed, room) for room in (-1, 0, 15, 30, 59, 60, 100, 10**9)] == [1, 1, 1, 2, 2, 4, 8, 256]
    assert fitting(replace(needed, row=10), 250) == 1  # 24 questions of 10 each


def test_only_one_part_is_read_at_a_time() -> None:
    needed = Need(weights=0, image=1, row=1, reading=100, part=4)
    assert [needed.of(n, rows=2) for n in (1, 4, 8)] == [101, 404, 408]
    assert needed.of(300, rows=2) == 300 + 600


# ---------------------------------------------------------------- in the model


def test_in_half_precision_the_number_is_identity_and_settled(build, card) -> None:
    prints, known = [], []
    for size in (24 * GB, 0.02 * GB):
        card(size)
        model = build("llava", device="cuda")
        prints.append(model.fingerprint())
        known.append(model.at_once.images)
        assert prints[-1].identity["images_at_once"] == known[-1]
        assert prints[-1].settled == {"images_at_once": known[-1]}
        assert prints[-1].environment["images_at_once"] == known[-1]
        assert "24 questions" in prints[-1].environment["images_at_once_because"]
        assert model.blocks_at_once == known[-1]
    assert known[0] == 256 > known[1]
    told = build("llava", device="cuda", images_at_once=256).fingerprint()
    assert told.identity == prints[0].identity  # goes on elsewhere as the same model
    assert told.settled == {}


def test_in_float32_it_is_no_part_of_what_the_model_is(build, card) -> None:
    found = []
    for size in (24 * GB, 0.02 * GB):
        card(size)
        found.append(build("llava", device="cuda", dtype="float32").fingerprint())
    assert found[0].identity == found[1].identity
    assert [one.settled for one in found] == [{}, {}]
    assert found[0].environment["images_at_once"] == 256 > found[1].environment["images_at_once"]


@pytest.mark.parametrize("options", [{"device": "cpu"}, {"device": "cpu", "dtype": "bfloat16"}])
def test_on_a_cpu_nothing_is_settled_or_said(build, card, options) -> None:
    card(24 * GB)
    model = build("llava", **options)
    found = model.fingerprint()
    assert found.settled == {}
    assert "images_at_once" not in found.environment
    assert (model.at_once.images, model.blocks_at_once) == (1, 8)


@pytest.mark.parametrize(("name", "options"), [("reader", {}), ("llava", {"text_only": True}), ("llava", {"inference": "single"})])
def test_a_model_whose_images_never_go_together_does_not_depend_on_the_gpu(build, card, name, options) -> None:
    card(24 * GB)
    found = build(name, device="cuda", **options).fingerprint()
    assert found.identity["images_at_once"] == 8
    assert found.settled == {}


def test_the_batches_are_of_that_size(build, images, monkeypatch, card) -> None:
    card(24 * GB)
    model = build("llava", device="cuda")
    monkeypatch.setattr(memory, "MOST", 2)
    assert [len(batch) for batch in model._batches(images(5))] == [2, 2, 1]


# ---------------------------------------------------------------- the GPU


def gpus(monkeypatch, sizes, version="2.13.0+cu130"):
    import torch

    class Card:
        def __init__(self, size: int) -> None:
            self.total_memory = size

    def properties(device):
        if (device.index or 0) >= len(sizes):
            raise AssertionError("Invalid device id")
        return Card(sizes[device.index or 0])

    monkeypatch.setattr(identity, "_version", lambda package: version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(sizes))
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)


def test_memory_is_that_of_the_gpu_named(monkeypatch) -> None:
    gpus(monkeypatch, [10, 20])
    assert [identity.memory_of(device) for device in ("cuda", "cuda:0", "cuda:1", "cuda:2", "cuda:x")] == [10, 10, 20, None, None]


def test_no_gpu_no_memory(monkeypatch) -> None:
    gpus(monkeypatch, [])
    assert identity.memory_of("cuda") is None
    gpus(monkeypatch, [10], version="2.13.0+cpu")
    assert identity.memory_of("cuda") is None  # torch is not even asked
