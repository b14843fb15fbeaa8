"""The figures of the model cards: the saved folders, loaded and asked as any user would, on the test phantoms.

Independent of the package's own reading and measuring: an answer counts only if it begins with Yes, No, A or B.
"""

from __future__ import annotations

import multiprocessing
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from palpate.nouns import Prompt
from palpate.prompts import PROMPT_SETS
from training.packing import Packer, answer_logits
from training.pictures import Pictures, load
from training.recipe import MODALITIES, Recipe
from training.scenes import SIZE
from training.vqa import as_tensors
from training.wordings import HELD_OUT, all_prompts, asserts_condition, task_wording

BATCH, TOGETHER, ANSWER_TOKENS, REPORT_TOKENS, CORE, DRAWS, LEVEL = 50, 14, 16, 64, 100, 2000, 0.95
OPENING = re.compile(r"\s*(yes|no|a|b)\b", re.IGNORECASE)


class Asker:
    """A saved vision-language model on a device, in float32, greedy."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
        self.model: Any = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        self.model.to(device).eval()
        self.device = device
        family = "gemma" if self.model.config.model_type == "gemma3" else "llava"
        self._packer = Packer(family, Tokenizer.from_file(str(folder / "tokenizer.json")))

    def pixels(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """The processor's pixels for (n, 96, 96, 3) uint8, (n, 3, 96, 96)."""
        pictures = [Image.fromarray(np.asarray(image)) for image in images]
        return torch.as_tensor(self.processor.image_processor(pictures, return_tensors="pt")["pixel_values"]).to(self.device)

    def inputs(self, text: str, count: int) -> dict[str, torch.Tensor]:
        """The processor's token inputs for one question about an image, repeated for ``count`` images."""
        content = [{"type": "image", "image": Image.new("RGB", (SIZE, SIZE))}, {"type": "text", "text": text}]
        batch = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        return {k: v.expand(count, -1).to(self.device) for k, v in batch.items() if k != "pixel_values"}

    @torch.no_grad()
    def generate(self, text: str, pixels: torch.Tensor, tokens: int) -> list[str]:
        """The greedy answer to one question about each image."""
        answers: list[str] = []
        for part in pixels.split(BATCH):
            inputs = self.inputs(text, len(part))
            out = self.model.generate(**inputs, pixel_values=part, max_new_tokens=tokens, do_sample=False)
            answers += self.processor.tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [a.strip() for a in answers]

    @torch.no_grad()
    def first_tokens(self, texts: Sequence[str], pixels: torch.Tensor) -> NDArray[np.object_]:
        """The first token of the greedy answer to every question about every image, (images, questions).

        Packed, as in training: the logits are those of asking each question alone (the tests compare them).
        """
        rows: list[NDArray[np.object_]] = []
        for part in pixels.split(BATCH):
            columns: list[torch.Tensor] = []
            for start in range(0, len(texts), TOGETHER):
                pairs = [(text, "Yes") for text in texts[start : start + TOGETHER]]
                packed = {name: tensor.to(self.device) for name, tensor in as_tensors(self._packer.pack([pairs])).items()}
                whole = {name: tensor.expand(len(part), -1) for name, tensor in packed.items()}
                logits, _ = answer_logits(self.model, self._packer, part, whole)
                columns.append(logits[::2].argmax(-1).view(len(part), -1).cpu())
            ids = torch.cat(columns, 1).numpy()
            words = {i: self.processor.tokenizer.decode([i]).strip() for i in np.unique(ids).tolist()}
            rows.append(np.array([[words[i] for i in row] for row in ids.tolist()], object))
        return np.concatenate(rows)

    def opening_answers(self, texts: Sequence[str], pixels: torch.Tensor) -> NDArray[np.object_]:
        """Each answer's first token where that decides how it is read, else the whole answer; (images, questions)."""
        answers: NDArray[np.object_] = self.first_tokens(texts, pixels)
        for j, text in enumerate(texts):
            unclear = np.flatnonzero([opening_word(a) is None for a in answers[:, j]])
            if len(unclear):
                answers[unclear, j] = self.generate(text, pixels[torch.from_numpy(unclear)], ANSWER_TOKENS)
        return answers


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
    patients = np.array([pictures.records[i]["patient"] for i in rows])
    return np.asarray(pictures.images[rows]), labels, patients


def task_figures(asker: Asker, pictures: Pictures, modality: str) -> dict[str, Any]:
    """Accuracy per closed prompt, summaries with intervals, refusal rates, and sample descriptions.

    The reference prompts are asked of all images, the core ones and the descriptions of the first hundred.
    """
    images, labels, patients = subset(pictures, modality)
    pixels = asker.pixels(images)
    prompts = [p for p in all_prompts(task_wording(modality)) if p.form.closed]
    count = sum(p.form.closed for p in PROMPT_SETS["reference"](task_wording(modality)))  # these come first
    reference, core = prompts[:count], prompts[count:]
    answers = asker.opening_answers([p.text for p in reference], pixels)
    right = _marked(answers, reference, labels)
    core_answers = asker.opening_answers([p.text for p in core], pixels[:CORE])
    core_right = _marked(core_answers, core, labels[:CORE])
    plain = [p.name for p in reference].index("target.none")
    return {
        "n": len(labels),
        "positives": int(labels.sum()),
        "reference_mean": _summary(right.mean(1), patients),
        "target_none": _summary(right[:, plain], patients),
        "by_prompt": _by_prompt(reference, answers, right) + _by_prompt(core, core_answers, core_right),
        "descriptions": describe(asker, pixels[:CORE], labels[:CORE], modality),
    }


def _marked(answers: NDArray[np.object_], prompts: Sequence[Prompt], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 where right, (images, prompts)."""
    rows = zip(answers, labels, strict=True)
    return np.array([[is_right(a, p, y) for a, p in zip(row, prompts, strict=True)] for row, y in rows], float)


def _by_prompt(prompts: Sequence[Prompt], answers: NDArray[np.object_], right: NDArray[np.float64]) -> list[dict[str, Any]]:
    return [
        {
            "prompt": prompt.name,
            "held_out": prompt.name in HELD_OUT,
            "n": len(right),
            "accuracy": round(float(right[:, j].mean()), 4),
            "refused": round(float(np.mean([_refuses(a) for a in answers[:, j]])), 4),
            "unread": round(float(np.mean([opening_word(a) is None for a in answers[:, j]])), 4),
            "first_word": dict(Counter(opening_word(a) or "other" for a in answers[:, j])),
        }
        for j, prompt in enumerate(prompts)
    ]


def _refuses(answer: str) -> bool:
    """A refusal speaks of the speaker; a hedge ("cannot be excluded") does not."""
    return bool(re.match(r"I('m| am| cannot)\b", answer))


def _summary(values: NDArray[np.float64], patients: NDArray[Any]) -> dict[str, float]:
    low, high = clustered_interval(values, patients, seed=0)
    return {"accuracy": round(float(values.mean()), 4), "low": round(low, 4), "high": round(high, 4)}


def describe(asker: Asker, pixels: torch.Tensor, labels: NDArray[np.int64], modality: str) -> dict[str, Any]:
    """The commonest descriptions by label, and the share that are refusals, for each of the two wordings."""
    figures: dict[str, Any] = {}
    for prompt in (p for p in all_prompts(task_wording(modality)) if not p.form.closed):
        answers = asker.generate(prompt.text, pixels, REPORT_TOKENS)
        common = {str(y): Counter(a for a, label in zip(answers, labels, strict=True) if label == y).most_common(3) for y in (0, 1)}
        refused = round(float(np.mean([_refuses(a) for a in answers])), 4)
        figures[prompt.name] = {"n": len(answers), "refused": refused, "commonest": common}
    return figures


def plain_accuracy(asker: Asker, pictures: Pictures, modality: str) -> float:
    """Accuracy at the question target.none."""
    images, labels, _ = subset(pictures, modality)
    prompt = next(p for p in all_prompts(task_wording(modality)) if p.name == "target.none")
    answers = asker.opening_answers([prompt.text], asker.pixels(images))[:, 0]
    return round(float(np.mean([is_right(a, prompt, y) for a, y in zip(answers, labels, strict=True)])), 4)


def measure_all(names: list[str], recipe: Recipe, drawn: Path, out: Path, device: str, workers: int) -> dict[str, Any]:
    """Model name → modality → figures, each pair of them in a process of its own: generation waits on the CPU, not the GPU."""
    jobs = [(name, modality) for modality in MODALITIES for name in names]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(measure, out / name, recipe, drawn, modality, device) for name, modality in jobs]
        figures: dict[str, Any] = {name: {} for name in names}
        for (name, modality), future in zip(jobs, waiting, strict=True):
            figures[name][modality] = future.result()
    return figures


def measure(folder: Path, recipe: Recipe, drawn: Path, modality: str, device: str) -> dict[str, Any]:
    """The card's figures for one saved model on one task."""
    asker = Asker(folder, device)
    figures = task_figures(asker, load(drawn, "test"), modality)
    curve = {f"{d:g}": plain_accuracy(asker, load(drawn, f"test-{d:g}"), modality) for d in recipe.curve}
    return figures | {"target_none_by_d_prime": curve}
