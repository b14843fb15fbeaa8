"""Questions without an image: language models without a vision tower, and image models asked in words alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from palpate.errors import ModelError
from palpate.models import _hf_model, _hf_plain
from palpate.models._hf_ways import VERIFIED, VERIFIED_TEXT
from palpate.models.bundled import BundledKind
from palpate.nouns import Answer, Form, Polarity, Prompt, Status, Stimulus
from palpate.parts import ModelSpec

pytest.importorskip("torch")
pytestmark = pytest.mark.local

TEXT_FAMILIES = ("reader", "mistral", "mistral_window", "gemma2", "gemma3_text", "qwen2", "qwen3", "phi3")
IMAGE_FAMILIES = ("llava", "llava_next", "llava_onevision", "gemma3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl")
TEXTS = ("A small dense area in the left lower lobe.", "Clear lungs.", "The heart is normal; there is pneumonia in the right lung.")
QUESTIONS = ("Is pneumonia described?", "Does this text deny pneumonia? Answer in one word.", "Is it normal?")


def read(text: str, questions: tuple[str, ...] = QUESTIONS) -> tuple[Prompt, ...]:
    """A description and what is asked of it."""
    asked = (Prompt(q, f"Report: {text}\n{q}", Form.YES_NO, Polarity.POSITIVE, "read") for q in questions)
    return tuple(asked)


def close(given: list[list[Answer]], wanted: list[list[Answer]]) -> None:
    for row, wanted_row in zip(given, wanted, strict=True):
        for answer, other in zip(row, wanted_row, strict=True):
            assert (answer.text, answer.status, answer.tokens_in, answer.error) == (other.text, other.status, other.tokens_in, None)
            assert answer.margin == pytest.approx(other.margin, abs=1e-4)


@pytest.fixture
def alone(build) -> Callable[..., list[list[Answer]]]:
    """Every question by itself, on the plain path: the reference."""

    def get(name: str, stimuli: list[Stimulus], **options) -> list[list[Answer]]:
        model = build(name, inference="plain", **options)
        one = [[replace(s, block=replace(s.block, trials=(t,))) for t in s.block.trials] for s in stimuli]
        return [[model.ask([each])[0][0] for each in row] for row in one]

    return get


@pytest.mark.parametrize("family", [*TEXT_FAMILIES, *IMAGE_FAMILIES])
def test_texts_together_are_answered_as_each_alone(family, build, alone, without_image) -> None:
    """Descriptions of different lengths with three questions each; then one question each; on either path."""
    several = [without_image(i, read(text)) for i, text in enumerate(TEXTS)]
    single = [without_image(i, read(text, QUESTIONS[:1])) for i, text in enumerate(TEXTS)]
    wanted = alone(family, several)
    assert len({a.text for row in wanted for a in row}) > 5  # texts and questions matter
    for inference in ("auto", "plain"):
        model = build(family, inference=inference)
        close(model.ask(several), wanted)
        close(model.ask(single), [row[:1] for row in wanted])


def test_every_text_family_is_tested_here() -> None:
    assert {"llama", *TEXT_FAMILIES} - {"reader", "mistral_window"} == VERIFIED_TEXT
    assert set(IMAGE_FAMILIES) == VERIFIED - {"smolvlm"}


@pytest.mark.parametrize("family", ["reader", "gemma3", "qwen2_vl"])
def test_the_beginning_is_really_shared(family, build, without_image, monkeypatch) -> None:
    """Far fewer tokens go through the model than the questions have, and the plain path is never taken."""
    monkeypatch.setattr(_hf_plain, "answer_plain", lambda *_: pytest.fail("went the plain path"))
    model = build(family, max_new_tokens=1)
    loaded = model._loaded().loaded
    sizes: list[int] = []
    loaded.model.register_forward_pre_hook(lambda _m, _a, given: sizes.append(given["input_ids"].numel()), with_kwargs=True)
    answers = model.ask([without_image(i, read(TEXTS[2] * 4, QUESTIONS)) for i in range(3)])
    assert len(sizes) == 2  # one pass over the beginnings, one over the rests
    assert sum(sizes) < 0.6 * sum(a.tokens_in for row in answers for a in row)


def test_texts_go_together_up_to_a_limit(build, without_image, images, monkeypatch) -> None:
    monkeypatch.setattr(_hf_model, "TEXTS_AT_ONCE", 7)
    model = build("llava")
    texts = [without_image(i, read(TEXTS[0])) for i in range(5)]
    cut = [len(batch) for batch in model._batches([*texts, *images(2), texts[0]])]
    assert cut == [2, 2, 1, 1, 1, 1]
    assert build("reader").blocks_at_once == 7
    assert build("reader", images_at_once=3).blocks_at_once == 3


def test_texts_and_images_keep_their_order(build, without_image, images) -> None:
    stimuli = [without_image(5), *images(2), without_image(6), without_image(7)]
    model = build("llava")
    together = model.ask(stimuli)
    for stimulus, row in zip(stimuli, together, strict=True):
        close([row], model.ask([stimulus]))


def test_images_fill_whole_passes_though_texts_stand_between_them(build, without_image, images, monkeypatch) -> None:
    shown = images(3)
    mixed = [shown[0], without_image(5), shown[1], without_image(6), shown[2]]
    model = build("llava", images_at_once=3)
    cut: list[list[bool]] = []
    own = model._answer
    monkeypatch.setattr(
        model, "_answer", lambda ready, batch: cut.append([s.image is not None for s in batch]) or own(ready, batch)
    )
    model.look(mixed, [None] * len(mixed))
    assert cut == [[False, False], [True, True, True]]


def test_a_model_that_could_see_may_be_asked_in_words_only(build, without_image, images) -> None:
    """``text_only`` changes no answer to a text, and makes an image an error."""
    blind, seeing = build("gemma3", text_only=True), build("gemma3")
    close(blind.ask([without_image(0)]), seeing.ask([without_image(0)]))
    with pytest.raises(ModelError, match="reads text only and was given an image"):
        blind.ask(images(1))


def test_the_bundled_reader_reads(without_image) -> None:
    """It tells a report that asserts the condition from one that denies it, by text and by margin."""
    model = BundledKind().build(ModelSpec("phantom-reader", "bundled", {}))
    assert model.fingerprint().identity["text_only"] is True
    ask = "Task: Decide if a brain tumor is present.\nOutput must be Yes or No.\n\nDescription:\n"
    reports = ("A glioma is likely.", "No tumor is seen.")
    prompts = tuple(Prompt(r, f"{ask}{r}\n", Form.YES_NO, Polarity.POSITIVE, "read") for r in reports)
    (given,) = model.ask([without_image(0, prompts)])
    assert [(a.status, a.text) for a in given] == [(Status.OK, "Yes"), (Status.OK, "No")]
    assert given[0].margin > 0 > given[1].margin
    assert all(a.mass is not None and a.mass > 0.5 for a in given)
