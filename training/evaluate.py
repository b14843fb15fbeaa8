"""The figures of the model cards: the saved folders, loaded and asked as any user would, on the test phantoms.

Independent of the package's own reading and measuring: an answer counts only if it begins with Yes, No, A or B.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from palpate.nouns import Prompt
from palpate.prompts import PROMPT_SETS
from training.answers import CAPABILITY_REFUSAL, POLICY_REFUSAL
from training.pictures import Pictures
from training.wordings import HELD_OUT, asserts_condition, task_wording

BATCH, ANSWER_TOKENS, FIRST_TOKENS, REPORT_TOKENS, DRAWS, LEVEL = 400, 12, 2, 64, 2000, 0.95
OPENING = re.compile(r"\s*(yes|no|a|b)\b", re.IGNORECASE)
REFUSALS = (POLICY_REFUSAL, CAPABILITY_REFUSAL)


class Asker:
    """A saved vision-language model on a device, in float32, greedy."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
        self.model: Any = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        self.model.to(device).eval()
        self.device = device

    def pixels(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """The processor's pixels for (n, 96, 96, 3) uint8, (n, 3, 96, 96)."""
        pictures = [Image.fromarray(np.asarray(image)) for image in images]
        return torch.as_tensor(self.processor.image_processor(pictures, return_tensors="pt")["pixel_values"]).to(self.device)

    def inputs(self, text: str, image: NDArray[np.uint8], count: int) -> dict[str, torch.Tensor]:
        """The processor's token inputs for one question about an image, repeated for ``count`` images."""
        content = [{"type": "image", "image": Image.fromarray(np.asarray(image))}, {"type": "text", "text": text}]
        batch = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        return {k: v.expand(count, -1).to(self.device) for k, v in batch.items() if k != "pixel_values"}

    @torch.no_grad()
    def generate(self, text: str, images: NDArray[np.uint8], pixels: torch.Tensor, tokens: int) -> list[str]:
        """The greedy answer to one question about each image."""
        answers: list[str] = []
        for start in range(0, len(pixels), BATCH):
            part = pixels[start : start + BATCH]
            inputs = self.inputs(text, images[0], len(part))
            out = self.model.generate(**inputs, pixel_values=part, max_new_tokens=tokens, do_sample=False)
            answers += self.processor.tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [a.strip() for a in answers]


def opening_word(answer: str) -> str | None:
    """yes, no, a or b, where the answer begins with it."""
    found = OPENING.match(answer)
    return found.group(1).lower() if found else None


def is_right(answer: str, prompt: Prompt, label: int) -> bool:
    """True where the answer begins with the right word; a refusal, or anything else, is not right."""
    yes, no = ("yes", "no") if prompt.form == "yes-no" else ("a", "b")
    return opening_word(answer) == (yes if asserts_condition(prompt, label) else no)


def clustered_interval(values: NDArray[np.float64], cluster: NDArray[Any], seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean of per-image ``values`` (n,), resampling patients."""
    _, index = np.unique(cluster, return_inverse=True)
    totals, sizes = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(DRAWS, len(sizes)))
    means = totals[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def subset(pictures: Pictures, modality: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[Any]]:
    """Images, labels and patients of one modality."""
    rows = np.array([i for i, r in enumerate(pictures.records) if r["modality"] == modality])
    labels = np.array([pictures.records[i]["label"] for i in rows])
    patients = np.array([pictures.records[i]["metadata"].get("patient", i // 2) for i in rows])
    return np.asarray(pictures.images[rows]), labels, patients


def task_figures(asker: Asker, pictures: Pictures, modality: str, sets: tuple[str, ...]) -> dict[str, Any]:
    """Accuracy per closed prompt over all images, summaries with intervals, refusal rates, and sample descriptions."""
    images, labels, patients = subset(pictures, modality)
    pixels = asker.pixels(images)
    prompts = {p.text: p for name in reversed(sets) for p in PROMPT_SETS[name](task_wording(modality))}
    reference = {p.text for p in PROMPT_SETS["reference"](task_wording(modality)) if p.form.closed}
    right: dict[str, NDArray[np.float64]] = {}
    table: list[dict[str, Any]] = []
    for prompt in (p for p in prompts.values() if p.form.closed):
        # The core set is read from the first token alone; only the reference answers are generated to their end.
        tokens = ANSWER_TOKENS if prompt.text in reference else FIRST_TOKENS
        answers = asker.generate(prompt.text, images, pixels, tokens)
        right[prompt.text] = np.array([is_right(a, prompt, y) for a, y in zip(answers, labels, strict=True)], float)
        table.append(
            {
                "prompt": prompt.name,
                "held_out": prompt.name in HELD_OUT,
                "accuracy": round(float(right[prompt.text].mean()), 4),
                "refused": round(sum(a in REFUSALS or _refuses(a) for a in answers) / len(answers), 4),
                "unread": round(sum(opening_word(a) is None for a in answers) / len(answers), 4),
                "first_word": dict(Counter(opening_word(a) or "other" for a in answers)),
            }
        )
    per_image = np.mean([right[text] for text in reference], axis=0)
    plain = right[next(p.text for p in prompts.values() if p.name == "target.none")]
    return {
        "n": len(labels),
        "positives": int(labels.sum()),
        "reference_mean": _summary(per_image, patients),
        "target_none": _summary(plain, patients),
        "by_prompt": table,
        "descriptions": describe(asker, images, pixels, labels, modality),
    }


def _refuses(answer: str) -> bool:
    return bool(re.search(r"\b(cannot|unable|sorry)\b", answer)) and opening_word(answer) is None


def _summary(values: NDArray[np.float64], patients: NDArray[Any]) -> dict[str, float]:
    low, high = clustered_interval(values, patients, seed=0)
    return {"accuracy": round(float(values.mean()), 4), "low": round(low, 4), "high": round(high, 4)}


def describe(
    asker: Asker, images: NDArray[np.uint8], pixels: torch.Tensor, labels: NDArray[np.int64], modality: str
) -> dict[str, Any]:
    """The commonest descriptions by label, and the share that are refusals, for each of the two wordings."""
    figures: dict[str, Any] = {}
    for prompt in (p for p in PROMPT_SETS["reference"](task_wording(modality)) if not p.form.closed):
        answers = asker.generate(prompt.text, images, pixels, REPORT_TOKENS)
        common = {str(y): Counter(a for a, label in zip(answers, labels, strict=True) if label == y).most_common(3) for y in (0, 1)}
        figures[prompt.name] = {"refused": round(sum(a in REFUSALS for a in answers) / len(answers), 4), "commonest": common}
    return figures


def difficulty_curve(asker: Asker, pictures: Pictures, modality: str) -> float:
    """Accuracy at the question target.none."""
    images, labels, _ = subset(pictures, modality)
    prompt = next(p for p in PROMPT_SETS["reference"](task_wording(modality)) if p.name == "target.none")
    answers = asker.generate(prompt.text, images, asker.pixels(images), ANSWER_TOKENS)
    return round(float(np.mean([is_right(a, prompt, y) for a, y in zip(answers, labels, strict=True)])), 4)
