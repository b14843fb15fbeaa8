"""What one answer is: the checkpoint's own template, margins from a brute-force forward, statuses, and no effect of the batch."""

from __future__ import annotations

import json
import math
import shutil
import weakref
from dataclasses import replace
from functools import wraps

import pytest

from palpate.errors import ModelError
from palpate.models import _hf_faults
from palpate.nouns import Form, Polarity, Prompt, Status, Stimulus

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

ALL = ("llava", "llava_next", "llava_onevision", "gemma3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl")


def ready(model):
    """The loaded parts, for a test's own computation."""
    return model._loaded()


def own_inputs(loaded, question: str, image):
    """transformers' own way from messages to tensors."""
    messages = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": question}]}]
    found = loaded.processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    return {name: value for name, value in found.items() if name != "labels"}


@pytest.mark.parametrize("family", ALL)
def test_template_and_tokens_are_the_checkpoints_own(family, build, images) -> None:
    one = images(1)[0]
    encoder = ready(build(family)).encoder
    question = one.block.trials[3].prompt.text
    given = encoder.batch([encoder.render(question, image=True)], [one.image])
    wanted = own_inputs(encoder.loaded, question, one.image)
    assert set(given) == set(wanted)
    for name, value in wanted.items():
        assert torch.equal(given[name], value), name
    bos = encoder.loaded.tokenizer.bos_token_id
    assert given["input_ids"][0].tolist().count(bos) == (0 if bos is None else 1)


@pytest.mark.parametrize("inference", ["plain", "prefix"])
@pytest.mark.parametrize("family", ALL)
def test_margin_mass_and_greedy_tokens_equal_full_forward_passes(family, inference, build, images) -> None:
    """No cache, no batch, no padding: one full forward per question and token."""
    one = images(2)[1]
    model = build(family, inference=inference)
    loaded = ready(model).loaded
    answers = model.ask([one])[0]
    for index in (0, 1, 4, 11):
        trial, answer = one.block.trials[index], answers[index]
        inputs = own_inputs(loaded, trial.prompt.text, one.image)
        with torch.inference_mode():
            p = loaded.model(**inputs).logits[0, -1].double().softmax(-1)
        sides = [
            {ids[0] for s in side for ids in loaded.tokenizer([s, f" {s}"], add_special_tokens=False)["input_ids"] if len(ids) == 1}
            for side in trial.prompt.answer_spellings
        ]
        assert all(sides)
        positive, negative = (sum(p[token].item() for token in side) for side in sides)
        assert answer.margin == pytest.approx(math.log(positive) - math.log(negative), abs=1e-4)
        assert answer.mass == pytest.approx(positive + negative, abs=1e-5)
        with torch.inference_mode():
            tokens = loaded.model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert answer.text == loaded.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert answer.tokens_in == inputs["input_ids"].shape[1]


def test_polarity_turns_the_margin(build, images) -> None:
    yes = Prompt("p", "Is this image normal?", Form.YES_NO, Polarity.POSITIVE, "c")
    flipped = replace(yes, polarity=Polarity.NEGATIVE)
    (one, other) = build("llava").ask(images(1, (yes, flipped)))[0]
    assert one.margin == pytest.approx(-other.margin, abs=1e-9)
    assert one.mass == pytest.approx(other.mass)


def test_open_forms_have_text_but_no_margin(build, images, describe) -> None:
    answer = build("gemma3", max_new_tokens_open=9).ask(images(1, (describe,)))[0][0]
    assert answer.tokens_out == 9
    assert answer.margin is None
    assert answer.mass is None


def test_truncated_without_an_end_and_ok_with_one(build, images, monkeypatch) -> None:
    from palpate.models import _hf_load

    stimuli = images(1)
    for inference in ("plain", "prefix"):
        cut = build("llava", inference=inference, max_new_tokens=3).ask(stimuli)[0]
        assert {answer.status for answer in cut} == {Status.TRUNCATED}
        assert {answer.tokens_out for answer in cut} == {3}
    with monkeypatch.context() as patch:
        patch.setattr(_hf_load, "_eos", lambda model, tokenizer: frozenset(range(480)))  # any token ends the answer
        for inference in ("plain", "prefix"):
            ended = build("llava", inference=inference).ask(stimuli)[0]
            assert {(answer.status, answer.text, answer.tokens_out) for answer in ended} == {(Status.OK, "", 0)}
            assert all(answer.margin is not None for answer in ended)


def test_min_new_tokens_holds_back_the_end(build, images, monkeypatch) -> None:
    from palpate.models import _hf_load

    monkeypatch.setattr(_hf_load, "_eos", lambda model, tokenizer: frozenset(range(0, 480, 2)))
    for inference in ("plain", "prefix"):
        answers = build("llava", inference=inference, min_new_tokens=4).ask(images(1))[0]
        assert min(answer.tokens_out for answer in answers) == 4


@pytest.mark.parametrize("family", ALL)
def test_without_an_image_the_question_goes_alone(family, build, images, without_image) -> None:
    """No placeholder, fewer tokens, another answer, and the same one whatever image was shown before."""
    stimulus = without_image(0)
    fresh = build(family).ask([stimulus])[0]
    model = build(family)
    shown, after = model.ask([images(1)[0], stimulus])
    assert [a.error for a in fresh] == [None] * 12
    assert [a.text for a in after] == [a.text for a in fresh]
    assert [a.margin for a in after] == pytest.approx([a.margin for a in fresh], abs=1e-6)
    assert all(a.tokens_in < b.tokens_in for a, b in zip(after, shown, strict=True))
    assert [a.margin for a in after] != pytest.approx([a.margin for a in shown], abs=1e-2)


@pytest.mark.parametrize("inference", ["plain", "prefix"])
def test_answers_do_not_depend_on_the_batch(inference, build, images, prompts) -> None:
    """Alone, together, in another order, and with fewer questions in the block."""
    stimuli = images(3)
    model = build("gemma3", inference=inference)
    together = model.ask(stimuli)
    apart = [model.ask([one])[0] for one in reversed(stimuli)][::-1]
    assert [[(a.text, a.margin) for a in row] for row in together] == [[(a.text, a.margin) for a in row] for row in apart]
    few = model.ask(images(3, prompts[4:7]))
    for row, whole in zip(few, together, strict=True):
        assert [a.text for a in row] == [a.text for a in whole[4:7]]
        assert [a.margin for a in row] == pytest.approx([a.margin for a in whole[4:7]], abs=1e-4)


def test_nothing_asked_is_nothing_answered(build, images) -> None:
    model = build("llava")
    assert model.ask([]) == []
    assert model.ask(images(1, ())) == [[]]


def test_text_only_model_answers_text_and_refuses_images(build, images, without_image) -> None:
    model = build("reader")
    answers = model.ask([without_image(0)])[0]
    assert all(a.error is None and a.margin is not None for a in answers)
    with pytest.raises(ModelError, match="reads text only and was given an image"):
        model.ask(images(1))


def test_text_only_model_gets_one_beginning_of_text(build) -> None:
    """The template prints none, so the tokenizer's own is kept; a template that prints one gets no second."""
    encoder = ready(build("reader")).encoder
    ids = encoder.ids(encoder.render("Is it?", image=False))
    assert ids.count(encoder.loaded.tokenizer.bos_token_id) == 1
    printed = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    encoder = ready(build("reader", chat_template=printed)).encoder
    assert encoder.render("Is it?", image=False) == "<s>Is it?"
    assert encoder.ids("<s>Is it?").count(encoder.loaded.tokenizer.bos_token_id) == 1


def test_text_only_model_without_template_continues_the_text(build, checkpoint, tmp_path, without_image) -> None:
    folder = shutil.copytree(checkpoint("reader"), tmp_path / "base")
    (folder / "chat_template.jinja").unlink()
    model = build(folder)
    answers = model.ask([without_image(0)])[0]
    text = without_image(0).block.trials[0].prompt.text
    assert answers[0].tokens_in == len(ready(model).loaded.tokenizer(text)["input_ids"])


def test_an_image_model_without_template_says_so(build, checkpoint, tmp_path, images) -> None:
    folder = shutil.copytree(checkpoint("llava"), tmp_path / "no-template")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        build(folder).ask(images(1))
    given = build(folder, chat_template=template).ask(images(1))
    assert [a.text for a in given[0]] == [a.text for a in build("llava").ask(images(1))[0]]


@pytest.mark.parametrize("inference", ["plain", "prefix"])
def test_non_finite_logits_are_an_error_not_an_answer(inference, build, images, prompts) -> None:
    model = build("llava", inference=inference)
    loaded = ready(model).loaded
    with torch.no_grad():
        loaded.model.lm_head.weight[7] = float("nan")
    answers = model.ask(images(1, prompts[:3]))[0]
    assert {(a.status, a.error, a.text, a.margin) for a in answers} == {(Status.ERROR, "non-finite logits", "", None)}


@pytest.mark.parametrize("inference", ["plain", "prefix"])
def test_out_of_memory_halves_the_batch_and_goes_on(inference, build, images, monkeypatch) -> None:
    """A device that holds four rows at a time gives the same answers; one that holds none gives errors that say so."""
    stimuli = images(2)
    wanted = build("llava", inference=inference).ask(stimuli)
    model = build("llava", inference=inference, images_at_once=2)
    loaded = ready(model).loaded
    room = 4
    forward = loaded.model.forward

    @wraps(forward)  # generate() reads the signature
    def small(*args, **kwargs):
        if kwargs["input_ids"].shape[0] > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(loaded.model, "forward", small)
    given = model.ask(stimuli)
    assert [[a.text for a in row] for row in given] == [[a.text for a in row] for row in wanted]
    room = 0
    assert {(a.status, a.error) for row in model.ask(stimuli) for a in row} == {(Status.ERROR, "out of memory")}


def test_what_a_failed_pass_held_is_let_go_before_its_half_is_asked(build, images, monkeypatch) -> None:
    """A fault's traceback holds every tensor of the pass."""
    model, stimuli = build("llava", images_at_once=2), images(2)
    held, own = [], type(model)._run

    class Tensor:
        """Stands for gigabytes."""

    def run(self, ready, batch):
        assert all(one() is None for one in held)
        if len(batch) > 1:
            large = Tensor()
            held.append(weakref.ref(large))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return own(self, ready, batch)

    monkeypatch.setattr(type(model), "_run", run)
    assert not any(a.error for row in model.ask(stimuli) for a in row)
    assert held


def test_on_a_gpu_what_holds_itself_is_let_go_too(monkeypatch) -> None:
    """A captured step and its state hold each other."""
    freed = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(held() is None))

    class Step:
        """Holds gigabytes."""

    step = Step()
    step.state = step
    held = weakref.ref(step)
    del step
    _hf_faults.let_go("cuda:1")
    _hf_faults.let_go("cpu")
    assert freed == [True]


def test_an_image_the_processor_cannot_take_is_an_error_of_its_block_only(build, images) -> None:
    stimuli = images(3)
    broken = Stimulus(stimuli[1].block, stimuli[1].image.crop((0, 0, 0, 0)))
    model = build("llava", inference="prefix", images_at_once=3)
    rows = model.ask([stimuli[0], broken, stimuli[2]])
    assert [{a.status for a in row} for row in rows] == [{Status.TRUNCATED}, {Status.ERROR}, {Status.TRUNCATED}]
    assert all(a.error and ":" in a.error for a in rows[1])


def test_close_frees_and_the_next_question_loads_again(build, images) -> None:
    model = build("llava")
    first = model.ask(images(1))
    model.close()
    assert model._ready is None
    assert [[a.text for a in row] for row in model.ask(images(1))] == [[a.text for a in row] for row in first]


def test_the_checkpoints_sampling_defaults_do_not_make_greedy_random(build, checkpoint, tmp_path, images) -> None:
    folder = shutil.copytree(checkpoint("llava"), tmp_path / "sampling")
    file = folder / "generation_config.json"
    given = json.loads(file.read_text())
    file.write_text(json.dumps(given | {"do_sample": True, "temperature": 5.0, "repetition_penalty": 3.0}))
    wanted = build("llava", inference="plain").ask(images(1))[0]
    assert [a.text for a in build(folder, inference="plain").ask(images(1))[0]] == [a.text for a in wanted]


def test_answer_tokens_use_what_the_template_leads_to(build, images) -> None:
    """A "No" of two tokens falls back to its first one; a first token both sides share tells nothing."""
    from palpate.models._hf_score import answer_tokens

    one = ready(build("llava"))
    yes_no = Prompt("p", "Is it?", Form.YES_NO, Polarity.POSITIVE, "c")
    rendered = one.encoder.render("Is it?", image=True)
    tokens = answer_tokens(one.encoder, yes_no, rendered)
    decode = one.loaded.tokenizer.decode
    assert {decode([t]).strip().lower() for t in tokens.assert_ids} == {"yes"}
    assert {decode([t]).strip().lower() for t in tokens.deny_ids} == {"no"}
    assert {decode([t]) for t in tokens.assert_ids} >= {"Yes", " Yes"}

    class Odd:
        """Knows only letters: every spelling is several tokens."""

        loaded = one.loaded

        def ids(self, text: str) -> list[int]:
            return [ord(c) for c in text]

    short = answer_tokens(Odd(), yes_no, "Is it?")
    assert short.assert_ids == tuple(sorted(ord(c) for c in "Yy"))
    assert short.deny_ids == tuple(sorted(ord(c) for c in "Nn"))

    class Shared(Odd):
        def ids(self, text: str) -> list[int]:
            return [1] if text == "Is it?" else [1, 40, 41]

    assert answer_tokens(Shared(), yes_no, "Is it?") is None
