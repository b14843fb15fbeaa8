"""Layers whose sums and norms are compiled together: the same numbers, to the last bit, as the family's own code gives."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from palpate.models import _hf_fuse, _hf_kernels, _hf_layers  # noqa: E402
from palpate.models._hf_ways import VERIFIED  # noqa: E402

pytestmark = pytest.mark.local


@pytest.mark.parametrize("family", [*sorted(VERIFIED), "gemma2"])
def test_every_layer_gives_what_its_own_code_gives(family, build, monkeypatch) -> None:
    together = []
    monkeypatch.setattr(torch, "compile", lambda f: lambda *given: together.append(f) or f(*given))
    model = build(family, twin="random")._loaded().loaded.model
    decoder, tokens = model.get_decoder(), torch.arange(10, 24).view(2, 7)

    def states():
        with torch.inference_mode():
            return decoder(input_ids=tokens, use_cache=False, output_hidden_states=True).hidden_states

    wanted = states()
    _hf_fuse.fuse(model)
    found = states()
    assert len(found) == len(wanted) > 2
    assert all(map(torch.equal, found, wanted))
    ends = {_hf_layers.sum_and_norm, _hf_layers.norm_sum_and_norm, _hf_layers.norm_and_sum}
    assert sum(one in ends for one in together) >= len(decoder.layers)
    _hf_fuse.Fused.undo(model)
    together.clear()
    assert all(map(torch.equal, states(), wanted))
    assert not together


@pytest.mark.parametrize("name", ["LlamaDecoderLayer", "GraniteDecoderLayer"])
def test_code_that_is_not_known_runs_as_it_is(name) -> None:
    """A checkpoint's own code under a known name, and a family whose layer has the same parts but scales what it adds."""
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    own = type(name, (torch.nn.Module,), {} if name.startswith("Llama") else {"__module__": "transformers.models.granite"})
    assert not _hf_layers.known(own())
    assert _hf_layers.known(LlamaDecoderLayer.__new__(LlamaDecoderLayer))


def part(activation: torch.nn.Module, *, bias: bool = True) -> torch.nn.Module:
    class MLP(torch.nn.Module):
        __module__ = "transformers.models.siglip.modeling_siglip"

        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.activation_fn = torch.nn.Linear(8, 24, bias=bias), torch.nn.Linear(24, 8), activation

        def forward(self, states):
            return self.fc2(self.activation_fn(self.fc1(states)))

    return MLP()


def test_which_feed_forward_parts_end_their_first_product_with_gelu() -> None:
    assert _hf_fuse.is_of_gelu(part(torch.nn.GELU("tanh")))
    assert not _hf_fuse.is_of_gelu(part(torch.nn.GELU()))  # of the error function: another one
    assert not _hf_fuse.is_of_gelu(part(torch.nn.SiLU()))
    assert not _hf_fuse.is_of_gelu(part(torch.nn.GELU("tanh"), bias=False))
    assert not _hf_fuse.is_of_gelu(type("MLP", (type(part(torch.nn.GELU("tanh"))),), {"__module__": "of_a_checkpoint"})())
    quantised = part(torch.nn.GELU("tanh"))
    quantised.fc1 = type("Linear8bit", (torch.nn.Linear,), {})(8, 24)
    assert not _hf_fuse.is_of_gelu(quantised)


def test_gelu_at_the_end_of_the_first_product(monkeypatch) -> None:
    """On a CPU PyTorch takes the error function's there; which one a GPU takes is a test on a GPU."""
    whole, states = part(torch.nn.GELU("tanh")), torch.randn(3, 5, 8)
    assert torch.equal(_hf_fuse.through_gelu(whole, lambda given: given, states), states), (
        "not in half precision on a GPU: as it was"
    )
    monkeypatch.setattr(_hf_kernels, "half_on_gpu", lambda _: True)
    found = _hf_fuse.through_gelu(whole, whole.forward, states)
    torch.testing.assert_close(found, whole.fc2(torch.nn.functional.gelu(whole.fc1(states))), atol=1e-6, rtol=1e-6)


def test_siglips_tower_is_taken(build, monkeypatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda f: f)
    model = build("gemma3")._loaded().loaded.model
    taken = [part for part in model.modules() if type(part).__name__ == "SiglipMLP"]
    assert taken
    assert all(map(_hf_fuse.is_of_gelu, taken))
