"""What only a GPU can show: `make test-gpu`. PALPATE_TEST_DEVICE=cpu runs what does not need one, to test the tests."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch")

from palpate.models import _hf_kernels, _hf_step  # noqa: E402
from palpate.models._hf_ways import VERIFIED  # noqa: E402

DEVICE = os.environ.get("PALPATE_TEST_DEVICE", "cuda")
HALF = torch.float32 if DEVICE == "cpu" else torch.bfloat16  # Triton's interpreter knows no bfloat16
pytestmark = [
    pytest.mark.local,
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no GPU"),
]


@pytest.fixture(autouse=True)
def nothing_is_compiled_without_a_gpu(monkeypatch) -> None:
    if DEVICE == "cpu":
        monkeypatch.setattr(torch, "compile", lambda f: f)


def off(found, wanted) -> float:
    """‖found − wanted‖ / ‖wanted‖."""
    return float((found.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(
    ("kv", "group", "size", "counts", "length"),
    [(8, 4, 128, [12] * 4, 2934), (4, 2, 256, [12] * 4, 264), (2, 7, 64, [12, 3, 5, 1], 133), (8, 1, 128, [24, 7], 61)],
)
def test_a_decoding_step_in_half_precision_is_that_of_float64(kv, group, size, counts, length) -> None:
    torch.manual_seed(0)
    rows, width, used = sum(counts), max(counts), 70
    owners = [image for image, count in enumerate(counts) for _ in range(count)]
    table = torch.full((len(counts), width), -1, dtype=torch.int32)
    row = 0
    for image, count in enumerate(counts):
        table[image, :count] = torch.arange(row, row + count, dtype=torch.int32)
        row += count
    make = {"device": DEVICE, "dtype": HALF}
    query = torch.randn(rows, 1, kv * group, size, **make).transpose(1, 2)
    prefix = tuple(torch.randn(len(counts), length, kv, size, **make).transpose(1, 2) for _ in range(2))
    own = tuple(torch.randn(rows, kv, 96, size, **make) for _ in range(2))
    for states in own:
        states[:, :, used:] = float("nan")
    begins = torch.tensor([0, *torch.randint(0, length, (len(counts) - 1,)).tolist()], dtype=torch.int32, device=DEVICE)
    starts = torch.randint(0, used, (rows,), dtype=torch.int32, device=DEVICE)
    written = torch.tensor([used], dtype=torch.int32, device=DEVICE)
    found = _hf_kernels.decode(query, prefix, begins, own, starts, table.to(DEVICE), written, size**-0.5)
    for row, image in enumerate(owners):
        keys, values = (
            torch.cat([whole[image, :, begins[image] :], mine[row, :, starts[row] : used]], 1).double().repeat_interleave(group, 0)
            for whole, mine in zip(prefix, own, strict=True)
        )
        weights = (torch.einsum("hd,hnd->hn", query[row, :, 0].double(), keys) * size**-0.5).softmax(-1)
        assert off(found[row, 0], torch.einsum("hn,hnd->hd", weights, values)) < 1e-2


def test_a_layer_norm_in_half_precision_is_that_of_float64() -> None:
    torch.manual_seed(0)
    module = torch.nn.LayerNorm(1152, eps=1e-6).to(DEVICE, HALF)
    module.requires_grad_(False)
    states = torch.randn(5, 7, 1152, device=DEVICE, dtype=HALF) * 3 + 1
    wanted = torch.nn.functional.layer_norm(states.double(), (1152,), module.weight.double(), module.bias.double(), 1e-6)
    assert off(_hf_kernels.layer_norm(states, module), wanted) < 1e-2


def told(model, stimuli):
    """The tokens of every row."""
    ready = model._loaded()
    rows = [model._rows(ready, one) for one in stimuli]
    model._fill(ready, rows, [one.image for one in stimuli])
    return [row.tokens for own in rows for row in own]


@pytest.mark.parametrize("family", sorted(VERIFIED))
def test_float32_gives_the_tokens_of_one_question_at_a_time(family, build, images, monkeypatch) -> None:
    """All that is fast together: images prepared and sent beside, parts, compiled kernels, captured steps."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    stimuli = images(3)
    settings = {"device": DEVICE, "dtype": "float32", "max_new_tokens": 24, "min_new_tokens": 24}
    slow = build(family, inference="single", **settings)
    wanted = told(slow, stimuli)
    slow.close()
    replayed = []
    own = _hf_step.Step.__call__

    def call(step, inputs):
        out = own(step, inputs)
        replayed.append(step.graph is not None)
        return out

    monkeypatch.setattr(_hf_step.Step, "__call__", call)
    fast = build(family, attend="unrepeated", compiled=True, images_at_once=3, **settings)
    for _ in range(2):  # the second time with all that the first has built
        assert told(fast, stimuli) == wanted
    fast.close()
    if DEVICE == "cuda":
        assert sum(replayed) > len(replayed) / 2, "most steps are replayed"


@pytest.mark.parametrize("family", ["llava_next", "gemma3"])
def test_memory_is_let_go_between_batches_and_at_the_end(family, build, images) -> None:
    if DEVICE == "cpu":
        pytest.skip("there is no device memory")
    model = build(family, attend="unrepeated", compiled=True, images_at_once=2, device=DEVICE, max_new_tokens=24, min_new_tokens=24)
    held = []
    for _ in range(4):
        model.ask(images(4))
        torch.cuda.synchronize()
        held.append(torch.cuda.memory_allocated())
    assert max(held[1:]) <= held[1] * 1.01
    model.close()
    assert torch.cuda.memory_allocated() < held[0] / 4


@pytest.mark.parametrize("bits", ["int8", "nf4"])
def test_quantised_weights_answer(bits, build, images) -> None:
    pytest.importorskip("bitsandbytes")
    model = build("llava", quantized=bits, device=DEVICE, images_at_once=2)
    assert model.fingerprint().identity["quantized"] == bits
    assert all(not a.error for row in model.ask(images(2)) for a in row)
    model.close()
