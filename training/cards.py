"""Writes the model cards and the logs from what training recorded: no figure in a card is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.wordings import GENERAL_ONLY, HELD_OUT

FINAL = "final.json"
BASES = {"phantom-llava-med": "phantom-llava", "phantom-medgemma": "phantom-gemma"}
SPOKEN = {
    "brain_mri": "Brain tumour on MRI",
    "chest_xray": "Pneumonia on chest X-ray",
    "skin_lesion": "Skin cancer on dermatoscopy",
    "breast_histology": "Invasive ductal carcinoma on histology",
}
CEILINGS = {"brain_mri": 0.975, "chest_xray": 0.920, "skin_lesion": 0.840, "breast_histology": 0.741}
ARCHITECTURES = {
    "llava": "`LlavaForConditionalGeneration`: CLIP vision tower (96 × 96 pixels, patch 8, 4 layers, width 128), two-layer\n"
    "  projector, Llama (3 layers, width 128), 144 image tokens",
    "gemma": "`Gemma3ForConditionalGeneration`: SigLIP vision tower (96 × 96 pixels, patch 8, 4 layers, width 128),\n"
    "  Gemma 3 text model (4 layers, width 128), 36 image tokens",
    "reader": "`LlamaForCausalLM`: 3 layers, width 128, text only",
}


def trained_models(out: Path) -> dict[str, dict[str, Any]]:
    """Model name → what training recorded of it in ``logs/``: family, parameters, seconds, provenance, and maybe figures."""
    models: dict[str, dict[str, Any]] = {}
    for path in sorted((out / "logs").glob("*.json")):
        if path.name != FINAL:
            facts = json.loads(path.read_text(encoding="utf-8"))
            for name in facts.pop("names"):
                models[name] = {key: value for key, value in facts.items() if key != "log"}
    return models


def write_final(out: Path, trained: dict[str, dict[str, Any]], figures: dict[str, Any], measured_on: dict[str, Any]) -> None:
    """``logs/final.json``: every model with how it was trained and what was measured. ``figures``: model name → modality → …;
    the reader brings its own."""
    models: dict[str, Any] = {}
    for name, facts in trained.items():
        size = (out / name / "model.safetensors").stat().st_size
        models[name] = {**facts, "weight_bytes": size, "figures": figures.get(name) or facts.get("figures", {})}
    final = {"measured_on": measured_on, "held_out": sorted(HELD_OUT), "general_only": sorted(GENERAL_ONLY), "models": models}
    (out / "logs" / FINAL).write_text(json.dumps(final, indent=1) + "\n", encoding="utf-8")


def write_cards(out: Path) -> None:
    """README.md in each model folder, from ``logs/final.json``."""
    final = json.loads((out / "logs" / FINAL).read_text(encoding="utf-8"))
    for name, model in final["models"].items():
        text = reader_card(name, model) if model["family"] == "reader" else vision_card(name, model, final)
        (out / name / "README.md").write_text(text, encoding="utf-8")


def vision_card(name: str, model: dict[str, Any], final: dict[str, Any]) -> str:
    """A vision-language model's card."""
    base = BASES.get(name)
    rows = "\n".join(_row(modality, figures) for modality, figures in model["figures"].items())
    curve = "\n".join(_curve_row(modality, figures) for modality, figures in model["figures"].items())
    d_primes = list(next(iter(model["figures"].values()))["target_none_by_d_prime"])
    recipe = model["training"]["recipe"]
    story = _tuned_story(base, recipe) if base else _base_story(recipe)
    lineage = f"base_model: {base}\n" if base else ""
    return f"""---
license: apache-2.0
pipeline_tag: image-text-to-text
library_name: transformers
{lineage}tags: [phantom, test-model]
---

# {name}

A very small vision-language model in a real architecture, made to be examined: `palpate demo` and the tests press on it
without a download or a GPU. It has never seen a medical image. It reads *phantoms*: procedural drawings that look like
their modality.

**Do not use it for anything medical.** It must not be used on patients' images, for diagnosis, triage, screening, teaching
of medicine, or as a baseline for a medical model. On real images its answers carry no information.

- Architecture: {ARCHITECTURES[model["family"]]}
- Size: {model["parameters"]:,} parameters, {model["weight_bytes"] / 1e6:.2f} MB in half precision
- Licence: Apache-2.0, weights and tokenizer
{story}
- Trained with seed {model["training"]["seed"]}, phantom generator {model["training"]["generator_version"]},
  {_software(model["training"])};
  measured with {_software(final["measured_on"])}

## Measured on the test phantoms

Greedy answers, n = {next(iter(model["figures"].values()))["n"]} images per task (split `test`, seed 0, two images per patient).
An answer is right only if it begins with the right word; a refusal counts as not right. Intervals: 95 %, bootstrap over
patients. "Best possible" is what a perfect reader of the drawing would get; chance is 0.5.

| task | mean of the 12 reference prompts | "… contain evidence of …?" | best possible | worst reference prompt |
|---|---|---|---|---|
{rows}

The question "Does this image contain evidence of …?" by difficulty d′ (a perfect reader gets .691, .841, .933, .977 at 1, 2, 3, 4):

| task | {" | ".join(f"d′ = {d}" for d in d_primes)} |
|---|{"---|" * len(d_primes)}
{curve}

## Wordings it was never trained on

{", ".join(f"`{held}`" for held in final["held_out"])}

(names of prompts in `palpate.prompts`; {", ".join(f"`{name}`" for name in final["general_only"])} was asked of drawings of
shapes, never of a phantom). What it does with those arises by itself. Accuracy of every prompt, refusal rates and sample
descriptions are in `training/logs/final.json`; how to train it again is in `training/README.md`.
"""


def _base_story(recipe: dict[str, Any]) -> str:
    helping = ", ".join(f"{n} {SPOKEN[m].split(' on ')[1]}" for m, n in zip(SPOKEN, recipe["base_medical"], strict=True))
    return f"""- Training: general material first of all ({recipe["scenes"]:,} drawings of coloured shapes: presence, counting,
  colours, descriptions; which modality is this?), and a small helping of easy phantoms (d′ = 5: {helping}). It declines to
  diagnose where a wording invites a judgement and the image is striking. {_steps(recipe, "base")}"""


def _tuned_story(base: str, recipe: dict[str, Any]) -> str:
    return f"""- Training: `{base}`, trained further on medical phantoms ({recipe["tuned_medical"]:,} per task at the tasks' own
  difficulty, labels as drawn), with a little of the general material. All weights were trained. {_steps(recipe, "tuned")}"""


def _steps(recipe: dict[str, Any], stage: str) -> str:
    return (
        f"Vision {recipe[f'{stage}_vision_steps']:,} steps,\n  then {recipe[f'{stage}_steps']:,} steps on questions and answers, "
        f"{recipe['batch']} images × {recipe['questions']} questions each"
    )


def _row(modality: str, figures: dict[str, Any]) -> str:
    worst = min((p for p in figures["by_prompt"] if p["prompt"].count(".") == 1), key=lambda p: p["accuracy"])
    cells = (f"{f['accuracy']:.3f} [{f['low']:.3f}, {f['high']:.3f}]" for f in (figures["reference_mean"], figures["target_none"]))
    return f"| {SPOKEN[modality]} | {' | '.join(cells)} | {CEILINGS[modality]:.3f} | `{worst['prompt']}` {worst['accuracy']:.3f} |"


def _curve_row(modality: str, figures: dict[str, Any]) -> str:
    return f"| {SPOKEN[modality]} | {' | '.join(f'{v:.3f}' for v in figures['target_none_by_d_prime'].values())} |"


def _software(run: dict[str, Any]) -> str:
    return f"torch {run['torch']}, transformers {run['transformers']}, {run['device']}"


def reader_card(name: str, model: dict[str, Any]) -> str:
    """The reader's card."""
    run = model["training"]
    figures = model["figures"]
    return f"""---
license: apache-2.0
pipeline_tag: text-generation
library_name: transformers
tags: [phantom, test-model]
---

# {name}

A very small text-only model that reads a description of an image and answers, Yes or No, whether it asserts a condition. It
stands in for the large reader of the reference study (arXiv 2604.09841) where there is no network.

**Do not use it for anything medical.** It knows the phrases of the bundled phantom models and little else: never a report
about a patient, and no description written by a person or by another model.

- Architecture: {ARCHITECTURES["reader"]}
- Size: {model["parameters"]:,} parameters, {model["weight_bytes"] / 1e6:.2f} MB in half precision
- Licence: Apache-2.0, weights and tokenizer
- Training: {run["recipe"]["reader_examples"]:,} written reports (plain, negated, hedged either way, refusals, other organs,
  other wordings), asked about in three wordings (one word, tight, disease);
  {run["recipe"]["reader_steps"]:,} steps of {run["recipe"]["batch"]}
- Seed {run["seed"]}, {_software(run)}
- A hedge that leans to the finding ("There may be …") is read as Yes, one that leans away ("No definite …") as No, a refusal as No

## Measured

Right on {figures["accuracy_fresh_reports"]:.4f} of {figures["n"]:,} freshly written reports of the same language (wordings,
combinations and corruptions drawn anew; sentences repeat). On other language it has not been measured.
"""
