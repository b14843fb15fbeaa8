"""Inner states against computations of their own: one full pass per question, and hooks on the layers of the vision tower."""

from __future__ import annotations

import numpy as np
import pytest

from palpate.models import _hf_ways
from palpate.nouns import Status
from palpate.parts import FeatureRequest, FeatureStage, LooksInside

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

FAMILIES = (
    *("llava", "llava_next", "llava_onevision", "gemma3", "gemma3_window", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
    *("idefics3", "smolvlm", "internvl"),
)


def own_inputs(loaded, question: str, image):
    """transformers' own way from messages to tensors."""
    messages = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": question}]}]
    found = loaded.processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    return {name: value for name, value in found.items() if name != "labels"}


def tower(model):
    """The vision tower, whatever a family calls it."""
    inner = model.base_model
    return next(getattr(inner, name) for name in ("vision_tower", "visual", "vision_model") if hasattr(inner, name))


def layer_means(model, inputs) -> list[np.ndarray]:
    """What every block of the tower gives, averaged over all tokens, by hooks of our own."""
    blocks = max((m for m in tower(model).modules() if isinstance(m, torch.nn.ModuleList)), key=len)
    seen: list[np.ndarray] = []

    def keep(_module, _inputs, out) -> None:
        states = out[0] if isinstance(out, tuple) else out
        skip = 1 if getattr(model.config, "vision_feature_select_strategy", None) == "default" else 0
        seen.append(states[..., skip:, :].reshape(-1, states.shape[-1]).float().mean(0).numpy())

    hooks = [block.register_forward_hook(keep) for block in blocks]
    with torch.inference_mode():
        model(**inputs)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_a_full_pass_per_question(family, build, images) -> None:
    """Vision layers by hooks; the language model's layers at the image and at the last token by one uncached forward each."""
    one = images(2)[1]
    chosen = tuple(one.block.trials[i].prompt for i in (0, 5))
    model = build(family)
    assert isinstance(model, LooksInside)
    (answers,), (features,) = model.look([one], [FeatureRequest(prompts=chosen)])
    loaded = model._loaded().loaded
    token = model._loaded().encoder.loaded.model.config
    token = getattr(token, "image_token_id", getattr(token, "image_token_index", None))
    for prompt in chosen:
        inputs = own_inputs(loaded, prompt.text, one.image)
        with torch.inference_mode():
            states = loaded.model(**inputs, output_hidden_states=True).hidden_states
        at = inputs["input_ids"][0] == token
        for depth, layer in enumerate(states):
            image, last = features[FeatureStage("image", depth)], features[FeatureStage("prompt", depth, "last", prompt.name)]
            np.testing.assert_allclose(image, layer[0, at].mean(0), atol=1e-4)
            np.testing.assert_allclose(last, layer[0, -1], atol=2e-4)
    hooked = layer_means(loaded.model, inputs)
    vision = [features[s] for s in features if s.kind == "vision"]
    assert len(vision) == len(hooked) + 1
    for mine, wanted in zip(vision[1:-1], hooked[:-1], strict=True):  # the last one may be taken after a norm
        np.testing.assert_allclose(mine, wanted, atol=1e-4)
    # What the projector gives is what the language model is given.
    np.testing.assert_allclose(features[FeatureStage("projector")], features[FeatureStage("image", 0)], atol=1e-4)
    assert [a.text for a in answers] == [a.text for a in build(family, inference="plain").ask([one])[0]]


def test_stages_come_in_the_order_information_flows(build, images) -> None:
    one = images(1)[0]
    names = [one.block.trials[i].prompt.name for i in (3, 1)]
    request = FeatureRequest(pooling=("mean", "max"), prompts=tuple(one.block.trials[i].prompt for i in (3, 1)))
    features = build("llava").look([one], [request])[1][0]
    assert [s.name for s in features] == [
        *(f"vision-{d:02d}{p}" for d in range(3) for p in ("/max", "")),
        *("read/max", "read", "projector/max", "projector"),
        *(f"image-{d:02d}{p}" for d in range(4) for p in ("/max", "")),
        *(f"prompt-{d:02d}@{name}" for name in names for d in range(4)),
    ]
    assert all(
        (features[FeatureStage(s.kind, s.depth, "max")] >= v - 1e-6).all() for s, v in features.items() if s.pooling == "mean"
    )
    np.testing.assert_array_equal(features[FeatureStage("read")], features[FeatureStage("vision", 2)])


def test_layers_may_be_chosen_from_either_end(build, images) -> None:
    one = images(1)[0]
    prompt = one.block.trials[0].prompt
    features = build("qwen2_vl").look([one], [FeatureRequest(layers=(1, -1, 99), prompts=(prompt,))])[1][0]
    assert [s.name for s in features] == [
        *("vision-01", "vision-02", "read", "projector", "image-01", "image-03"),
        *(f"prompt-01@{prompt.name}", f"prompt-03@{prompt.name}"),
    ]


@pytest.mark.parametrize("inference", ["prefix", "plain"])
def test_both_paths_see_the_same_and_watching_changes_no_answer(inference, build, images) -> None:
    stimuli = images(3)
    model = build("gemma3", inference=inference)
    prompt = stimuli[0].block.trials[2].prompt
    answers, features = model.look(stimuli, [FeatureRequest(prompts=(prompt,)), None, FeatureRequest(prompts=(prompt,))])
    wanted = model.ask(stimuli)
    assert [[a.text for a in row] for row in answers] == [[a.text for a in row] for row in wanted]
    assert features[1] is None
    other = build("gemma3", inference="plain").look(stimuli[:1], [FeatureRequest(prompts=(prompt,))])[1][0]
    for stage, vector in other.items():
        np.testing.assert_allclose(features[0][stage], vector, atol=1e-4)
    assert not np.allclose(features[0][FeatureStage("image", 3)], features[2][FeatureStage("image", 3)], atol=1e-2)


def test_a_question_answered_before_is_watched_without_being_answered(build, images, prompts, describe) -> None:
    """The block has nothing left to ask, or other questions: the chosen one is looked at all the same."""
    model = build("llava")
    request = FeatureRequest(prompts=(describe,))
    whole = model.look(images(1, (*prompts, describe)), [request])
    nothing, few = model.look(images(1, ()), [request]), model.look(images(1, prompts[:2]), [request])
    assert nothing[0] == [[]]
    assert [a.text for a in few[0][0]] == [a.text for a in whole[0][0][:2]]
    for stage, vector in whole[1][0].items():
        np.testing.assert_allclose(nothing[1][0][stage], vector, atol=1e-4)
        np.testing.assert_allclose(few[1][0][stage], vector, atol=1e-4)


def test_what_cannot_be_watched_is_still_answered(build, images, without_image, monkeypatch) -> None:
    from palpate.models import _hf_features

    request = FeatureRequest(prompts=(images(1)[0].block.trials[0].prompt,))
    model = build("llava")
    answers, features = model.look([without_image(0), *images(1)], [request, request])
    assert features[0] is None
    assert features[1] is not None
    monkeypatch.setattr(_hf_features.Watch, "vision", lambda *_: (_ for _ in ()).throw(RuntimeError("no states")))
    again, features = model.look(images(1), [request])
    assert features == [None]
    assert [(a.status, a.text) for a in again[0]] == [(Status.TRUNCATED, a.text) for a in answers[1]]


def test_an_older_transformers_runs_the_tower_twice_and_sees_the_same(build, images, monkeypatch) -> None:
    from palpate.models import _hf_features

    one = images(1)[0]
    request = FeatureRequest(prompts=(one.block.trials[0].prompt,))
    wanted = build("llava").look([one], [request])[1][0]
    monkeypatch.setattr(_hf_features, "seen", lambda loaded, inputs, vision: dict(inputs))
    found = build("llava").look([one], [request])[1][0]
    for stage, vector in wanted.items():
        np.testing.assert_allclose(found[stage], vector, atol=1e-5)


# ---------------------------------------------------------------- the random twin


def test_a_random_twin_has_the_architecture_and_other_weights(build, images) -> None:
    request = FeatureRequest(prompts=(images(1)[0].block.trials[0].prompt,))

    def vectors(seed: int = 0, **options):
        model = build("llava", seed=seed, **options)
        return model.fingerprint().identity, model.look(images(1), [request])[1][0]

    trained, twin, again, other = vectors(), vectors(twin="random"), vectors(twin="random"), vectors(1, twin="random")
    assert list(trained[1]) == list(twin[1])
    for stage in trained[1]:
        np.testing.assert_array_equal(twin[1][stage], again[1][stage])
        assert not np.allclose(twin[1][stage], trained[1][stage], atol=1e-3)
        assert not np.allclose(twin[1][stage], other[1][stage], atol=1e-6)
    assert len({str(identity) for identity in (trained[0], twin[0], other[0])}) == 3
    assert twin[0] == again[0]


def test_a_twin_needs_no_weights(build, checkpoint, tmp_path, images) -> None:
    import shutil

    folder = shutil.copytree(checkpoint("llava"), tmp_path / "bare")
    (folder / "model.safetensors").unlink()
    answers = build(folder, twin="random").ask(images(1))
    assert {a.error for a in answers[0]} == {None}
    assert _hf_ways.VERIFIED


def test_a_watched_image_is_asked_by_the_compiled_parts_too(build, images, monkeypatch) -> None:
    """Else rounding would tell watched images from others within one run."""
    turned = []

    def noted(function):
        def run(*given, **named):
            turned.append(getattr(function, "__name__", ""))
            return function(*given, **named)

        return run

    monkeypatch.setattr(torch, "compile", noted)
    one, request = images(1), FeatureRequest(prompts=images(1)[0].block.trials[:0])
    model = build("llava", compiled=True, attend="unrepeated")
    model.ask(one)
    asked = turned.count("apply_rotary_pos_emb")
    turned.clear()
    model.look(one, [request])
    assert turned.count("apply_rotary_pos_emb") == asked > 0
