"""The reference study's models by name, its protocol, and options that change what a model is: quantised, compiled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from palpate.errors import ModelError, StudyError
from palpate.models import _hf_load
from palpate.models._hf_presets import BY_PATH, CARDS, MISTRAL, VICUNA
from palpate.models._hf_settings import settings_from
from palpate.models.hf import HFKind
from palpate.parts import ModelSpec
from palpate.study import Study
from small import write_study

NAMES = ("llava-v1.6-mistral-7b", "llava-med-v1.5-mistral-7b", "gemma-3-4b-it", "medgemma-4b-it")
STUDY = """
name = "reference"
protocol = "fragility-2026"

[[models]]
name = "llava-v1.6-mistral-7b"

[[models]]
name = "llava-med-v1.5-mistral-7b"
max_new_tokens = 64

[[models]]
name = "gemma-3-4b-it"
revision = "abc"

[[models]]
name = "medgemma-4b-it"

[[models]]
name = "planted"
kind = "scripted"

[[tasks]]
name = "pneumonia_cxr"
source = { kind = "folder", path = "images" }
"""


def rendered(template: str, *, image: bool = True, system: str | None = None) -> str:
    from jinja2 import Environment

    content = [*([{"type": "image"}] if image else []), {"type": "text", "text": "Is it?"}]
    messages = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    messages.append({"role": "user", "content": content})
    return Environment(autoescape=False).from_string(template).render(messages=messages, add_generation_prompt=True)


def test_the_four_models_stand_for_their_hub_ids() -> None:
    presets = HFKind().presets()
    assert tuple(presets) == NAMES
    assert [p["path"] for p in presets.values()] == [
        "llava-hf/llava-v1.6-mistral-7b-hf",
        "wnkh/llava-med-v1.5-mistral-7b-hf",
        "google/gemma-3-4b-it",
        "google/medgemma-4b-it",
    ]
    for card in CARDS.values():
        assert set(card.facts()) == {"descends_from", "exposure", "citation"}
        assert all(card.facts().values())


def test_templates_say_what_they_are_meant_to() -> None:
    assert rendered(MISTRAL) == "[INST] <image>\nIs it? [/INST]"
    assert rendered(MISTRAL, image=False) == "[INST] Is it? [/INST]"
    assert rendered(MISTRAL, system="Be brief.") == "<<SYS>>\nBe brief.\n<</SYS>>\n\n[INST] <image>\nIs it? [/INST]"
    assert rendered(VICUNA) == "USER: <image>\nIs it? ASSISTANT:"


# ---------------------------------------------------------------- the protocol


def settings(study: Study) -> dict:
    return {m.name: settings_from(m) for m in study.models if m.kind == "hf"}


def test_the_protocol_reproduces_the_references_settings(tmp_path) -> None:
    """2048 new tokens; at least 32 for LLaVA; the Vicuna template for LLaVA-1.6 alone. What a model's entry says goes first."""
    study = Study.load(write_study(tmp_path, STUDY))
    found = settings(study)
    assert {n: s.max_new_tokens for n, s in found.items()} == {
        NAMES[0]: (2048, 2048),
        NAMES[1]: (64, 2048),
        NAMES[2]: (2048, 2048),
        NAMES[3]: (2048, 2048),
    }
    assert [s.min_new_tokens for s in found.values()] == [32, 32, 0, 0]
    assert [s.chat_template == VICUNA for s in found.values()] == [True, False, False, False]
    assert [s.temperature for s in found.values()] == [0.0] * 4
    assert found["gemma-3-4b-it"].revision == "abc"
    assert len([p for p in study.tasks[0].prompts if p.form.closed]) == 12
    assert {(p.base, p.tuned, p.relation) for p in study.lineages} == {(*NAMES[:2], "sibling"), (*NAMES[2:], "sibling")}
    (tmp_path / "again.toml").write_text(study.to_toml())
    assert Study.load(tmp_path / "again.toml") == study


def test_without_it_each_model_has_its_own_template_and_length(tmp_path) -> None:
    found = settings(Study.load(write_study(tmp_path, STUDY.replace('protocol = "fragility-2026"', ""))))
    assert {s.chat_template for s in found.values()} == {None}
    assert {s.min_new_tokens for s in found.values()} == {0}
    assert found[NAMES[0]].max_new_tokens == (32, 256)
    assert found[NAMES[1]].fallback_template == MISTRAL


def test_the_wrong_template_may_be_left_out_of_the_protocol(tmp_path) -> None:
    text = STUDY.replace('name = "llava-v1.6-mistral-7b"', 'name = "llava-v1.6-mistral-7b"\nchat_template = "own"')
    one = settings(Study.load(write_study(tmp_path, text)))[NAMES[0]]
    assert (one.chat_template, one.own_template, one.min_new_tokens) == (None, True, 32)


@pytest.mark.parametrize("prompts", ['prompts = "core"\n[[models]]', None])
def test_the_protocol_asks_its_own_wordings(tmp_path, prompts) -> None:
    if prompts:
        text = STUDY.replace("[[models]]", prompts, 1)
    else:
        text = STUDY.replace('name = "pneumonia_cxr"', 'name = "pneumonia_cxr"\nprompts = "core"')
    with pytest.raises(StudyError, match="asks the reference study's own wordings"):
        Study.load(write_study(tmp_path, text))
    with pytest.raises(StudyError, match="protocol"):
        Study.load(write_study(tmp_path, STUDY.replace("fragility-2026", "fragility-2025")))


@pytest.fixture
def cached(checkpoint, tmp_path, monkeypatch):
    """A hub cache that holds a tiny LLaVA under the reference's own ids, and no network."""
    pytest.importorskip("torch")
    constants = pytest.importorskip("huggingface_hub.constants")

    def put(hub_id: str, *, template: bool = True) -> Path:
        folder = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
        snapshot = folder / "snapshots" / ("c0ffee" * 7)[:40]
        shutil.copytree(checkpoint("llava_next"), snapshot)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(snapshot.name)
        if not template:
            (snapshot / "chat_template.jinja").unlink()
        return snapshot

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return put


def of(name: str, **options):
    return HFKind().build(ModelSpec(name, "hf", {"path": CARDS[name].path, "max_new_tokens": 4, **options}))


@pytest.mark.local
def test_a_model_by_name_records_what_is_known_of_it_and_warns_of_an_open_revision(cached) -> None:
    commit = cached(CARDS[NAMES[0]].path).name
    environment = of(NAMES[0]).fingerprint().environment
    assert environment["revision"] == commit
    assert environment["citation"] == CARDS[NAMES[0]].citation
    assert "Mistral-7B-Instruct-v0.2" in environment["descends_from"]
    assert [w for w in environment["warnings"] if commit in w]
    snapshots = cached  # pinned to the very commit there is nothing to warn of
    assert snapshots
    pinned = of(NAMES[0], revision=commit).fingerprint()
    assert pinned.environment["warnings"] == []
    assert pinned.identity == of(NAMES[0]).fingerprint().identity


@pytest.mark.local
def test_the_protocols_template_is_another_identity_and_is_flagged(cached) -> None:
    commit = cached(CARDS[NAMES[0]].path).name
    own, protocol = of(NAMES[0], revision=commit), of(NAMES[0], revision=commit, protocol="fragility-2026")
    assert own.fingerprint().identity["chat_template"] != protocol.fingerprint().identity["chat_template"]
    environment = protocol.fingerprint().environment
    assert environment["protocol"] == "fragility-2026"
    assert any("Vicuna" in w for w in environment["warnings"])
    assert any("32 tokens" in w for w in environment["warnings"])
    right = of(NAMES[0], revision=commit, protocol="fragility-2026", chat_template="own")
    assert not any("Vicuna" in w for w in right.fingerprint().environment["warnings"])


@pytest.mark.local
def test_a_checkpoint_without_template_is_asked_through_its_cards(cached, images) -> None:
    cached(CARDS[NAMES[1]].path, template=False)
    model = of(NAMES[1], inference="prefix")
    (row,) = model.ask(images(1))
    assert {a.error for a in row} == {None}
    assert model._loaded().encoder.render("Is it?", image=True) == "[INST] <image>\nIs it? [/INST]"
    assert any("brings no chat template" in w for w in model.fingerprint().environment["warnings"])


# ---------------------------------------------------------------- quantised, compiled


def test_quantised_weights_are_part_of_what_a_model_is(tmp_path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}))

    def fingerprint(**options):
        return HFKind().build(ModelSpec("m", "hf", {"path": str(folder), **options})).fingerprint()

    assert len({json.dumps(fingerprint(**o).identity) for o in ({}, {"quantized": "int8"}, {"quantized": "nf4"})}) == 3
    assert any("quantised (nf4)" in w for w in fingerprint(quantized="nf4").environment["warnings"])


@pytest.mark.local
def test_quantising_without_bitsandbytes_says_what_to_install(build, images, monkeypatch) -> None:
    monkeypatch.setattr(_hf_load, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="needs bitsandbytes") as error:
        build("llava", quantized="int8").ask(images(1))
    assert "pip install bitsandbytes" in str(error.value)


@pytest.mark.local
def test_quantising_is_asked_of_transformers_as_it_wants_it(monkeypatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(_hf_load, "find_spec", lambda name: object())
    four = _hf_load._quantization(settings_from(ModelSpec("m", "hf", {"path": "a/b", "quantized": "nf4"})), torch.bfloat16)
    config = four["quantization_config"]
    assert (config.load_in_4bit, config.bnb_4bit_quant_type, config.bnb_4bit_compute_dtype) == (True, "nf4", torch.bfloat16)
    eight = _hf_load._quantization(settings_from(ModelSpec("m", "hf", {"path": "a/b", "quantized": "int8"})), torch.bfloat16)
    assert eight["quantization_config"].load_in_8bit
    assert _hf_load._quantization(SimpleNamespace(quantized=None), torch.bfloat16) == {}


@pytest.mark.local
@pytest.mark.parametrize("family", ["llava", "gemma3", "qwen2_vl", "idefics3"])
def test_the_tower_may_attend_in_a_way_of_its_own(family, build, images) -> None:
    model, plain = build(family, vision_attention="eager"), build(family)
    assert [a.text for a in model.ask(images(1))[0]] == [a.text for a in plain.ask(images(1))[0]]
    config = model._loaded().loaded.model.config
    own = plain._loaded().loaded.model.config
    assert config.vision_config._attn_implementation == "eager" != own.vision_config._attn_implementation
    assert config.get_text_config()._attn_implementation == own.get_text_config()._attn_implementation == "sdpa"


@pytest.mark.local
@pytest.mark.parametrize(
    ("family", "wanted", "said"),
    [("reader", "eager", "no vision tower"), ("llava", "flash_attention_4", "cannot be used"), ("llava", "telepathy", "cannot be")],
)
def test_a_way_in_which_the_tower_cannot_attend_is_refused(family, wanted, said, build, images, without_image) -> None:
    model = build(family, vision_attention=wanted)
    with pytest.raises(ModelError, match=said):
        model.ask([without_image(0)] if family == "reader" else images(1))


@pytest.mark.local
@pytest.mark.parametrize("family", ["llava", "gemma3", "qwen2_vl", "idefics3", "reader"])
def test_compiling_reaches_every_layer_and_changes_no_answer(family, build, images, without_image, monkeypatch) -> None:
    torch = pytest.importorskip("torch")
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda f: compiled.append(getattr(f, "__self__", None)) or f)
    stimuli = [without_image(0)] if family == "reader" else images(1)
    model = build(family, compiled=True)
    given = model.ask(stimuli)
    layers = {name: part for name, part in model._loaded().loaded.model.named_modules() if name.endswith((".mlp", "layernorm"))}
    of_text = [part for name, part in layers.items() if "vision" not in name and "visual" not in name]
    assert len(of_text) >= 3 * 2  # three parts a layer, two layers or more
    assert all(any(part is one for one in compiled) for part in of_text)
    assert [a.text for a in given[0]] == [a.text for a in build(family).ask(stimuli)[0]]


def test_every_card_is_found_by_its_path() -> None:
    assert {card.path for card in CARDS.values()} == set(BY_PATH)
