"""A processor that looks up and remembers gives what the untouched one gives, bit for bit, for every family and kind of image."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from palpate.models import _hf_tables  # noqa: E402
from palpate.models._hf_encode import Encoder  # noqa: E402
from palpate.models._hf_tables import Remembering, Scaled, hasten  # noqa: E402

pytestmark = pytest.mark.local

FAMILIES = (
    *("llava", "llava_next", "llava_onevision", "gemma3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
    *("idefics3", "smolvlm", "internvl"),
)
RNG = np.random.default_rng(4)


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode]
    values = RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values[..., 0] if channels == 1 else values, mode if channels == 2 else None)


IMAGES = {
    "the size the model sees": noise(32, 32),
    "odd": noise(61, 47),
    "tall": noise(33, 150),
    "large": noise(300, 200),
    "tiny": noise(3, 2),
    "one pixel": noise(1, 1),
    "one pixel high": noise(40, 1),
    "grey": noise(32, 32, "L"),
    "grey and odd": noise(45, 31, "L"),
    "grey with alpha": noise(45, 31, "LA"),
    "with alpha": noise(32, 32, "RGBA"),
    "palette": noise(50, 40).quantize(16),
    "two values": noise(50, 40, "L").convert("1"),
    "16 bit": Image.fromarray(RNG.integers(0, 65536, (40, 50), dtype=np.uint16)),
    "floats": Image.fromarray(RNG.random((40, 50), dtype=np.float32)),
}


@pytest.fixture
def two(build):
    """(the untouched processor, one that looks up) of a family."""

    def get(family: str):
        own = build(family)._loaded().loaded.processor
        return own, hasten(copy.deepcopy(own))

    return get


def result(processor, image, **settings):
    """Its tensors, or the error it ends with."""
    try:
        return dict(processor.image_processor([image], return_tensors="pt", **settings))
    except Exception as fault:  # noqa: BLE001 - what is compared is that both end alike
        return type(fault), str(fault)


def same(found, expected) -> bool:
    if isinstance(expected, tuple):
        return found == expected
    alike = found.keys() == expected.keys()
    return alike and all(equal(found[name], value) for name, value in expected.items())


def equal(found, expected) -> bool:
    if torch.is_tensor(expected):
        return found.dtype == expected.dtype and torch.equal(found, expected)
    return bool(np.array_equal(np.asarray(found, dtype=object), np.asarray(expected, dtype=object)))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_image_is_prepared_bit_for_bit_alike(family, two) -> None:
    own, hastened = two(family)
    taken = 0
    for name, image in IMAGES.items():
        expected = result(own, image)
        assert same(result(hastened, image), expected), name
        assert same(result(hastened, image), expected), f"{name}, again"
        taken += isinstance(expected, dict)
    assert taken > len(IMAGES) // 2, "hardly any image is taken: the comparison says little"


OTHER = {
    "no rescaling": {"do_rescale": False},
    "no normalising": {"do_normalize": False},
    "neither": {"do_rescale": False, "do_normalize": False},
    "no resizing": {"do_resize": False},
    "another mean": {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.7, 0.8, 0.9]},
    "one mean for all": {"image_mean": [0.5] * 3, "image_std": [0.25] * 3},
    "another factor": {"rescale_factor": 1 / 127.5},
    "another factor alone": {"rescale_factor": 1 / 127.5, "do_normalize": False},
    "grey stays grey": {"do_convert_rgb": False},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_other_settings_are_followed_one_after_another(family, two) -> None:
    """On one processor, so that a table of other settings would be seen."""
    own, hastened = two(family)
    for _ in range(2):
        for name, settings in OTHER.items():
            for which in ("the size the model sees", "odd", "grey"):
                assert same(result(hastened, IMAGES[which], **settings), result(own, IMAGES[which], **settings)), (name, which)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_goes_into_the_model_is_alike(family, build) -> None:
    """Tokens too, asked again with another question and another size in between."""
    model = build(family)
    encoder = model._loaded().encoder
    loaded = encoder.loaded
    processor = hasten(copy.deepcopy(loaded.processor))
    other = Encoder(type(loaded)(**fields(loaded, processor)), None)
    asked = [[encoder.render(question, image=True) for question in ("Is it?", "Is it not?")]]
    again = [[encoder.render("What is it?", image=True)]]
    shown = [noise(40, 50), noise(80, 50)]
    for questions, image in ((asked, 0), (again, 0), (asked, 1), (asked, 0), (again, 1)):
        expected, found = encoder.shared(questions, [shown[image]]), other.shared(questions, [shown[image]])
        assert found.ids == expected.ids
        assert same(found.inputs, expected.inputs)
    model.close()


def fields(loaded, processor):
    kept = {name: getattr(loaded, name) for name in loaded.__slots__}
    return {**kept, "processor": processor, "tokenizer": processor.tokenizer}


def test_it_looks_up_instead_of_computing(two, monkeypatch) -> None:
    """Once a table is there the processor's own passes are not run again, nor is Pillow asked for the size an image has."""
    from transformers import image_processing_backends as backends

    _, hastened = two("llava_next")
    expected = result(hastened, IMAGES["the size the model sees"])
    runs = []
    for name in ("np_rescale", "np_normalize"):
        monkeypatch.setattr(backends, name, lambda *_, name=name, **__: runs.append(name))
    assert same(result(hastened, IMAGES["the size the model sees"]), expected)
    assert runs == []
    _, fresh = two("gemma3")
    monkeypatch.setattr(backends, "np_resize", lambda *_, **__: runs.append("np_resize"))
    fresh.image_processor.resize(np.zeros((3, 32, 32), np.uint8), fresh.image_processor.size)
    assert runs == []
    fresh.image_processor.resize(np.zeros((3, 32, 33), np.uint8), fresh.image_processor.size)
    assert runs == ["np_resize"]


def test_what_a_family_defines_itself_stays_its_own(two, monkeypatch) -> None:
    own, _ = two("llava")
    family = type("Darker", (type(own.image_processor),), {"rescale": lambda self, image, scale, **_: image * 0.5})
    own.image_processor.__class__ = family
    hastened = hasten(copy.deepcopy(own))
    for which in ("odd", "the size the model sees"):
        assert same(result(hastened, IMAGES[which]), result(own, IMAGES[which]))
    assert type(hastened.image_processor).__name__ == "Darker"


def test_a_rescaled_image_that_was_changed_is_not_looked_up(two) -> None:
    own, hastened = two("llava")
    images, values = hastened.image_processor, np.asarray(IMAGES["odd"]).transpose(2, 0, 1)
    mean, std = images.image_mean, images.image_std
    rescaled = images.rescale(values, 1 / 255)
    assert isinstance(rescaled, Scaled)
    for changed in (rescaled * 0.5, rescaled[:, ::-1], rescaled.copy()):
        expected = own.image_processor.normalize(np.array(changed), mean, std)
        assert np.array_equal(images.normalize(changed, mean, std), expected)


def test_floats_and_wrong_settings_go_to_the_processor_itself(two) -> None:
    own, hastened = two("llava")
    values = RNG.random((3, 9, 7), dtype=np.float32)
    mean, std = [0.5] * 3, [0.5] * 3
    for name, arguments in {"rescale": (0.5,), "normalize": (mean, std)}.items():
        expected = getattr(own.image_processor, name)(values, *arguments)
        assert np.array_equal(getattr(hastened.image_processor, name)(values, *arguments), expected)
    for processor in (own, hastened):
        with pytest.raises(ValueError, match="mean must have 3 elements"):
            processor.image_processor.normalize(np.zeros((3, 4, 4), np.uint8), [0.5], std)


def test_a_tokenised_text_is_remembered_and_cannot_be_spoilt(two, monkeypatch) -> None:
    own, hastened = two("gemma3")
    tokenizer = hastened.tokenizer
    assert isinstance(tokenizer, Remembering)
    first = tokenizer(["Is it?"], return_tensors="pt", padding=True)
    expected = own.tokenizer(["Is it?"], return_tensors="pt", padding=True)
    assert torch.equal(first["input_ids"], expected["input_ids"])
    first["input_ids"][:] = 0
    first["more"] = 1
    again = tokenizer(["Is it?"], return_tensors="pt", padding=True)
    assert torch.equal(again["input_ids"], expected["input_ids"])
    assert "more" not in again
    assert tokenizer("Is it?")["input_ids"] == own.tokenizer("Is it?")["input_ids"]
    assert tokenizer("Is it?", add_special_tokens=False)["input_ids"] != tokenizer("Is it?")["input_ids"]


def test_no_more_texts_are_kept_than_said(two, monkeypatch) -> None:
    _, hastened = two("gemma3")
    monkeypatch.setattr(_hf_tables, "TEXTS", 3)
    for number in range(8):
        hastened.tokenizer(f"Is it {number}?")
        assert len(type(hastened.tokenizer).remembered) <= 3


def test_an_older_transformers_keeps_its_processor(two, monkeypatch) -> None:
    own, _ = two("llava")
    monkeypatch.setattr(_hf_tables, "_pil", lambda: None)
    found = hasten(copy.deepcopy(own))
    assert type(found.image_processor) is type(own.image_processor)
    assert same(result(found, IMAGES["odd"]), result(own, IMAGES["odd"]))
