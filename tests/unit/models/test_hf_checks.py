"""The self-tests before a run: they hold for sound models, and each one catches the very fault it is there for."""

from __future__ import annotations

import shutil

import pytest

from palpate.models import _hf_checks, _hf_model, _hf_prefix
from palpate.models._hf_checks import Agreement, agreement, chosen, tower_digest
from palpate.models._hf_decode import Row
from palpate.parts import ChecksItself

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

FAMILIES = (
    *("llava", "llava_next", "llava_onevision", "gemma3", "gemma3_window", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
    *("idefics3", "smolvlm", "internvl", "paligemma"),
)


def named(found) -> dict[str, dict]:
    return {check["name"]: check for check in found["checks"]}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sound_model_passes(family, build, images) -> None:
    model = build(family)
    assert isinstance(model, ChecksItself)
    found = model.check(images(2))
    assert {name: check["held"] for name, check in named(found).items()} == {
        "asked together as alone": True,
        "two images kept apart": True,
    }
    assert "ask_instead" not in found
    assert "8 of 8 answers the same" in named(found)["asked together as alone"]["found"]
    assert found["parameters"] == sum(p.numel() for p in model._loaded().loaded.model.parameters())
    assert len(found["vision_tower"]) == 32


def test_it_shows_the_prompt_as_the_model_sees_it(build, images) -> None:
    one = images(2)
    shown = build("llava").check(one)["rendered_prompt"]
    assert shown.startswith("USER: <image>\n")
    assert shown.endswith("ASSISTANT:")
    assert one[0].block.trials[0].prompt.text in shown


def test_checking_changes_no_answer(build, images) -> None:
    wanted = build("gemma3").ask(images(2))
    model = build("gemma3")
    model.check(images(2))
    assert [[(a.text, a.margin) for a in row] for row in model.ask(images(2))] == [
        [(a.text, a.margin) for a in row] for row in wanted
    ]


def test_a_prefix_path_that_differs_is_switched_off_with_a_warning(build, images, monkeypatch) -> None:
    """Positions off by one: the answers are plausible, and wrong."""
    right = _hf_prefix.Repeated.extend
    monkeypatch.setattr(_hf_prefix.Repeated, "extend", lambda self, real: right(self, real) + 3)
    model = build("llava")
    found = model.check(images(2))
    assert named(found)["asked together as alone"]["held"] is False
    assert found["ask_instead"] == {"inference": "single"}
    (warning,) = found["warnings"]
    assert warning.endswith("every question is asked by itself")  # as the same model
    monkeypatch.undo()
    wanted = build("llava").ask(images(2))
    assert [[a.text for a in r] for r in build("llava", **found["ask_instead"]).ask(images(2))] == [
        [a.text for a in r] for r in wanted
    ]


def test_one_images_keys_given_to_another_are_noticed(build, images, monkeypatch) -> None:
    """The fault of a server that keyed its cache by the prompt alone: every image gets the first one's keys and values."""
    prefill = _hf_prefix._prefill

    def mixed(loaded, shared, lengths, watch):
        begun = prefill(loaded, shared, lengths, watch)
        begun.cache.reorder_cache(torch.zeros(len(lengths), dtype=torch.long))
        return begun

    monkeypatch.setattr(_hf_prefix, "_prefill", mixed)
    found = build("llava", images_at_once=2).check(images(2))
    assert named(found)["two images kept apart"]["held"] is False
    assert found["ask_instead"] == {"inference": "single"}


def test_a_cache_kept_from_an_earlier_image_is_noticed(build, images, monkeypatch) -> None:
    prefill = _hf_prefix._prefill
    kept: list = []

    def stale(loaded, shared, lengths, watch):
        import copy

        if not kept:
            kept.append(prefill(loaded, shared, lengths, watch))
        return copy.deepcopy(kept[0])

    monkeypatch.setattr(_hf_prefix, "_prefill", stale)
    model = build("llava", images_at_once=1)
    stimuli = images(2)
    same_size = [stimuli[0], type(stimuli[1])(stimuli[1].block, stimuli[1].image.resize(stimuli[0].image.size))]
    found = named(model.check(same_size))
    assert found["two images kept apart"]["held"] is False or found["asked together as alone"]["held"] is False


def test_short_of_float32_it_is_asked_one_by_one_as_another_model(build, images, monkeypatch) -> None:
    """The way of asking is then part of the model's identity: whoever plans it has to plan it again, and is told."""
    ok = build("llava", dtype="bfloat16").check(images(2))
    assert named(ok)["asked together as alone"]["held"] is True
    assert "ask_instead" not in ok
    right = _hf_prefix.Repeated.extend
    monkeypatch.setattr(_hf_prefix.Repeated, "extend", lambda self, real: right(self, real) + 7)
    monkeypatch.setitem(_hf_checks.ROUNDING, "bfloat16", 0.05)
    model = build("llava", dtype="bfloat16")
    found = model.check(images(2))
    assert found["ask_instead"] == {"inference": "single"}
    (warning,) = found["warnings"]
    assert "in bfloat16 as another model by identity (inference = 'single')" in warning
    other = build("llava", dtype="bfloat16", **found["ask_instead"])
    assert other.fingerprint().identity != model.fingerprint().identity
    assert "ask_instead" not in other.check(images(2))  # the fault is of the way that is left


def test_a_model_asked_one_by_one_needs_no_comparison(build, images) -> None:
    found = build("llava", inference="single").check(images(2))
    assert named(found)["asked together as alone"]["held"] is None
    assert named(found)["two images kept apart"]["held"] is True


def test_with_one_image_or_none_what_cannot_be_checked_is_said(build, images, without_image) -> None:
    one = named(build("llava").check(images(1)))
    assert one["asked together as alone"]["held"] is True
    assert one["two images kept apart"]["held"] is None
    assert build("llava").check([]) == {}
    words = build("reader").check([without_image(0), without_image(1)])
    assert words["vision_tower"] is None
    assert named(words)["asked together as alone"]["held"] is True
    assert "two images kept apart" not in named(words)


# ---------------------------------------------------------------- the tower


def test_a_tower_is_known_by_its_weights(build, checkpoint, tmp_path) -> None:
    """Tuned language model, stock tower: identical. One changed weight of the tower: another."""
    from safetensors.torch import load_file, save_file

    def digest(folder) -> str | None:
        return tower_digest(build(folder)._loaded().loaded)

    def changed(name: str, part: str):
        folder = shutil.copytree(checkpoint("llava"), tmp_path / name)
        weights = load_file(folder / "model.safetensors")
        key = next(k for k in sorted(weights) if part in k and weights[k].dim() > 1)
        weights[key][0, 0] += 1
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    stock = digest(checkpoint("llava"))
    assert digest(changed("tuned-language", "language_model")) == stock
    assert digest(changed("tuned-tower", "vision_tower")) != stock
    assert tower_digest(build("llava", dtype="bfloat16")._loaded().loaded) != stock
    assert tower_digest(build("reader")._loaded().loaded) is None


# ---------------------------------------------------------------- the arithmetic


def row(tokens: list[int], logits: list[float] | None, *, bad: bool = False) -> Row:
    made = Row(None, None, "", 5)  # type: ignore[arg-type]
    made.tokens, made.bad = tokens, bad
    made.first_logits = None if logits is None else torch.tensor(logits)
    return made


def test_agreement_counts_answers_and_measures_in_standard_deviations() -> None:
    given = [row([1, 2], [0.0, 2.0, float("-inf")]), row([3], [1.0, 3.0, 5.0])]
    wanted = [row([1, 2], [0.0, 2.2, float("-inf")]), row([4], [1.0, 3.0, 5.0])]
    found = agreement(given, wanted)
    assert (found.same, found.questions) == (1, 2)
    assert found.moved == pytest.approx(0.2 / torch.tensor([0.0, 2.2]).std().item())
    assert agreement([row([], None)], [row([], [1.0, 2.0])]).moved == float("inf")
    assert agreement([row([], [1.0, 2.0], bad=True)], [row([], [1.0, 2.0])]).moved == float("inf")


def test_in_float32_tokens_must_agree_too() -> None:
    assert Agreement(8, 8, 1e-5).within("float32")
    assert not Agreement(7, 8, 1e-5).within("float32")
    assert Agreement(5, 8, 0.1).within("bfloat16")  # half precision flips near ties: measured, reported
    assert not Agreement(8, 8, 0.9).within("bfloat16")


def test_the_sample_is_of_different_lengths_and_short() -> None:
    rows = [Row(None, None, "x" * n, 99) for n in (50, 10, 30, 20, 40, 60, 70)]  # type: ignore[arg-type]
    kept = chosen(rows)
    assert [len(r.rendered) for r in kept] == [10, 30, 50, 70]
    assert {r.budget for r in kept} == {_hf_checks.TOKENS}
    assert chosen([]) == []
    assert len(chosen(rows[:2])) == 2
    assert _hf_model.TEXTS_AT_ONCE
