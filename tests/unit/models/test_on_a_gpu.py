"""What only a GPU can show: `make test-gpu`. PALPATE_TEST_DEVICE=cpu runs what does not need one, to test the tests."""

from __future__ import annotations

import os
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from palpate.models import _hf_attend, _hf_fuse, _hf_kernels, _hf_step  # noqa: E402
from palpate.models._hf_ways import VERIFIED  # noqa: E402

DEVICE = os.environ.get("PALPATE_TEST_DEVICE", "cuda")
HALF = torch.float32 if DEVICE == "cpu" else torch.bfloat16  # Triton's interpreter knows no bfloat16
pytestmark = [
    pytest.mark.local,
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),  # of whichever versions fit this GPU
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no GPU"),
]


@pytest.fixture(autouse=True)
def nothing_is_compiled_without_a_gpu(monkeypatch) -> None:
    if DEVICE == "cpu":
        monkeypatch.setattr(torch, "compile", lambda f: f)


def is_there(module: str) -> bool:
    """Whether a module of a package that may be missing can be imported."""
    return find_spec(module.split(".")[0]) is not None and find_spec(module) is not None


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


@pytest.mark.parametrize("library", ["cudnn", "flash"])
@pytest.mark.parametrize(
    ("kv", "group", "size", "counts", "length", "steps"),
    [
        (8, 4, 128, [12] * 4, 2934, 32),
        (4, 2, 256, [12] * 4, 264, 33),
        (2, 7, 64, [12, 3, 5, 1], 133, 7),
        (8, 1, 128, [4, 3], 61, 80),
    ],
)
def test_questions_in_half_precision_are_those_of_float64(kv, group, size, counts, length, steps, library, monkeypatch) -> None:
    """Prefix by a library's kernel, own tokens by ours; counts of questions alike and unlike, padding before them."""
    if DEVICE == "cpu":
        pytest.skip("no such kernel on a CPU")
    if library == "flash":
        monkeypatch.setattr(_hf_kernels, "HOPPER", None)
    torch.manual_seed(3)
    images, rows, heads = len(counts), sum(counts), kv * group
    owners = [image for image, count in enumerate(counts) for _ in range(count)]
    make = {"device": DEVICE, "dtype": HALF}
    prefix = SimpleNamespace(
        layers=[
            SimpleNamespace(**{name: torch.randn(images, length, kv, size, **make).transpose(1, 2) for name in ("keys", "values")})
        ]
    )
    state = _hf_attend.Unrepeated(SimpleNamespace(), prefix, torch.ones(images, length, device=DEVICE), [length] * images, owners)
    real = torch.ones(rows, steps, dtype=torch.bool, device=DEVICE)
    real[::2, : steps // 3] = False
    state.extend(real)
    query = torch.randn(rows, steps, heads, size, **make).transpose(1, 2)
    own = tuple(torch.randn(rows, steps, kv, size, **make).transpose(1, 2) for _ in range(2))
    monkeypatch.setattr(_hf_attend, "_current", [state])
    found = _hf_attend.attend(SimpleNamespace(layer_idx=0), query, *own, None, size**-0.5)[0]
    assert state.kernels
    hidden = torch.ones(steps, steps, dtype=torch.bool, device=DEVICE).triu(1)
    for row, image in enumerate(owners):
        keys, values = (
            torch.cat([whole[image], mine[row]], 1).double().repeat_interleave(group, 0)
            for whole, mine in zip((prefix.layers[0].keys, prefix.layers[0].values), own, strict=True)
        )
        scores = torch.einsum("htd,hnd->htn", query[row].double(), keys) * size**-0.5
        scores[..., length:].masked_fill_(hidden | ~real[row][None], float("-inf"))
        wanted = (scores.softmax(-1) @ values).transpose(0, 1)
        assert off(found[row][real[row]], wanted[real[row]]) < 1e-2


@pytest.mark.parametrize(("size", "wide"), [(1152, 4304), (64, 256)])
def test_gelu_at_the_end_of_a_product_is_the_one_that_tanh_approximates(size, wide) -> None:
    torch.manual_seed(4)
    module = SimpleNamespace(fc1=torch.nn.Linear(size, wide).to(DEVICE, HALF).requires_grad_(False), fc2=torch.nn.Identity())
    states = torch.randn(3, 700, size, device=DEVICE, dtype=HALF)
    plain = torch.nn.functional.linear(states.double(), module.fc1.weight.double(), module.fc1.bias.double())
    found = _hf_fuse.through_gelu(module, lambda given: torch.nn.functional.gelu(module.fc1(given), approximate="tanh"), states)
    wanted, other = torch.nn.functional.gelu(plain, approximate="tanh"), torch.nn.functional.gelu(plain)
    assert off(found, wanted) < 3e-3
    apart = other - wanted  # how much of the way to the error function's: 0 or 1
    assert abs(float(((found.double() - wanted) * apart).sum() / apart.square().sum())) < 0.2


def test_a_tower_attends_through_flash_attention_4(build, images) -> None:
    """Where it is installed: its own kernel for heads of 72, which others run as 128."""
    if DEVICE == "cpu" or not is_there("flash_attn.cute") or torch.cuda.get_device_capability()[0] < 9:
        pytest.skip("needs flash-attn-4 and a Hopper GPU or a newer one")
    settings = {"device": DEVICE, "images_at_once": 2, "attend": "unrepeated", "compiled": True, "max_new_tokens": 8}
    plain, flash = build("gemma3", **settings), build("gemma3", vision_attention="flash_attention_4", **settings)
    assert all(not a.error for row in flash.ask(images(2)) for a in row)
    towers = [one._loaded().loaded.model.model.vision_tower for one in (plain, flash)]
    assert towers[1].config._attn_implementation == "flash_attention_4"
    pixels = torch.randn(2, 3, towers[0].config.image_size, towers[0].config.image_size, device=DEVICE, dtype=HALF)
    with torch.inference_mode():
        wanted, found = (tower(pixels).last_hidden_state for tower in towers)
    assert off(found, wanted.double()) < 2e-2


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
    settings = {"images_at_once": 2, "device": DEVICE, "max_new_tokens": 24, "min_new_tokens": 24}

    def held_after(asked: int) -> tuple[list[int], int]:
        """Bytes after each batch, and once the model is closed; libraries keep room to work in for as long as the process lives."""
        model, after = build(family, attend="unrepeated", compiled=True, **settings), []
        for _ in range(asked):
            model.ask(images(4))
            torch.cuda.synchronize()
            after.append(torch.cuda.memory_allocated())
        model.close()
        return after, torch.cuda.memory_allocated()

    _, empty = held_after(1)
    held, left = held_after(4)
    assert max(held[1:]) <= held[1] * 1.01
    assert held[1] > empty
    assert left <= empty + (held[1] - empty) / 4


@pytest.mark.parametrize("compiled", [False, True])
def test_what_does_not_fit_into_memory_is_halved_and_nothing_is_lost(compiled, build, images, monkeypatch) -> None:
    if DEVICE == "cpu":
        pytest.skip("there is no device memory")
    settings = {"device": DEVICE, "dtype": "float32", "attend": "unrepeated", "max_new_tokens": 16, "min_new_tokens": 16}
    model, stimuli = build("llava_next", images_at_once=8, compiled=compiled, **settings), images(8)
    wanted = [[a.text for a in row] for row in model.ask(stimuli)]
    torch.cuda.reset_peak_memory_stats()
    model.ask(stimuli)
    need = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
    torch.cuda.empty_cache()
    sizes, own = [], type(model)._run
    monkeypatch.setattr(type(model), "_run", lambda self, ready, batch: sizes.append(len(batch)) or own(self, ready, batch))
    whole = torch.cuda.get_device_properties(DEVICE).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 0.6 * need) / whole)
    try:
        answers = model.ask(stimuli)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert [[a.text for a in row] for row in answers] == wanted
    assert sizes[0] == 8
    assert min(sizes) < 8


@pytest.mark.parametrize("bits", ["int8", "nf4"])
def test_quantised_weights_answer(bits, build, images) -> None:
    pytest.importorskip("bitsandbytes")
    model = build("llava", quantized=bits, device=DEVICE, images_at_once=2)
    assert model.fingerprint().identity["quantized"] == bits
    assert all(not a.error for row in model.ask(images(2)) for a in row)
    model.close()
