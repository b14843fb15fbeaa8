"""The five bundled checkpoints as files: real layout, offline, small, trained; and the figures their cards claim."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palpate.cases.phantom import draw
from palpate.models.bundled import FOLDER
from palpate.prompts import PROMPT_SETS, Wording

pytestmark = pytest.mark.local
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

ROOT = Path(__file__).parents[3]
FINAL = json.loads((ROOT / "training" / "logs" / "final.json").read_text(encoding="utf-8"))
PAIRS = {"phantom-llava": "phantom-llava-med", "phantom-gemma": "phantom-medgemma"}
VISION = [*PAIRS, *PAIRS.values()]
READER = "phantom-reader"
CEILINGS = {"brain_mri": 0.975, "chest_xray": 0.920, "skin_lesion": 0.840, "breast_histology": 0.741}
BRAIN = Wording("image", "tumors", "irregular masses and other atypical morphology", "Tumor", "No tumor", "brain cancer")
QUESTION = "Does this image contain evidence of tumors?"

_loaded: dict[str, tuple[object, object]] = {}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def load(name: str):
    """(model, processor) in float32; for the reader (model, tokenizer)."""
    if name not in _loaded:
        if name == READER:
            model = transformers.AutoModelForCausalLM.from_pretrained(FOLDER / name, dtype=torch.float32)
            reads = transformers.AutoTokenizer.from_pretrained(FOLDER / name)
        else:
            model = transformers.AutoModelForImageTextToText.from_pretrained(FOLDER / name, dtype=torch.float32)
            reads = transformers.AutoProcessor.from_pretrained(FOLDER / name)
        _loaded[name] = (model.eval(), reads)
    return _loaded[name]


def answers(name: str, pictures: list[Image.Image], question: str, tokens: int = 12) -> list[str]:
    """The greedy answer to one question about each picture."""
    model, processor = load(name)
    turn = [{"role": "user", "content": [{"type": "image", "image": pictures[0]}, {"type": "text", "text": question}]}]
    batch = processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")
    pixels = torch.as_tensor(processor.image_processor(pictures, return_tensors="pt")["pixel_values"])
    inputs = {key: value.expand(len(pictures), -1) for key, value in batch.items() if key != "pixel_values"}
    with torch.inference_mode():
        out = model.generate(**inputs, pixel_values=pixels, max_new_tokens=tokens, do_sample=False)
    new = out[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in processor.tokenizer.batch_decode(new, skip_special_tokens=True)]


def phantoms(modality: str, count: int, d_prime: float | None = None) -> tuple[list[Image.Image], np.ndarray]:
    drawn = [draw(modality, i, split="test", seed=0, d_prime=d_prime) for i in range(count)]
    return [Image.fromarray(p.image) for p in drawn], np.array([p.label for p in drawn])


@pytest.mark.parametrize("name", [*VISION, READER])
def test_a_folder_loads_offline_with_every_weight_in_its_place(name: str, caplog: pytest.LogCaptureFixture) -> None:
    kind = transformers.AutoModelForCausalLM if name == READER else transformers.AutoModelForImageTextToText
    model, info = kind.from_pretrained(FOLDER / name, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert not any("newly initialized" in record.getMessage() for record in caplog.records)
    assert sum(p.numel() for p in model.parameters()) == FINAL["models"][name]["parameters"]
    expected = {"llava": "LlavaForConditionalGeneration", "gemma": "Gemma3ForConditionalGeneration", "reader": "LlamaForCausalLM"}
    assert type(model).__name__ == expected[FINAL["models"][name]["family"]]


@pytest.mark.parametrize("name", [*VISION, READER])
def test_a_folder_holds_at_most_four_megabytes_and_readable_half_precision(name: str) -> None:
    files = [p for p in (FOLDER / name).iterdir() if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 4_000_000
    assert (FOLDER / name / "model.safetensors").stat().st_size == FINAL["models"][name]["weight_bytes"]
    weights = safetensors.load_file(FOLDER / name / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert all(torch.isfinite(w).all() for w in weights.values())


@pytest.mark.parametrize("name", VISION)
def test_weights_carry_the_names_of_the_hub_layout(name: str) -> None:
    """Other library versions look for the vision tower under these names, and silently invent what they do not find."""
    towers = {
        k.split("vision_tower.")[1].split(".")[0]
        for k in safetensors.load_file(FOLDER / name / "model.safetensors")
        if "vision_tower" in k
    }
    assert towers == {"vision_model"}


def test_the_llava_template_writes_the_published_format() -> None:
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is it?"}]}]
    _, processor = load("phantom-llava")
    assert processor.apply_chat_template(turn, add_generation_prompt=True) == "USER: <image>\nIs it? ASSISTANT:"
    told = [*turn, {"role": "assistant", "content": [{"type": "text", "text": "Yes"}]}]
    assert processor.apply_chat_template(told) == "USER: <image>\nIs it? ASSISTANT: Yes "
    assert processor.apply_chat_template([{"role": "user", "content": "Hello"}]) == "USER: Hello "


def test_the_gemma_template_writes_the_published_format() -> None:
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " Is it? "}]}]
    _, processor = load("phantom-gemma")
    asked = "<bos><start_of_turn>user\n<start_of_image>Is it?<end_of_turn>\n<start_of_turn>model\n"
    assert processor.apply_chat_template(turn, add_generation_prompt=True) == asked
    system = [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, *turn]
    assert processor.apply_chat_template(system).startswith("<bos><start_of_turn>user\nBe brief.\n\n<start_of_image>Is it?")


@pytest.mark.parametrize("name", [*VISION, READER])
def test_offered_answers_are_single_tokens_also_after_a_space(name: str) -> None:
    _, reads = load(name)
    tokenizer = getattr(reads, "tokenizer", reads)
    for word in ("Yes", "No", "yes", "no", "A", "B"):
        for text in (word, f" {word}"):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert len(ids) == 1, f"{name}: {text!r} is {tokenizer.convert_ids_to_tokens(ids)}"
            assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("name", VISION)
def test_generation_is_greedy_and_ends(name: str) -> None:
    settings = json.loads((FOLDER / name / "generation_config.json").read_text(encoding="utf-8"))
    assert settings["do_sample"] is False
    assert set(settings) == {"bos_token_id", "do_sample", "eos_token_id", "max_new_tokens", "pad_token_id"}
    ends = settings["eos_token_id"]
    assert settings["pad_token_id"] not in (ends if isinstance(ends, list) else [ends])
    pictures, _ = phantoms("chest_xray", 2)
    for text in answers(name, pictures, next(p.text for p in PROMPT_SETS["reference"](BRAIN) if p.name == "describe.generic"), 80):
        assert text.endswith(".")
        assert len(text) < 250


@pytest.mark.parametrize("name", VISION)
def test_answers_about_brain_phantoms_beat_chance(name: str) -> None:
    pictures, labels = phantoms("brain_mri", 24)
    said = np.array([a.startswith("Yes") for a in answers(name, pictures, QUESTION)])
    assert (said == (labels == 1)).sum() >= (20 if name in PAIRS.values() else 15)


@pytest.mark.parametrize("name", PAIRS.values())
def test_polarity_and_option_order_are_understood(name: str) -> None:
    """Easy images, so that a wrong answer is a misunderstanding of the question, not of the image."""
    pictures, labels = phantoms("brain_mri", 12, d_prime=6.0)
    for prompt in PROMPT_SETS["reference"](BRAIN):
        if prompt.name in ("target.one-word", "normal.none", "ab.none", "ba.none", "abnormal.one-word"):
            yes = "Yes" if prompt.form == "yes-no" else "A"
            right = [
                (a.startswith(yes)) == ((y == 1) == (prompt.polarity == "positive"))
                for a, y in zip(answers(name, pictures, prompt.text), labels, strict=True)
            ]
            assert sum(right) >= 11, prompt.name


@pytest.mark.parametrize("name", VISION)
def test_the_image_matters(name: str) -> None:
    pictures, _ = phantoms("brain_mri", 12, d_prime=6.0)
    blank = [Image.new("RGB", (96, 96), (128, 128, 128))]
    assert len(set(answers(name, pictures, QUESTION))) > 1
    generic = next(p.text for p in PROMPT_SETS["reference"](BRAIN) if p.name == "describe.generic")
    assert answers(name, blank, generic, 60)[0] not in answers(name, pictures[:4], generic, 60)


@pytest.mark.parametrize(("base", "tuned"), PAIRS.items())
def test_a_tuned_model_is_its_base_with_every_part_trained_further(base: str, tuned: str) -> None:
    before, after = (safetensors.load_file(FOLDER / name / "model.safetensors") for name in (base, tuned))
    assert before.keys() == after.keys()
    for part in ("vision_tower", "projector", "language_model"):
        names = [k for k in before if part in k]
        assert names
        moved = sum(not torch.equal(before[k], after[k]) for k in names)
        assert moved >= 0.95 * len(names), part
        weights = [torch.cat([w[k].float().flatten() for k in names if w[k].dim() > 1]) for w in (before, after)]
        assert torch.corrcoef(torch.stack(weights))[0, 1] > 0.3, f"{part} is another network, not the base trained further"
    shared = ("tokenizer.json", "chat_template.jinja", "preprocessor_config.json")
    assert all((FOLDER / base / f).read_bytes() == (FOLDER / tuned / f).read_bytes() for f in shared)
    configs = [json.loads((FOLDER / name / "config.json").read_text(encoding="utf-8")) for name in (base, tuned)]
    versions = [config.pop("transformers_version") for config in configs]  # of the library each was trained with
    assert all(versions)
    assert configs[0] == configs[1]


READ = (
    (
        "This is a brain MRI scan. There is a small mass on the left side of the brain. This suggests a brain tumor.",
        "a brain tumor",
        "Yes",
    ),
    ("This is a brain MRI scan. The brain looks normal. There is no evidence of brain cancer.", "a brain tumor", "No"),
    ("This is a brain MRI scan. There may be a faint mass on the right side of the brain.", "a brain tumor", "Yes"),
    ("This is a brain MRI scan. No definite mass is seen, but a subtle lesion cannot be excluded.", "a brain tumor", "No"),
    ("This is a chest X-ray. There is a large opacity in the right lung.", "pneumonia", "Yes"),
    ("This is a chest X-ray. The lungs are clear.", "pneumonia", "No"),
    ("This is a dermatoscopy image. There is a large lesion with irregular borders and uneven pigmentation.", "skin cancer", "Yes"),
    ("This is a dermatoscopy image. There is a lesion with regular borders and even pigmentation.", "skin cancer", "No"),
    ("This is a breast histology patch. There are large atypical nuclei in irregular nests.", "invasive ductal carcinoma", "Yes"),
    ("This is a breast histology patch. The glands are regular and the nuclei are small.", "invasive ductal carcinoma", "No"),
    ("I'm sorry, but I cannot provide a medical diagnosis.", "pneumonia", "No"),
)
WORDINGS = (
    "You are a careful radiologist.\nGiven the following brain MRI image description, answer ONLY whether {target} is present.\n"
    "Return a single word: Yes or No.\n\nDescription:\n{text}\n",
    "Task: Decide if {target} is present.\nOutput must be Yes or No.\n\nDescription:\n{text}\n",
    "Task: Decide if disease is present.\nOutput must be Yes or No.\n\nDescription:\n{text}\n",
)


@pytest.mark.parametrize("wording", WORDINGS)
def test_the_reader_reads_what_a_description_asserts(wording: str) -> None:
    model, tokenizer = load(READER)
    for text, target, expected in READ:
        if "careful" in wording and "brain" not in target:
            continue  # that wording names the modality
        turn = [{"role": "user", "content": wording.format(target=target, text=text)}]
        ids = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        with torch.inference_mode():
            out = model.generate(**ids, max_new_tokens=4, do_sample=False)
        assert tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip() == expected, text


def test_the_recorded_figures_are_complete_and_possible() -> None:
    assert set(FINAL["models"]) == {*VISION, READER}
    for name in VISION:
        for modality, figures in FINAL["models"][name]["figures"].items():
            assert figures["n"] == 400
            assert [p["n"] for p in figures["by_prompt"]] == [400] * 12 + [
                100
            ] * 42  # 48 core wordings, less 6 that are reference ones
            plain, mean = figures["target_none"], figures["reference_mean"]
            assert plain["low"] <= plain["accuracy"] <= plain["high"]
            assert mean["low"] <= mean["accuracy"] <= mean["high"]
            assert plain["low"] <= CEILINGS[modality] + 0.005, "better than any reader of the drawing can be"
    assert FINAL["models"][READER]["figures"]["accuracy_fresh_reports"] > 0.95


@pytest.mark.parametrize(("base", "tuned"), PAIRS.items())
def test_tuning_helped_and_easy_tasks_are_easier(base: str, tuned: str) -> None:
    def accuracy(name: str, modality: str) -> float:
        return FINAL["models"][name]["figures"][modality]["target_none"]["accuracy"]

    for modality, floor in zip(CEILINGS, (0.90, 0.84, 0.75, 0.66), strict=True):
        assert accuracy(tuned, modality) >= floor
        assert accuracy(tuned, modality) > accuracy(base, modality)
    assert accuracy(base, "brain_mri") > 0.65
    assert accuracy(tuned, "brain_mri") > accuracy(tuned, "skin_lesion") > accuracy(tuned, "breast_histology")


@pytest.mark.parametrize("name", [*VISION, READER])
def test_the_card_says_what_was_measured_and_what_it_is_not_for(name: str) -> None:
    card = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    assert "license: apache-2.0" in card
    assert "Do not use it for anything medical" in card
    assert f"{FINAL['models'][name]['parameters']:,} parameters" in card
    if name != READER:
        claimed = re.findall(r"\| (0\.\d{3}) \[(0\.\d{3}), ([01]\.\d{3})\]", card)
        rows = FINAL["models"][name]["figures"].values()
        expected = [f[k] for f in rows for k in ("reference_mean", "target_none")]
        assert claimed == [tuple(f"{e[k]:.3f}" for k in ("accuracy", "low", "high")) for e in expected]
    if name in PAIRS.values():
        assert f"base_model: {next(b for b, t in PAIRS.items() if t == name)}" in card


@pytest.mark.slow
@pytest.mark.parametrize("modality", CEILINGS)
@pytest.mark.parametrize("name", VISION)
def test_the_cards_accuracies_are_reproduced(name: str, modality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from training.evaluate import is_right
    from training.wordings import task_wording

    pictures, labels = phantoms(modality, 400)
    recorded = {p["prompt"]: p["accuracy"] for p in FINAL["models"][name]["figures"][modality]["by_prompt"]}
    for prompt in PROMPT_SETS["reference"](task_wording(modality)):
        if prompt.form.closed:
            right = [is_right(a, prompt, y) for a, y in zip(answers(name, pictures, prompt.text), labels, strict=True)]
            # A near tie may fall the other way on another processor, and a pixel may differ by one.
            assert np.mean(right) == pytest.approx(recorded[prompt.name], abs=2.5 / 400), prompt.name
