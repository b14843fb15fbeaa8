"""Attending the prefix unrepeated: the two-part softmax against plain attention, and whole answers against repeated caches."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from palpate.models import _hf_attend
from palpate.models._hf_attend import Unrepeated, attend
from palpate.nouns import Form, Polarity, Prompt

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

IMAGE_FAMILIES = (
    *("llava", "llava_next", "llava_onevision", "gemma3", "gemma3_window", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
    *("idefics3", "smolvlm", "internvl"),
)
TEXT_FAMILIES = ("reader", "mistral", "mistral_window", "gemma2", "gemma3_text", "qwen2", "qwen3", "phi3")


# ---------------------------------------------------------------- the arithmetic


def state(lengths: list[int], owners: list[int], heads: int, size: int) -> tuple[Unrepeated, list]:
    """Random keys and values of images with prefixes of these lengths, padded on the left; no model."""
    from transformers import DynamicCache

    longest = max(lengths)
    mask = torch.zeros(len(lengths), longest, dtype=torch.long)
    for b, length in enumerate(lengths):
        mask[b, longest - length :] = 1
    keys, values = (torch.randn(len(lengths), heads, longest, size) for _ in range(2))
    cache = DynamicCache()
    cache.update(keys, values, 0)
    made = Unrepeated(SimpleNamespace(fused=None), cache, mask, lengths, owners)
    return made, [(keys[b, :, longest - n :], values[b, :, longest - n :]) for b, n in enumerate(lengths)]


def plain(query, keys, values, scale, window, cap):
    """One row, by the book: query (H, T, d), keys (KV, N, d); the last T keys are the queries' own."""
    heads, steps, _ = query.shape
    repeat = heads // keys.shape[0]
    keys, values = keys.repeat_interleave(repeat, 0), values.repeat_interleave(repeat, 0)
    scores = query @ keys.transpose(-1, -2) * scale
    if cap is not None:
        scores = cap * torch.tanh(scores / cap)
    q = torch.arange(keys.shape[1] - steps, keys.shape[1])[:, None]
    k = torch.arange(keys.shape[1])[None]
    allowed = (k <= q) if window is None else (k <= q) & (q - k < window)
    return scores.masked_fill(~allowed, float("-inf")).softmax(-1) @ values


@pytest.mark.parametrize("cap", [None, 5.0])
@pytest.mark.parametrize("window", [None, 100, 9, 4])
@pytest.mark.parametrize("lengths", [[12, 12, 12], [12, 5, 8]])
def test_two_parts_are_one_softmax(lengths, window, cap, monkeypatch) -> None:
    """Three images, uneven numbers of questions, suffixes of different lengths padded on the left, then three single steps."""
    torch.manual_seed(0)
    heads, kv, size, scale = 6, 2, 8, 0.4
    owners = [0, 2, 2, 1, 0, 2]
    made, prefixes = state(lengths, owners, kv, size)
    monkeypatch.setattr(_hf_attend, "_current", [made])
    module = SimpleNamespace(layer_idx=0)
    rests = [3, 1, 5, 2, 5, 4]
    own = [(torch.randn(kv, n + 3, size), torch.randn(kv, n + 3, size), torch.randn(heads, n + 3, size)) for n in rests]
    steps = [(0, 5), (5, 6), (6, 7), (7, 8)]  # slots: five of the padded suffix, then one by one
    suffix_k, suffix_v, suffix_q = (torch.zeros(6, h, 8, size) for h in (kv, kv, heads))
    real = torch.zeros(6, 8, dtype=torch.long)
    for i, n in enumerate(rests):
        suffix_k[i, :, 5 - n :], suffix_v[i, :, 5 - n :], suffix_q[i, :, 5 - n :] = own[i]
        real[i, 5 - n :] = 1
    for start, stop in steps:
        positions = made.extend(real[:, start:stop])
        out, _ = attend(module, suffix_q[:, :, start:stop], suffix_k[:, :, :stop], suffix_v[:, :, :stop], None, scale, window, cap)
        assert torch.isfinite(out).all()
        for i, n in enumerate(rests):
            done = min(stop, 8) - (5 - n)  # real tokens of the row so far
            width = done if start == 0 else 1
            keys = torch.cat([prefixes[owners[i]][0], own[i][0][:, :done]], 1)
            values = torch.cat([prefixes[owners[i]][1], own[i][1][:, :done]], 1)
            wanted = plain(own[i][2][:, done - width : done], keys, values, scale, window, cap)
            torch.testing.assert_close(out[i, -width:].transpose(0, 1), wanted, atol=2e-6, rtol=1e-5)
            assert positions[i, -1] == lengths[owners[i]] + done - 1


def test_rows_that_leave_and_images_nobody_asks_about_any_more(monkeypatch) -> None:
    torch.manual_seed(1)
    made, prefixes = state([4, 6, 5, 3], [0, 0, 1, 2, 3, 3], 2, 4)
    made.extend(torch.ones(6, 1, dtype=torch.long))
    made.suffix.update(torch.randn(6, 2, 1, 4), torch.randn(6, 2, 1, 4), 0)
    made.keep(torch.tensor([0, 1, 2, 5]))
    assert (made.images, made.width) == (4, 2)  # image 2 is still held
    made.keep(torch.tensor([1, 3]))
    assert (made.images, made.width) == (2, 1)
    assert made.owners.tolist() == [0, 1]
    kept = [made.layers[0][0][b, :, -n:] for b, n in ((0, 4), (1, 3))]
    assert torch.equal(kept[0], prefixes[0][0])
    assert torch.equal(kept[1], prefixes[3][0])
    assert made.extend(torch.ones(2, 1, dtype=torch.long)).tolist() == [[5], [4]]


def test_scores_are_made_in_pieces_where_they_would_not_fit(monkeypatch) -> None:
    torch.manual_seed(2)
    query, keys, values = torch.randn(5, 2, 3, 4), torch.randn(5, 2, 7, 4), torch.randn(5, 2, 7, 4)
    allowed = torch.rand(5, 1, 1, 7) > 0.3
    whole = _hf_attend._scored(query, keys, values, 0.5, None, allowed)
    monkeypatch.setattr(_hf_attend, "SCORES_AT_ONCE", 90)
    for part, wanted in zip(_hf_attend._scored(query, keys, values, 0.5, None, allowed), whole, strict=True):
        assert torch.equal(part, wanted)


def test_the_normaliser_is_that_of_torchs_own_kernel() -> None:
    """The kernel used on a GPU gives the same pair; its sibling for the CPU shows the meaning of what it returns."""
    torch.manual_seed(3)
    query, keys, values = torch.randn(2, 3, 5, 16), torch.randn(2, 3, 9, 16), torch.randn(2, 3, 9, 16)
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, keys, values, 0.0, False, scale=0.3)
    mine = _hf_attend._scored(query, keys, values, 0.3, None, None)
    torch.testing.assert_close(mine[0], out, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mine[1], lse.view(2, 3, 5), atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------- whole answers


def same(given, wanted) -> None:
    for row, wanted_row in zip(given, wanted, strict=True):
        assert [(a.text, a.tokens_in, a.tokens_out, a.error) for a in row] == [
            (a.text, a.tokens_in, a.tokens_out, None) for a in wanted_row
        ]
        for a, b in zip(row, wanted_row, strict=True):
            assert a.margin == pytest.approx(b.margin, abs=1e-4)


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_answers_equal_those_of_a_repeated_cache(family, build, images, prompts, monkeypatch) -> None:
    """Three images of different sizes together; rows end at different steps, so that images come to have unequal numbers."""
    from palpate.models import _hf_load

    own = _hf_load._eos
    monkeypatch.setattr(_hf_load, "_eos", lambda model, tokenizer: own(model, tokenizer) | frozenset(range(20, 460, 9)))
    stimuli = images(3, prompts[::3])
    options = {"max_new_tokens": 10, "images_at_once": 3}
    wanted = build(family, attend="repeated", **options).ask(stimuli)
    assert len({a.tokens_out for row in wanted for a in row}) > 1
    model = build(family, attend="unrepeated", **options)
    same(model.ask(stimuli), wanted)
    config = model._loaded().loaded.model.config.get_text_config()
    assert config._attn_implementation != _hf_attend.NAME  # only while it is needed


@pytest.mark.parametrize("family", TEXT_FAMILIES)
def test_texts_too(family, build, without_image) -> None:
    """Windows shorter than the text, soft-capped scores (Gemma 2), beginnings of different lengths."""
    texts = ("A small dense area in the left lower lobe. " * 2, "Clear lungs.", "The heart is normal.")
    questions = ("Is pneumonia described?", "Does this text deny pneumonia? Answer in one word.")

    def ask(text: str) -> tuple[Prompt, ...]:
        return tuple(Prompt(q, f"{text}\n{q}", Form.YES_NO, Polarity.POSITIVE, "read") for q in questions)

    stimuli = [without_image(i, ask(text)) for i, text in enumerate(texts)]
    wanted = build(family, inference="single").ask(stimuli)
    same(build(family, attend="unrepeated").ask(stimuli), wanted)


def test_memory_of_keys_does_not_grow_with_the_questions(build, images, prompts, monkeypatch) -> None:
    """After the prefill there is one copy of the prefix per image, whatever the number of questions."""
    sizes: list[int] = []
    made = Unrepeated.__init__

    def keep(self, *args) -> None:
        made(self, *args)
        sizes.append(sum(k.numel() + v.numel() for k, v in self.layers))

    monkeypatch.setattr(Unrepeated, "__init__", keep)
    model = build("llava", attend="unrepeated", images_at_once=2)
    for count in (2, 12):
        model.ask(images(2, prompts[:count]))
    few, many = sizes
    assert many <= few * 1.1  # the shared beginning may differ by a token or two


def test_the_window_needs_no_grouping_by_length(build, images, monkeypatch) -> None:
    """Repeated caches ask questions of one length at a time where a window is short; here positions are counted, not slots."""
    calls: list[int] = []
    for attend_as in ("repeated", "unrepeated"):
        model = build("gemma3_window", attend=attend_as, max_new_tokens=1, images_at_once=2)
        calls.append(0)
        model._loaded().loaded.model.register_forward_pre_hook(lambda *_: calls.append(calls.pop() + 1))
        model.ask(images(2))
    assert calls[1] == 2  # one prefill, one pass over all the rests
    assert calls[0] > 4


def test_the_default_follows_the_device(build) -> None:
    assert build("llava").unrepeated is False
    assert build("llava", attend="unrepeated").unrepeated is True
    model = build("llava", device="cuda:0")
    assert model.unrepeated is True
    assert build("llava", attend="repeated", device="cuda:0").unrepeated is False
    half = {"dtype": "bfloat16"}
    identities = [build("llava", attend=a, **half).fingerprint().identity for a in ("repeated", "unrepeated")]
    assert identities[0] != identities[1]  # short of float32 the order of sums can change a token
    exact = [build("llava", attend=a).fingerprint().identity for a in ("repeated", "unrepeated")]
    assert exact[0] == exact[1]
