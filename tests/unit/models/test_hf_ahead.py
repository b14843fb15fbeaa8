"""Images prepared apart, by threads, are what the processor makes of them together; the answers do not tell the difference."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from palpate.models import _hf_ahead  # noqa: E402
from palpate.models._hf_ahead import FEWEST, MOST, TOKENS_AT_ONCE, joined, part_size  # noqa: E402
from palpate.models._hf_encode import Shared  # noqa: E402

pytestmark = pytest.mark.local

FAMILIES = (
    *("llava", "llava_next", "llava_onevision", "gemma3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
    *("idefics3", "smolvlm", "internvl"),
)


def texts(answers):
    return [[(a.text, a.tokens_in, a.tokens_out, a.error) for a in row] for row in answers]


def parts_of(model, stimuli):
    """(what the threads give, what the processor gives for the same images together), part by part."""
    ready = model._loaded()
    questions = [[row.rendered for row in model._rows(ready, one)] for one in stimuli]
    shown = [one.image for one in stimuli]
    start = 0
    for part in ready.ahead.parts(questions, shown):
        count = len(part.ids)
        yield part, ready.encoder.shared(questions[start : start + count], shown[start : start + count])
        start += count
    assert start == len(stimuli)


def same(part, whole) -> None:
    assert part.ids == whole.ids
    assert part.inputs.keys() == whole.inputs.keys()
    for name, value in whole.inputs.items():
        assert torch.equal(part.inputs[name], value), name


@pytest.mark.parametrize("family", FAMILIES)
def test_images_of_one_size_are_joined_as_the_processor_joins_them(family, build, images, monkeypatch) -> None:
    stimuli = images(4)
    alike = [type(one)(one.block, one.image.resize(stimuli[0].image.size)) for one in stimuli]
    model = build(family, attend="unrepeated", images_at_once=4)
    for part, whole in parts_of(model, alike):
        same(part, whole)
        assert joined([part], model._loaded().loaded) is not None
    model.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_images_of_many_sizes_are_what_the_processor_makes_of_them(family, build, images, monkeypatch) -> None:
    """Joined where it only puts them one after another, else prepared again together."""
    monkeypatch.setattr(_hf_ahead, "FIRST", 2)
    model = build(family, attend="unrepeated", images_at_once=5)
    sizes = []
    for part, whole in parts_of(model, images(5)):
        same(part, whole)
        sizes.append(len(part.ids))
    assert sizes == [2, 3]
    model.close()


def test_images_that_would_be_padded_to_one_shape_are_not_joined(build) -> None:
    loaded = build("llava", attend="unrepeated")._loaded().loaded

    def one(tiles: int) -> Shared:
        ids = torch.ones(1, 3 + tiles, dtype=torch.long)
        return Shared({"input_ids": ids, "attention_mask": ids, "pixel_values": torch.zeros(1, tiles, 3, 4, 4)}, [[[1]]])

    assert joined([one(2), one(5)], loaded) is None
    together = joined([one(2), one(2)], loaded)
    assert together is not None
    assert together.inputs["pixel_values"].shape == (2, 2, 3, 4, 4)


def test_the_shorter_of_two_is_padded_on_the_left(build) -> None:
    loaded = build("llava", attend="unrepeated")._loaded().loaded
    ones = [Shared({"input_ids": torch.full((1, n), 9), "attention_mask": torch.ones(1, n)}, [[[9] * n]]) for n in (2, 4)]
    found = joined(ones, loaded)
    assert found.inputs["input_ids"].tolist() == [[loaded.pad, loaded.pad, 9, 9], [9, 9, 9, 9]]
    assert found.inputs["attention_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("tokens", "images"), [(10, MOST), (TOKENS_AT_ONCE // 16, 16), (TOKENS_AT_ONCE // 3, FEWEST), (10**6, FEWEST)]
)
def test_a_part_has_as_many_images_as_tokens_allow(tokens, images) -> None:
    assert part_size(Shared({"input_ids": torch.zeros(2, tokens)}, [])) == images


@pytest.mark.parametrize("family", ["llava_next", "gemma3", "qwen2_vl"])
def test_a_batch_in_parts_is_answered_like_images_alone(family, build, images) -> None:
    """More images than the first part and one more hold: keys and values of three parts, of unlike length, are joined."""
    stimuli = images(2 + FEWEST + 2)
    model = build(family, attend="unrepeated", images_at_once=len(stimuli), max_new_tokens=4)
    small = pytest.MonkeyPatch()
    small.setattr(_hf_ahead, "FIRST", 2)
    small.setattr(_hf_ahead, "MOST", FEWEST)
    given = model.ask(stimuli)
    small.undo()
    model.close()
    alone = build(family, attend="repeated", images_at_once=1, max_new_tokens=4)
    assert texts(given) == texts(alone.ask(stimuli))


def test_the_batch_that_comes_next_is_begun_while_one_is_answered(build, images, monkeypatch) -> None:
    stimuli = images(4)
    model = build("llava", attend="unrepeated", images_at_once=2, max_new_tokens=2)
    ahead, events = model._loaded().ahead, []
    begin, parts = ahead.begin, ahead.parts
    monkeypatch.setattr(ahead, "begin", lambda q, i: (events.append(("begin", len(i))), begin(q, i))[1])
    monkeypatch.setattr(ahead, "parts", lambda q, i: (events.append(("parts", len(i), len(ahead._begun))), parts(q, i))[1])
    submitted = ahead._submitted
    monkeypatch.setattr(ahead, "_submitted", lambda q, i: (events.append(("submitted", i[0].size)), submitted(q, i))[1])
    given = model.ask(stimuli)
    first, second = stimuli[0].image.size, stimuli[2].image.size
    begun = [("begin", 2), ("parts", 2, 0), ("submitted", first), ("submitted", second), ("parts", 2, 1)]
    assert events == begun, "nobody waits for the second batch's images before the first's"
    assert not ahead._begun
    assert texts(given) == texts(build("llava", attend="repeated", max_new_tokens=2).ask(stimuli))


def test_what_was_begun_and_not_asked_for_is_forgotten(build, images, monkeypatch) -> None:
    """The first batch fails: the second's images are not kept for an image that happens to lie where one of them lay."""
    stimuli = images(4)
    model = build("llava", attend="unrepeated", images_at_once=2, max_new_tokens=2)
    ready = model._loaded()

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "_answer", broken)
    with pytest.raises(KeyboardInterrupt):
        model.ask(stimuli)
    assert not ready.ahead._begun


def test_what_is_expected_is_begun_while_the_last_batch_is_answered(build, images, monkeypatch) -> None:
    """And kept until it is asked, if nothing failed; what was expected and is not asked next is forgotten."""
    stimuli, alone = images(6), build("llava", attend="repeated", max_new_tokens=2)
    model = build("llava", attend="unrepeated", images_at_once=2, max_new_tokens=2)
    ahead = model._loaded().ahead
    model.expect(stimuli[4:])
    first = model.ask(stimuli[:4])
    assert [len(images) for (_, images), _ in ahead._begun.values()] == [2]
    submitted = []
    own = ahead._submitted
    monkeypatch.setattr(ahead, "_submitted", lambda q, i: (submitted.append(len(i)), own(q, i))[1])
    model.expect(stimuli[:2])
    second = model.ask(stimuli[4:])
    assert submitted == [2], "what had been begun is not begun again; what is expected now is"
    assert texts(first + second) == texts(alone.ask(stimuli))
    assert texts(model.ask(stimuli[2:4])) == texts(alone.ask(stimuli[2:4]))
    assert not ahead._begun
    model.close()


def test_what_was_expected_changes_no_answer(build, images) -> None:
    """The very images, but something else is asked about them."""
    stimuli = images(4)
    turned = [replace(one, block=replace(one.block, trials=one.block.trials[::-1])) for one in stimuli[2:]]
    model = build("llava", attend="unrepeated", images_at_once=2, max_new_tokens=4)
    model.expect(stimuli[2:])
    model.ask(stimuli[:2])
    assert model._loaded().ahead._begun
    given = model.ask(turned)
    model.close()
    alone = build("llava", attend="repeated", max_new_tokens=4)
    assert texts(given) == texts(alone.ask(turned))
    assert texts(given) != texts(alone.ask(stimuli[2:]))


def test_nothing_that_was_expected_is_kept_after_a_failure(build, images, monkeypatch) -> None:
    stimuli = images(4)
    model = build("llava", attend="unrepeated", images_at_once=2, max_new_tokens=2)
    ahead = model._loaded().ahead

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "_answer", broken)
    model.expect(stimuli[2:])
    with pytest.raises(KeyboardInterrupt):
        model.ask(stimuli[:2])
    assert not ahead._begun
    assert not ahead._noted


def test_a_closed_model_has_no_threads_left(build, images) -> None:
    import threading

    model = build("llava", attend="unrepeated", images_at_once=2, max_new_tokens=2)
    model.ask(images(3))
    assert any("palpate-images" in thread.name for thread in threading.enumerate())
    pool = model._loaded().ahead._pool
    model.close()
    assert pool._shutdown
    assert not any(thread.is_alive() for thread in pool._threads)


def test_a_question_about_images_of_one_size_is_tokenised_once(build, images, monkeypatch) -> None:
    model = build("llava", attend="repeated", images_at_once=2, max_new_tokens=2)
    stimuli = images(2)
    alike = [type(one)(one.block, one.image.resize(stimuli[0].image.size)) for one in stimuli]
    encoder, asked = model._loaded().encoder, []
    ids = encoder.ids
    monkeypatch.setattr(encoder, "ids", lambda text: (asked.append(text), ids(text))[1])
    questions = [[row.rendered for row in model._rows(model._loaded(), one)] for one in alike]
    shared = encoder.shared(questions, [one.image for one in alike])
    assert shared.ids[0] == shared.ids[1]
    assert len(asked) == len(set(asked)) == len(questions[0])
