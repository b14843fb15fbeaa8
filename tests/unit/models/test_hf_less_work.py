"""What a GPU is spared: the last layer of a beginning, questions to the device, strides, slow kernels. Numbers stay the same."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from palpate.models import _hf_fuse, _hf_last, _hf_places, _hf_prefix  # noqa: E402
from palpate.models._hf_last import keys_and_values_alone  # noqa: E402
from palpate.models._hf_places import places_known  # noqa: E402
from palpate.models._hf_ways import VERIFIED  # noqa: E402

pytestmark = pytest.mark.local
FAMILIES = sorted(VERIFIED)
FEW = {"images_at_once": 2, "max_new_tokens": 3}


def prefills(model, stimuli, monkeypatch):
    """Keys and values of every part's beginning."""
    found = []
    own = _hf_prefix._prefill

    def kept(*given):
        begun = own(*given)
        found.append([(layer.keys.clone(), layer.values.clone()) for layer in begun.cache.layers])
        return begun

    monkeypatch.setattr(_hf_prefix, "_prefill", kept)
    model.ask(stimuli)
    monkeypatch.setattr(_hf_prefix, "_prefill", own)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_and_values_do_not_need_the_end_of_the_last_layer(family, build, images, monkeypatch) -> None:
    model, stimuli = build(family, attend="unrepeated", **FEW), images(2)
    last = model._loaded().loaded.model.get_decoder().layers[-1]
    ran = []
    last.mlp.register_forward_hook(lambda module, given, out: ran.append(out is given[0]))
    short = prefills(model, stimuli, monkeypatch)
    assert ran[0], "the first pass is the beginning's, and its last feed-forward part hands on what it is given"
    assert not ran[-1], "questions run whole"
    monkeypatch.setattr(_hf_last, "_instead", lambda module, forward: pytest.MonkeyPatch.context())
    whole = prefills(model, stimuli, monkeypatch)
    for one, other in zip(short, whole, strict=True):
        for pair, wanted in zip(one, other, strict=True):
            assert all(map(torch.equal, pair, wanted))
    model.close()


def test_the_layer_is_whole_again_afterwards_whatever_happened(build) -> None:
    model = build("llava", attend="unrepeated", compiled=True, **FEW)._loaded().loaded.model
    last = model.get_decoder().layers[-1]
    compiled = last.mlp.forward
    with suppress(KeyboardInterrupt), keys_and_values_alone(model):
        assert last.mlp.forward("states") == "states"
        raise KeyboardInterrupt
    assert last.mlp.forward is compiled
    assert "forward" not in vars(last.self_attn.o_proj)


def test_a_last_layer_of_another_kind_is_run_whole() -> None:
    kinds = (SimpleNamespace(), SimpleNamespace(layers=[]), SimpleNamespace(layers=[SimpleNamespace(mlp=torch.nn.Identity())]))
    for decoder in kinds:
        with keys_and_values_alone(SimpleNamespace(get_decoder=lambda decoder=decoder: decoder)):
            pass
        assert not any("forward" in vars(layer) for layer in getattr(decoder, "layers", []))


# ---------------------------------------------------------------- nothing is asked of the device


class Family:
    """The part of a family's model that looks for the image's places."""

    def __init__(self, found=None, *, wide=True) -> None:
        self.asked, self.found, self.wide = 0, found, wide

    def get_placeholder_mask(self, input_ids, inputs_embeds, image_features):
        self.asked += 1
        own = (input_ids == 7)[..., None]
        own = own.expand_as(inputs_embeds) if self.wide else own
        return own if self.found is None else self.found


IDS, EMBEDS, TOWER = torch.tensor([[1, 7, 7, 2]]), torch.zeros(1, 4, 3), torch.zeros(2, 3)


def asked_of(base, times: int = 3, tower=TOWER):
    return [base.get_placeholder_mask(IDS, inputs_embeds=EMBEDS, image_features=tower) for _ in range(times)]


@pytest.mark.parametrize("wide", [True, False])
def test_a_family_is_asked_once_for_what_the_host_knows(wide, monkeypatch) -> None:
    monkeypatch.setattr(_hf_places, "_wide", {})
    base = Family(wide=wide)
    with places_known(base, 7, 2):
        first, *later = asked_of(base)
    assert base.asked == 1
    assert all(torch.equal(first, mask) for mask in later)
    assert "get_placeholder_mask" not in vars(base)


def test_a_family_that_finds_something_else_keeps_its_own(monkeypatch) -> None:
    monkeypatch.setattr(_hf_places, "_wide", {})
    base = Family(found=(torch.ones(1), None))  # two masks, of images and of videos
    with places_known(base, 7, 2):
        assert asked_of(base, 1) == [base.found]
    with places_known(base, 7, 2):
        assert asked_of(base, 2) == [base.found] * 2
    assert base.asked == 3


def test_as_many_places_as_the_tower_gave(monkeypatch) -> None:
    monkeypatch.setattr(_hf_places, "_wide", {})
    base = Family()
    with places_known(base, 7, 2), pytest.raises(ValueError, match="2 image tokens"):
        asked_of(base, 1, tower=torch.zeros(3, 3))


@pytest.mark.parametrize("family", ["llava", "llava_next", "gemma3", "internvl", "smolvlm"])
def test_families_whose_places_the_host_knows(family, build, images, monkeypatch) -> None:
    """From the second part on; the answers are compared with plain ones elsewhere."""
    monkeypatch.setattr(_hf_places, "_wide", {})
    model = build(family, attend="unrepeated", images_at_once=1, max_new_tokens=2)
    base = type(model._loaded().loaded.model.base_model)
    asked = []
    own = base.get_placeholder_mask
    monkeypatch.setattr(base, "get_placeholder_mask", lambda self, *a, **k: (asked.append(1), own(self, *a, **k))[1])
    model.ask(images(3))
    assert None not in _hf_places._wide.values()
    assert len(asked) == 1
    model.close()


# ---------------------------------------------------------------- memory and kernels


@pytest.mark.parametrize(("size", "channels"), [((28, 42), 3), ((30, 45), 1)])
def test_a_convolution_of_patches_is_one_product(size, channels) -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(channels, 6, kernel_size=14, stride=14)
    assert _hf_fuse.is_of_patches(convolution)
    pixels = torch.randn(3, channels, *size)
    found = _hf_fuse.patches(convolution, pixels)
    torch.testing.assert_close(found, convolution(pixels), atol=2e-6, rtol=1e-5)
    assert found.flatten(2).transpose(1, 2).is_contiguous(), "a patch's numbers are beside one another"


@pytest.mark.parametrize(
    "other",
    [{"stride": 7}, {"padding": 1}, {"dilation": 2, "stride": 14}, {"groups": 3, "stride": 14}, {"padding": "same", "stride": 1}],
)
def test_other_convolutions_are_left_alone(other) -> None:
    assert not _hf_fuse.is_of_patches(torch.nn.Conv2d(3, 6, kernel_size=14, **{"stride": 14, **other}))


def test_a_towers_patches_lie_in_order(build) -> None:
    """Without it a tower without a class token keeps the order its convolution leaves, channel by channel, to its end."""
    model = build("gemma3", attend="unrepeated")._loaded().loaded.model
    tower = next(part for name, part in model.named_modules() if type(part).__name__ == "SiglipVisionEmbeddings")
    with torch.inference_mode():
        assert tower(torch.randn(2, 3, tower.image_size, tower.image_size)).is_contiguous()


def test_parts_are_compiled_for_tables_of_tokens(monkeypatch) -> None:
    shapes = []

    def double(states, *more):
        shapes.append(tuple(states.shape))
        return states * 2

    run = _hf_fuse.over_tokens(double)
    flat, heads = torch.randn(2, 5, 8), torch.randn(2, 5, 3, 8).transpose(1, 2)
    assert torch.equal(run(flat), flat * 2)
    assert torch.equal(run(heads), heads * 2)
    assert run(heads).stride() == heads.stride(), "heads stay in the order they lie in"
    assert torch.equal(run(flat, None), flat * 2)
    assert shapes == [(10, 8), (30, 8), (30, 8), (2, 5, 8)]


@pytest.mark.parametrize("rows_of_cos", [1, 2])
def test_a_rotary_function_over_tables_of_tokens(rows_of_cos) -> None:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as own

    torch.manual_seed(0)
    query, key = torch.randn(2, 5, 4, 8).transpose(1, 2), torch.randn(2, 5, 2, 8).transpose(1, 2)
    cos, sin = torch.randn(rows_of_cos, 5, 8), torch.randn(rows_of_cos, 5, 8)
    run = _hf_fuse.turned(own)
    for found, wanted in zip(run(query, key, cos, sin), own(query, key, cos, sin), strict=True):
        assert torch.equal(found, wanted)
    for found, wanted in zip(run(query, key, cos, sin, unsqueeze_dim=1), own(query, key, cos, sin), strict=True):
        assert torch.equal(found, wanted)
