"""Exactness, step by step: every way of asking gives the tokens and the logits of each question asked by itself, in float32."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence

import pytest

from palpate.errors import ModelError
from palpate.models import _hf_features, _hf_ways
from palpate.models._hf_ways import ENCODER_ONLY, VERIFIED
from palpate.nouns import Prompt, Stimulus

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

FAMILIES = (
    *("llava", "llava_next", "llava_onevision", "gemma3", "gemma3_window", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
    *("idefics3", "smolvlm", "internvl"),
)
LATE = (
    "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% endif %}{% endfor %}{% endfor %}ASSISTANT:"
)
"""A template that puts the image after the question."""

Steps = dict[tuple[str, str, int], "torch.Tensor"]


def asked(model, stimuli: Sequence[Stimulus]) -> tuple[list[list[tuple[str, int | None]]], Steps]:
    """The answers' texts and lengths, and the logits of every row at every step."""
    chooser = model._loaded().chooser
    steps: Steps = {}

    def keeping(way):
        def keep(rows, logits, step: int):
            for row, own in zip(rows, logits, strict=True):
                steps.setdefault((row.block.case.id, row.trial.prompt.name, step), own.float().clone())
            return way(chooser, rows, logits, step)

        return keep

    # generate() asks for scores; our own decoding for what is chosen, which looks at scores only where it must.
    chooser.scores, chooser.chosen = keeping(type(chooser).scores), keeping(type(chooser).chosen)
    answers = model.ask(stimuli)
    del chooser.scores, chooser.chosen
    assert {a.error for row in answers for a in row} == {None}
    return [[(a.text, a.tokens_out) for a in row] for row in answers], steps


@pytest.fixture
def chosen(prompts: tuple[Prompt, ...]) -> tuple[Prompt, ...]:
    """Questions of quite different lengths: the shortest, the longest, and two between."""
    ordered = sorted(prompts, key=lambda p: len(p.text))
    assert len(ordered[-1].text) > 2 * len(ordered[0].text)
    return (ordered[0], ordered[4], ordered[8], ordered[-1])


def compare(build: Callable, family: str, stimuli: Sequence[Stimulus], ways: Sequence[dict]) -> None:
    wanted, reference = asked(build(family, inference="single", max_new_tokens=10), stimuli)
    assert len({text for row in wanted for text, _ in row}) > 4  # questions and images matter
    for options in ways:
        texts, steps = asked(build(family, max_new_tokens=10, **options), stimuli)
        assert texts == wanted, options
        for place, logits in reference.items():  # generate() goes on with rows that have ended: those steps are of no account
            assert (logits - steps[place]).abs().max() <= 1e-4, (options, place)


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_and_encoder_sharing_equal_each_question_by_itself(family, build, images, chosen) -> None:
    """Images of different sizes, alone and together; tokens equal, logits of every step within 1e-4."""
    ways = [{"inference": "prefix", "images_at_once": 1}, {"inference": "prefix", "images_at_once": 2}, {"inference": "encoder"}]
    compare(build, family, images(2, chosen), ways)


def test_an_image_that_attends_to_the_question_shares_the_tower(build, images, chosen) -> None:
    model = build("paligemma")
    assert model.path == "encoder"
    assert model.warnings == ()
    compare(build, "paligemma", images(2, chosen), [{}, {"inference": "plain"}])
    with pytest.raises(ModelError, match="not known to be exact for paligemma"):
        build("paligemma", inference="prefix").fingerprint()


def test_text_before_the_image_shares_the_tower(build, images, chosen) -> None:
    for family in ("llava", "llava_next", "idefics3"):
        one = images(1, chosen)
        wanted = build(family, inference="single", chat_template=LATE).ask(one)
        given = build(family, chat_template=LATE).ask(one)
        assert [a.text for a in given[0]] == [a.text for a in wanted[0]]


@pytest.mark.parametrize(("family", "options"), [("paligemma", {}), ("llava", {"chat_template": LATE}), ("llava", {})])
def test_the_tower_runs_once_for_all_questions(family, options, build, images) -> None:
    model = build(family, **options)
    inner = model._loaded().loaded.model.base_model
    batches: list[int] = []
    inner.vision_tower.register_forward_pre_hook(
        lambda _m, args, given: batches.append(len(args[0] if args else given["pixel_values"])), with_kwargs=True
    )
    model.ask(images(1))
    assert batches == [1]


def test_an_unknown_architecture_is_asked_one_by_one_and_says_so(build, images, monkeypatch) -> None:
    wanted = build("llava").ask(images(2))
    monkeypatch.setattr(_hf_ways, "VERIFIED", VERIFIED - {"llava"})
    model = build("llava")
    assert model.path == "single"
    environment = model.fingerprint().environment
    assert environment["inference"] == "single"
    (warning,) = environment["warnings"]
    assert "llava is not among the tested architectures" in warning
    loaded = model._loaded().loaded
    sizes: set[int] = set()
    loaded.model.register_forward_pre_hook(lambda _m, _a, given: sizes.add(given["input_ids"].shape[0]), with_kwargs=True)
    given = model.ask(images(2))
    assert sizes == {1}
    assert [[a.text for a in row] for row in given] == [[a.text for a in row] for row in wanted]
    assert build("llava", inference="single").warnings == ()  # asked for: no surprise


def test_no_architecture_is_in_two_lists() -> None:
    assert not ENCODER_ONLY & VERIFIED
    assert set(FAMILIES) - {"gemma3_window"} == VERIFIED


@pytest.mark.parametrize("inference", ["prefix", "plain", "single"])
def test_a_repetition_penalty_of_the_checkpoint_is_put_aside(inference, build, checkpoint, tmp_path, images) -> None:
    """Greedy means greedy: a checkpoint's own penalty would make an answer depend on padding and on the question's words."""
    folder = shutil.copytree(checkpoint("llava_next"), tmp_path / "penalised")
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "repetition_penalty": 1.8}))
    wanted = build("llava_next", inference=inference).ask(images(1))[0]
    assert [a.text for a in build(folder, inference=inference).ask(images(1))[0]] == [a.text for a in wanted]


def test_another_images_position_offset_between_passes_does_no_harm(build, images) -> None:
    """Qwen-VL keeps the last image's offset on the module: images of other sizes asked in between change nothing."""
    for family in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"):
        stimuli = images(3)
        model = build(family, images_at_once=2)
        first = model.ask(stimuli)
        model.ask(stimuli[::-1])
        again = model.ask(stimuli)
        assert [[a.text for a in row] for row in again] == [[a.text for a in row] for row in first]
        assert [[a.margin for a in row] for row in again] == [[a.margin for a in row] for row in first]


@pytest.mark.parametrize("family", ["llava_next", "gemma3"])
def test_in_half_precision_first_tokens_agree_up_to_rounding(family, build, images) -> None:
    """No claim of equal tokens: margins move by rounding alone; measured agreement is in docs/performance.md."""
    stimuli = images(1)
    single = [a for row in build(family, inference="single", dtype="bfloat16").ask(stimuli) for a in row]
    shared = [a for row in build(family, inference="prefix", dtype="bfloat16").ask(stimuli) for a in row]
    exact = [a for row in build(family, inference="single").ask(stimuli) for a in row]

    def error(given) -> float:
        return sum(abs(a.margin - b.margin) for a, b in zip(given, exact, strict=True)) / len(exact)

    assert error(shared) < 2 * error(single) + 0.02  # sharing costs no accuracy beyond what the format itself does


def test_the_tower_output_is_repeated_in_whatever_form_it_comes() -> None:
    from types import SimpleNamespace

    tensor = SimpleNamespace(pooler_output=torch.arange(6.0).view(1, 3, 2))
    assert _hf_features.repeated(tensor, 2).pooler_output.tolist() == torch.arange(6.0).view(1, 3, 2).repeat(2, 1, 1).tolist()
    several = SimpleNamespace(pooler_output=(torch.zeros(2, 2),), deepstack_features=[torch.ones(2, 4), (torch.ones(2, 4),)])
    out = _hf_features.repeated(several, 3)
    assert len(out.pooler_output) == 3
    assert out.deepstack_features[0].shape == (6, 4)
    assert len(out.deepstack_features[1]) == 3
