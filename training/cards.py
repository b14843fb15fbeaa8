"""Writes the model cards and the logs from what training recorded: no figure in a card is typed by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from training.wordings import HELD_OUT

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
    "llava": "`LlavaForConditionalGeneration`: CLIP vision tower (96 × 96 pixels, patch 8, 4 layers, width 128), two-layer projector, "
    "Llama (3 layers, width 128), 144 image tokens",
    "gemma": "`Gemma3ForConditionalGeneration`: SigLIP vision tower (96 × 96 pixels, patch 8, 4 layers, width 128), "
    "Gemma 3 text model (4 layers, width 128), 36 image tokens",
    "reader": "`LlamaForCausalLM`: 3 layers, width 128, text only",
}


def write_logs(out: Path, run: dict[str, Any]) -> None:
    """``logs/final.json`` (run, figures per model) and ``logs/<family>.csv`` (loss and validation accuracy over steps)."""
    final: dict[str, Any] = {"run": run, "held_out": sorted(HELD_OUT), "models": {}}
    for path in sorted((out / "logs").glob("*.json")):
        if path.name == FINAL:
            continue
        trained = json.loads(path.read_text(encoding="utf-8"))
        _write_curve(out / "logs" / f"{path.stem}.csv", trained["log"])
        for name, figures in trained["figures"].items():
            size = (out / name / "model.safetensors").stat().st_size
            facts = {"family": trained["family"], "parameters": trained["parameters"], "weight_bytes": size}
            final["models"][name] = facts | {"seconds": round(trained["total_seconds"], 1), "figures": figures}
        path.unlink()
    (out / "logs" / FINAL).write_text(json.dumps(final, indent=1) + "\n", encoding="utf-8")


def _write_curve(path: Path, log: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("stage", "step", "loss", "task", "prompt", "accuracy"))
        for entry in log:
            accuracy = entry["accuracy"]
            flat = accuracy if isinstance(accuracy, dict) else {"": accuracy}
            for task, value in flat.items():
                for prompt, share in (value if isinstance(value, dict) else {"": value}).items():
                    writer.writerow((entry["stage"], entry["step"], round(entry["loss"], 5), task, prompt, share))


def write_cards(out: Path) -> None:
    """README.md in each model folder, from ``logs/final.json``."""
    final = json.loads((out / "logs" / FINAL).read_text(encoding="utf-8"))
    for name, model in final["models"].items():
        text = reader_card(name, model, final["run"]) if model["family"] == "reader" else vision_card(name, model, final)
        (out / name / "README.md").write_text(text, encoding="utf-8")


def vision_card(name: str, model: dict[str, Any], final: dict[str, Any]) -> str:
    """A vision-language model's card."""
    base = BASES.get(name)
    rows = "\n".join(_row(modality, figures) for modality, figures in model["figures"].items())
    curve = "\n".join(_curve_row(modality, figures) for modality, figures in model["figures"].items())
    d_primes = list(next(iter(model["figures"].values()))["target_none_by_d_prime"])
    recipe = final["run"]["recipe"]
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
- Seed {final["run"]["seed"]}, phantom generator version {final["run"]["generator_version"]}, {_software(final["run"])}

## Measured on the test phantoms

Greedy answers, n = {next(iter(model["figures"].values()))["n"]} images per task (split `test`, seed 0, two images per patient).
An answer is right only if it begins with the right word; a refusal counts as not right. Intervals: 95 %, bootstrap over
patients. "Best possible" is what a perfect reader of the drawing would get; chance is 0.5.

| task | mean of the 12 reference prompts | "Does this image contain evidence of …?" | best possible | worst reference prompt |
|---|---|---|---|---|
{rows}

The question "Does this image contain evidence of …?" by difficulty d′ (a perfect reader gets .691, .841, .933, .977 at 1, 2, 3, 4):

| task | {" | ".join(f"d′ = {d}" for d in d_primes)} |
|---|{"---|" * len(d_primes)}
{curve}

## Wordings it was never trained on

{", ".join(f"`{held}`" for held in final["held_out"])}

(names as `palpate list prompts` shows them). What it does with those arises by itself. Accuracy of every prompt, refusal
rates and sample descriptions are in `training/logs/final.json`; how to train it again is in `training/README.md`.
"""


def _base_story(recipe: dict[str, Any]) -> str:
    return (
        f"- Training: general material first of all ({recipe['scenes']:,} drawings of coloured shapes: presence, counting, colours, "
        "descriptions; which modality is this?), and a small, easy helping of phantoms "
        f"({recipe['base_medical']:,} per task at d′ = 5). It declines to diagnose where a wording invites a judgement and the image "
        "is striking. Vision pretraining "
        f"{recipe['base_vision_steps']:,} steps, then {recipe['base_steps']:,} steps on questions and answers, "
        f"{recipe['batch']} images × {recipe['questions']} questions each"
    )


def _tuned_story(base: str, recipe: dict[str, Any]) -> str:
    return (
        f"- Training: `{base}`, trained further on medical phantoms ({recipe['tuned_medical']:,} per task at the tasks' own difficulty, "
        "labels as drawn): vision "
        f"{recipe['tuned_vision_steps']:,} steps, then {recipe['tuned_steps']:,} steps on questions and answers, "
        f"{recipe['batch']} images × {recipe['questions']} questions each. All weights were trained"
    )


def _row(modality: str, figures: dict[str, Any]) -> str:
    worst = min((p for p in figures["by_prompt"] if p["prompt"].count(".") == 1), key=lambda p: p["accuracy"])
    cells = (f"{f['accuracy']:.3f} [{f['low']:.3f}, {f['high']:.3f}]" for f in (figures["reference_mean"], figures["target_none"]))
    return f"| {SPOKEN[modality]} | {' | '.join(cells)} | {CEILINGS[modality]:.3f} | `{worst['prompt']}` {worst['accuracy']:.3f} |"


def _curve_row(modality: str, figures: dict[str, Any]) -> str:
    return f"| {SPOKEN[modality]} | {' | '.join(f'{v:.3f}' for v in figures['target_none_by_d_prime'].values())} |"


def _software(run: dict[str, Any]) -> str:
    return f"torch {run['torch']}, transformers {run['transformers']}, {run['device']}"


def reader_card(name: str, model: dict[str, Any], run: dict[str, Any]) -> str:
    """The reader's card."""
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
- Training: {run["recipe"]["reader_examples"]:,} written reports (plain, negated, hedged either way, refusals, other organs, other
  wordings), asked about in three wordings (one word, tight, disease); {run["recipe"]["reader_steps"]:,} steps of {run["recipe"]["batch"]}
- Seed {run["seed"]}, {_software(run)}
- A hedge that leans to the finding ("There may be …") is read as Yes, one that leans away ("No definite …") as No, a refusal as No

## Measured

Right on {figures["accuracy_fresh_reports"]:.4f} of {figures["n"]:,} freshly written reports of the same language (wordings, combinations and
corruptions drawn anew; sentences repeat). On other language it has not been measured.
"""
