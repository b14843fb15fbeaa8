"""The kernels, interpreted on the CPU by Triton itself: against softmax by the book, and in whole answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from palpate.models import _hf_kernels, _hf_room, _hf_step  # noqa: E402
from palpate.nouns import Form, Polarity, Prompt  # noqa: E402

SCRIPT = Path(__file__).parents[2] / "compiled_kernels.py"

pytestmark = pytest.mark.local


def by_the_book(query, keys, values, scale):
    """query (H, d), keys and values (KV, N, d) → (H, d)."""
    group = query.shape[0] // keys.shape[0]
    scores = torch.einsum("hd,hnd->hn", query, keys.repeat_interleave(group, 0)) * scale
    return torch.einsum("hn,hnd->hd", scores.softmax(-1), values.repeat_interleave(group, 0))


def rows_of_images(counts: list[int]):
    """Rows in a shuffled order: (owners, table (B, W), places)."""
    owners = [b for b, count in enumerate(counts) for _ in range(count)]
    owners = [owners[i] for i in torch.randperm(len(owners)).tolist()]
    table = torch.full((len(counts), max(counts)), -1, dtype=torch.int32)
    places, seen = [], [0] * len(counts)
    for row, owner in enumerate(owners):
        table[owner, seen[owner]] = row
        places.append(owner * max(counts) + seen[owner])
        seen[owner] += 1
    return owners, table, torch.tensor(places)


SHAPES = [
    (2, 2, 32, [3, 1, 2], 70, 40, 37),
    (1, 7, 64, [12, 5], 130, 90, 70),  # a group that is no power of two
    (2, 4, 32, [20, 18, 3], 33, 70, 66),  # an image's queries in two programs
    (3, 1, 32, [1, 1], 5, 4, 1),  # one row an image, one token each
]


@pytest.mark.parametrize(("kv", "group", "size", "counts", "length", "room", "used"), SHAPES)
def test_a_decoding_step_is_one_softmax_over_prefix_and_own_tokens(kv, group, size, counts, length, room, used) -> None:
    torch.manual_seed(0)
    owners, table, _ = rows_of_images(counts)
    images, rows = len(counts), len(owners)
    begins = torch.tensor([0, *torch.randint(0, length, (images - 1,)).tolist()], dtype=torch.int32)
    starts = torch.randint(0, used, (rows,), dtype=torch.int32)
    query = torch.randn(rows, 1, kv * group, size).transpose(1, 2)
    prefix = [torch.randn(images, length, kv, size).transpose(1, 2) for _ in range(2)]
    own = [torch.randn(rows, kv, room, size) for _ in range(2)]
    for states in own:
        states[:, :, used:] = float("nan")  # not written yet: never read
    written = torch.tensor([used], dtype=torch.int32)
    found = _hf_kernels.decode(query, tuple(prefix), begins, tuple(own), starts, table, written, 0.3)
    assert found.shape == (rows, 1, kv * group, size)
    for row, image in enumerate(owners):
        keys, values = (
            torch.cat([all_of[image, :, begins[image] :], mine[row, :, starts[row] : used]], 1)
            for all_of, mine in zip(prefix, own, strict=True)
        )
        torch.testing.assert_close(found[row, 0], by_the_book(query[row, :, 0], keys, values, 0.3), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("kv", "group", "size", "counts", "steps", "slots", "window"),
    [
        (2, 2, 32, [3, 1, 2], 3, 3, None),
        (1, 7, 16, [2, 2], 20, 20, None),  # an image's queries in several programs
        (2, 1, 16, [1, 3], 5, 75, None),  # keys of tokens before, in several blocks
        (1, 2, 16, [2, 1], 40, 90, 8),  # a window that hides most of them
    ],
)
def test_attention_goes_on_over_own_tokens_where_the_prefix_has_left_it(kv, group, size, counts, steps, slots, window) -> None:
    torch.manual_seed(1)
    width, images, rows, heads = max(counts), len(counts), sum(counts), kv * group
    _, _, places = rows_of_images(counts)
    query = torch.randn(rows, steps, heads, size).transpose(1, 2)
    own = tuple(torch.randn(rows, kv, slots + 2, size)[:, :, :slots] for _ in range(2))
    part = torch.randn(images, kv, group, width, steps, size).transpose(2, 3)
    lse = (torch.randn(images, kv, group, width, steps) * 4).transpose(2, 3)
    lse[0, :, 0, :, : steps // 2] = float("-inf")  # a window that sees nothing of the prefix
    part[lse == float("-inf")] = 0.0
    starts = torch.randint(0, slots - steps + 2, (rows,), dtype=torch.int32)
    found = _hf_kernels.go_on(query, (part, lse), own, starts, places, window, 0.3)
    assert found.shape == (rows, steps, heads, size)
    at, slot = torch.arange(slots - steps, slots)[:, None], torch.arange(slots)[None]
    for row in range(rows):
        keys, values = (states[row].repeat_interleave(group, 0) for states in own)
        seen = ((slot <= at) & (slot >= starts[row]) & (at - slot < (window or slots))) | (slot == at)
        scores = (torch.einsum("htd,hnd->htn", query[row], keys) * 0.3).masked_fill(~seen, float("-inf"))
        image, nth = divmod(int(places[row]), width)
        before = lse[image, :, nth].reshape(heads, steps, 1)
        weights = torch.cat([before, scores], -1).softmax(-1)
        whole = weights[..., 1:] @ values + weights[..., :1] * part[image, :, nth].reshape(heads, steps, size)
        torch.testing.assert_close(found[row], whole.transpose(0, 1), atol=2e-6, rtol=1e-5)


def test_which_queries_the_kernels_take() -> None:
    class Query:
        is_cuda, dtype, shape = True, torch.bfloat16, (5, 8, 1, 128)

    query = Query()
    assert _hf_kernels.usable(query, 4)
    query.dtype = torch.float32  # exact to 1e-4 there: the plain parts
    assert not _hf_kernels.usable(query, 4)
    query.dtype, query.shape = torch.float16, (5, 8, 1, 80)  # no size of a block
    assert not _hf_kernels.usable(query, 4)
    query.shape = (5, 128, 1, 128)  # more queries of a key than a program holds
    assert not _hf_kernels.usable(query, 1)
    assert not _hf_kernels.usable(torch.zeros(5, 8, 1, 128, dtype=torch.bfloat16), 4)  # on the CPU


def test_every_kernel_fits_into_the_shared_memory_of_smaller_gpus() -> None:
    """Compiled for GPUs of 99 KB a program: RTX 3090, A10 and 4090, L4 (8.6, 8.9) and 5090 (12.0)."""
    told = subprocess.run(
        [sys.executable, str(SCRIPT), "86", "120"],
        env={**os.environ, "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    taken = [json.loads(line) for line in told.splitlines()]
    assert {(one["kernel"], one["capability"]) for one in taken} == {
        (kernel, capability) for kernel in ("decode_kernel", "own_kernel") for capability in (86, 120)
    }
    assert 50_000 < max(one["shared"] for one in taken) <= 99 * 1024


@pytest.mark.parametrize(
    ("capability", "steps", "cudnn", "flash", "wanted"),
    [
        ((9, 0), 32, True, True, "cudnn"),
        ((9, 0), 1, True, True, "flash"),  # planned anew for every shape
        ((10, 0), 32, True, True, "flash"),  # wrong there, by others' reports
        ((8, 6), 32, True, True, "flash"),
        ((9, 0), 32, False, True, "flash"),
        ((7, 5), 32, False, False, None),
    ],
)
def test_which_librarys_kernel_attends_a_prefix(capability, steps, cudnn, flash, wanted, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.backends.cuda, "can_use_cudnn_attention", lambda _: cudnn)
    monkeypatch.setattr(torch.backends.cuda, "can_use_flash_attention", lambda _: flash)
    query, keys = torch.zeros(2, 8, 4, 64), torch.zeros(2, 4, 16, 64)
    found = _hf_kernels.library(query, keys, keys, steps)
    if wanted is None:
        assert found is None
    else:
        with pytest.raises(NotImplementedError, match=f"_scaled_dot_product_{wanted}_attention"):
            found(0.125)


TEXTS = ("Is it?", "Is there any sign at all?")
TWO = tuple(Prompt(f"p{i}", text, Form.YES_NO, Polarity.POSITIVE, "target") for i, text in enumerate(TEXTS))


def test_a_layer_norm_is_pytorchs() -> None:
    torch.manual_seed(2)
    module = torch.nn.LayerNorm(48, eps=1e-3)
    torch.nn.init.normal_(module.weight)
    torch.nn.init.normal_(module.bias)
    states = torch.randn(3, 5, 48) * 7 + 4
    torch.testing.assert_close(_hf_kernels.layer_norm(states, module), module(states), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(("family", "compiled"), [("llava_next", True), ("gemma3", False), ("qwen2_vl", True)])
def test_answers_are_those_of_repeated_caches(family, compiled, build, images, monkeypatch) -> None:
    """Rows leave at places of their own, images of unlike size are padded, and the cache grows once."""
    monkeypatch.setattr(_hf_room, "ROOM", 5)
    monkeypatch.setattr(_hf_step, "WORTH", 2)
    monkeypatch.setattr(torch, "compile", lambda f: f)
    taken = []
    for name in ("decode", "go_on"):
        own = getattr(_hf_kernels, name)
        monkeypatch.setattr(_hf_kernels, name, lambda *given, own=own, name=name: taken.append(name) or own(*given))
    stimuli = images(2, TWO)
    settings = {"images_at_once": 2, "max_new_tokens": 8}
    wanted = build(family, attend="repeated", **settings).ask(stimuli)
    monkeypatch.setattr(_hf_kernels, "usable", lambda *_: True)
    given = build(family, attend="unrepeated", compiled=compiled, **settings).ask(stimuli)
    assert [[a.text for a in row] for row in given] == [[a.text for a in row] for row in wanted]
    assert set(taken) == {"decode", "go_on"}


def test_a_family_that_caps_its_scores_is_decoded_in_two_parts(build, without_image, monkeypatch) -> None:
    """No kernel caps: also a step in fixed buffers then needs to be told which places are written."""
    monkeypatch.setattr(_hf_step, "WORTH", 2)
    monkeypatch.setattr(torch, "compile", lambda f: f)
    stimuli = [without_image(i, TWO) for i in range(2)]
    settings = {"max_new_tokens": 6, "min_new_tokens": 6}
    wanted = build("gemma2", attend="repeated", **settings).ask(stimuli)
    monkeypatch.setattr(_hf_kernels, "usable", lambda *_: True)
    steps = []
    own = _hf_step.Step.__call__
    monkeypatch.setattr(
        _hf_step.Step, "__call__", lambda self, inputs: (steps.append(self.allowed is not None), own(self, inputs))[1]
    )
    given = build("gemma2", attend="unrepeated", compiled=True, **settings).ask(stimuli)
    assert [[a.text for a in row] for row in given] == [[a.text for a in row] for row in wanted]
    assert steps
    assert all(steps)
