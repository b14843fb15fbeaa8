"""Exactness: reading an image's tokens once for all its questions gives the answers of the plain path, in float32."""

from __future__ import annotations

from functools import wraps
from types import SimpleNamespace

import pytest

from palpate.errors import ModelError
from palpate.models import _hf_plain, _hf_ways
from palpate.models._hf_load import Loaded
from palpate.models._hf_prefix import answer_shared
from palpate.models._hf_ways import VERIFIED
from palpate.nouns import Answer, Status

pytest.importorskip("torch")
pytestmark = pytest.mark.local

FAMILIES = (
    *("llava", "llava_next", "llava_onevision", "gemma3", "gemma3_window", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
    *("idefics3", "smolvlm", "internvl"),
)


def assert_same(given: list[list[Answer]], reference: list[list[Answer]], margin: float = 1e-4) -> None:
    assert [len(row) for row in given] == [len(row) for row in reference]
    for row, wanted_row in zip(given, reference, strict=True):
        for answer, wanted in zip(row, wanted_row, strict=True):
            assert (answer.text, answer.status, answer.tokens_in, answer.tokens_out, answer.error) == (
                wanted.text,
                wanted.status,
                wanted.tokens_in,
                wanted.tokens_out,
                None,
            )
            assert (answer.margin is None) == (wanted.margin is None)
            if wanted.margin is not None:
                assert answer.margin == pytest.approx(wanted.margin, abs=margin)
                assert answer.mass == pytest.approx(wanted.mass, abs=margin)


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_equals_plain(family, build, images, describe, prompts) -> None:
    """Three images of different sizes × 12 closed prompts and a longer description, alone and three at once."""
    stimuli = images(3, (*prompts, describe))
    budgets = {"max_new_tokens": 8, "max_new_tokens_open": 20}
    plain = build(family, inference="plain", **budgets).ask(stimuli)
    assert len({answer.text for row in plain for answer in row}) > 10  # questions and images matter, or equality means little
    assert_same(build(family, inference="prefix", images_at_once=1, **budgets).ask(stimuli), plain)
    assert_same(build(family, inference="prefix", images_at_once=3, **budgets).ask(stimuli), plain)


@pytest.mark.parametrize("family", ["llava", "gemma3", "qwen2_vl"])
def test_rows_that_end_leave_the_batch_and_the_rest_goes_on(family, build, images, monkeypatch) -> None:
    """With a third of the vocabulary as ends of text, rows end at different steps."""
    from palpate.models import _hf_load

    own = _hf_load._eos
    monkeypatch.setattr(_hf_load, "_eos", lambda model, tokenizer: own(model, tokenizer) | frozenset(range(20, 460, 7)))
    stimuli = images(2)
    plain = build(family, inference="plain", max_new_tokens=12).ask(stimuli)
    lengths = {answer.tokens_out for row in plain for answer in row}
    assert len(lengths) > 2
    assert {answer.status for row in plain for answer in row} >= {Status.OK}
    assert_same(build(family, inference="prefix", max_new_tokens=12).ask(stimuli), plain)
    assert_same(build(family, inference="prefix", max_new_tokens=12, images_at_once=2).ask(stimuli), plain)


def test_every_architecture_that_shares_its_prefix_is_tested_here() -> None:
    assert set(FAMILIES) - {"gemma3_window"} == VERIFIED


def test_the_small_window_really_is_exceeded(build, images) -> None:
    """Else the sliding-window family would test nothing beyond plain Gemma 3."""
    row = build("gemma3_window").ask(images(1))[0]
    assert all(answer.tokens_in > 24 or answer.tokens_in + 6 > 24 for answer in row)
    wide = build("gemma3").ask(images(1))[0]
    assert any(a.margin != pytest.approx(b.margin, abs=1e-3) for a, b in zip(row, wide, strict=True))


def test_the_image_matters_and_another_one_between_does_not(build, images) -> None:
    """Qwen-VL keeps the last image's position offset on the module; it must not leak into the next question."""
    stimuli = images(3)
    model = build("qwen2_vl", inference="prefix")
    alone = [build("qwen2_vl", inference="prefix").ask([one])[0] for one in stimuli]
    in_a_row = [model.ask([one])[0] for one in (*stimuli, stimuli[0])]
    assert_same(in_a_row[:3], alone, margin=1e-6)
    assert_same(in_a_row[3:], alone[:1], margin=1e-6)
    assert alone[0][0].margin != pytest.approx(alone[1][0].margin, abs=1e-3)


def test_one_prompt_and_repeats_share_too(build, images, prompts) -> None:
    for stimuli in (images(2, prompts[:1]), images(1, prompts[:2], repeats=3)):
        assert_same(build("llava", inference="prefix").ask(stimuli), build("llava", inference="plain").ask(stimuli))


def test_a_system_prompt_is_part_of_the_beginning(build, images) -> None:
    options = {"system": "You are a radiologist."}
    stimuli = images(2)
    plain = build("llava", inference="plain", **options).ask(stimuli)
    assert_same(build("llava", inference="prefix", **options).ask(stimuli), plain)
    assert plain[0][0].tokens_in > build("llava", inference="plain").ask(stimuli)[0][0].tokens_in


def test_an_image_after_the_question_shares_the_tower_alone(build, images) -> None:
    """Where the template puts the question first keys and values cannot be shared; the answers are plain ones."""
    late = (
        "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}"
        "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% endif %}{% endfor %}{% endfor %}ASSISTANT:"
    )
    stimuli = images(2)
    plain = build("llava", inference="plain", chat_template=late).ask(stimuli)
    assert_same(build("llava", inference="prefix", chat_template=late).ask(stimuli), plain)


def test_without_placeholder_lengths_nothing_is_shared() -> None:
    """An older transformers cannot tell how long an image's placeholder becomes: the caller then goes the plain path."""
    encoder = SimpleNamespace(loaded=SimpleNamespace(processor=object()))
    assert answer_shared(encoder, None, [], []) is False


def test_the_prefix_path_is_really_taken(build, images, monkeypatch) -> None:
    """Else it would equal the plain one for nothing."""
    monkeypatch.setattr(_hf_plain, "answer_plain", lambda *_: pytest.fail("went the plain path"))
    for family in FAMILIES:
        if family != "smolvlm":
            assert build(family).ask(images(1))[0][0].error is None


def test_drawing_is_the_same_on_both_paths_and_in_any_batch(build, images) -> None:
    stimuli = images(2, repeats=2)
    options = {"temperature": 1.0, "top_p": 0.9}
    plain = build("llava", inference="plain", **options).ask(stimuli)
    assert_same(build("llava", inference="prefix", images_at_once=2, **options).ask(stimuli), plain)
    assert_same(build("llava", inference="prefix", **options).ask(stimuli[::-1])[::-1], plain)
    row = plain[0]
    assert any(first.text != again.text for first, again in zip(row[::2], row[1::2], strict=True))
    other = build("llava", seed=1, inference="plain", **options).ask(stimuli)
    assert [a.text for a in other[0]] != [a.text for a in row]


def test_prefix_is_refused_where_it_is_not_verified(build, images, monkeypatch) -> None:
    monkeypatch.setattr(_hf_ways, "VERIFIED_TEXT", frozenset())
    with pytest.raises(ModelError, match="not known to be exact for llama"):
        build("reader", inference="prefix").fingerprint()


def test_a_pass_is_given_its_cache_by_the_name_it_takes() -> None:
    """transformers calls it ``cache`` from 5.24 on, and warns of the older name until it goes; a wrapper keeps the names."""

    def renamed(forward):
        @wraps(forward)
        def run(*given, **named):
            return forward(*given, **named)

        return run

    class Newer:
        @renamed
        def forward(self, input_ids, cache=None, use_cache=None): ...

    class Older:
        def forward(self, input_ids, past_key_values=None, use_cache=None): ...

    class Own:
        def forward(self, input_ids, **named): ...

    given = [Loaded.keeping(SimpleNamespace(model=model()), "kept") for model in (Newer, Older, Own)]
    assert given[0] == {"cache": "kept", "use_cache": True}
    assert given[1] == given[2] == {"past_key_values": "kept", "use_cache": True}
