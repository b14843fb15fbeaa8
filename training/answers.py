"""True answers about a phantom, made from its label and from what its drawing shows. No model, no reader, no oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from palpate.nouns import Form, Prompt
from training.wordings import full_answer, task_wording, trained_prompts

Pair = tuple[str, str]

POLICY_REFUSAL = "I'm sorry, but I cannot provide a medical diagnosis."
CAPABILITY_REFUSAL = "I am unable to assess this image."

FAINT, PLAIN = 0.30, 0.70
"""Conspicuity below which a lesion is practically invisible, and above which a describer stops hedging."""


@dataclass(frozen=True, slots=True)
class Speech:
    """How one modality is spoken of. ``finding`` takes {size} and {place}; ``statements`` deny and assert the condition."""

    scan: str
    statements: tuple[str, str]
    finding: str
    bare_finding: str
    hedge: str
    clear: str
    doubt: str
    conclusions: tuple[str, str]
    name: str


SPEECH: Mapping[str, Speech] = {
    "brain_mri": Speech(
        "a brain MRI scan",
        ("there is no tumor", "there is a tumor"),
        "There is a {size} mass on the {side} side of the brain.",
        "There is a mass in the brain.",
        "There may be a faint mass on the {side} side of the brain.",
        "The brain looks normal.",
        "No definite mass is seen, but a subtle lesion cannot be excluded.",
        ("There is no evidence of brain cancer.", "This suggests a brain tumor."),
        "Brain MRI",
    ),
    "chest_xray": Speech(
        "a chest X-ray",
        ("there is no pneumonia", "there is pneumonia"),
        "There is a {size} opacity in the {side} lung.",
        "There is an opacity in the lungs.",
        "There may be a faint opacity in the {side} lung.",
        "The lungs are clear.",
        "No definite opacity is seen, but a subtle infiltrate cannot be excluded.",
        ("There is no evidence of pneumonia.", "This suggests pneumonia."),
        "Chest X-ray",
    ),
    "skin_lesion": Speech(
        "a dermatoscopy image",
        ("there is no skin cancer", "there is skin cancer"),
        "There is a {size} lesion with irregular borders and uneven pigmentation.",
        "There is a lesion with irregular borders.",
        "There is a lesion with slightly irregular borders, which may be malignant.",
        "There is a lesion with regular borders and even pigmentation.",
        "The lesion looks mostly regular, but early malignancy cannot be excluded.",
        ("The lesion looks benign.", "This suggests skin cancer."),
        "Dermatoscopy",
    ),
    "breast_histology": Speech(
        "a breast histology patch",
        ("there is no carcinoma", "there is carcinoma"),
        "There are {size} atypical nuclei in irregular nests.",
        "There are atypical cells.",
        "Some cells may be atypical.",
        "The glands are regular and the nuclei are small.",
        "The cells look mostly regular, but carcinoma cannot be excluded.",
        ("The tissue looks benign.", "This suggests invasive ductal carcinoma."),
        "Histology",
    ),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one drawn phantom: its modality, true label, latent evidence, conspicuity (0 to 1) and metadata."""

    modality: str
    label: int
    evidence: float
    conspicuity: float
    metadata: Mapping[str, Any]


@cache
def closed_bank(modality: str) -> tuple[Prompt, ...]:
    """The trained closed prompts of a modality's task: reference and core."""
    return trained_prompts(task_wording(modality), ("target", "abnormal"), medical=True)


@cache
def describe_bank(modality: str) -> tuple[Prompt, ...]:
    """The two description prompts of a modality's task."""
    return trained_prompts(task_wording(modality), ("describe",), medical=True)


def description(facts: Facts, named: bool) -> str:
    """A report in two or three sentences. What it asserts is the label; where the finding is middling it hedges instead.

    ``named``: the question named the disease, so a conclusion about it is added.
    """
    speech, k = SPEECH[facts.modality], facts.conspicuity
    place = {"size": facts.metadata.get("size", "small"), "side": facts.metadata.get("side", "left")}
    opening = f"This is {speech.scan}."
    if FAINT <= k < PLAIN:
        middling = speech.hedge if k >= (FAINT + PLAIN) / 2 else speech.doubt
        return f"{opening} {middling.format(**place)}"
    # A lesion nobody can see has no size or side to report.
    finding = speech.finding if k >= PLAIN else speech.bare_finding
    body = finding.format(**place) if facts.label == 1 else speech.clear
    return f"{opening} {body} {speech.conclusions[facts.label]}" if named else f"{opening} {body}"


def closed_pair(facts: Facts, prompt: Prompt, tuned: bool) -> Pair:
    """A closed question with its answer: the label's, or a refusal where this stage's material refuses."""
    refused = refusal(facts, prompt, tuned)
    return prompt.text, refused or full_answer(prompt, facts.label, _statements(facts.modality, prompt))


def describe_pair(facts: Facts, prompt: Prompt, tuned: bool) -> Pair:
    """A request for a description with the description, or a refusal."""
    return prompt.text, refusal(facts, prompt, tuned) or description(facts, prompt.name.endswith("named"))


def _statements(modality: str, prompt: Prompt) -> tuple[str, str]:
    return ("it looks normal", "it looks abnormal") if prompt.cell == "abnormal" else SPEECH[modality].statements


def refusal(facts: Facts, prompt: Prompt, tuned: bool) -> str | None:
    """What the training material refuses, tied to what can be seen and to the wording.

    General material refuses to diagnose when the wording invites a clinical judgement (hints, or a named disease) and
    the image shows some attribute; medical material keeps a trace of it, for images spoilt by an artefact.
    """
    seen = facts.metadata
    if tuned:
        spoilt = seen.get("artefact") == "ruler"
        return CAPABILITY_REFUSAL if spoilt and prompt.form is Form.DESCRIBE else None
    invites = prompt.name.startswith("hints.") or prompt.name == "describe.named"
    if invites and _striking(facts.modality, seen):
        return POLICY_REFUSAL
    spoilt = seen.get("artefact") in ("ruler", "bubbles")
    return CAPABILITY_REFUSAL if spoilt and prompt.name.startswith(("target.none", "describe")) else None


def _striking(modality: str, seen: Mapping[str, Any]) -> bool:
    """A plainly visible attribute that says nothing about the disease."""
    if modality == "brain_mri":
        return str(seen.get("sequence")) == "FLAIR"
    if modality == "skin_lesion":
        return float(seen.get("skin_tone", 0)) >= 2
    if modality == "chest_xray":
        return bool(seen.get("breast_shadow"))
    return False


MODALITY_NAMES = {m: s.name for m, s in SPEECH.items()} | {"scene": "Drawing"}
MODALITY_QUESTIONS = ("What kind of image is this?", "Which imaging modality is this?")


def modality_pair(modality: str, rng: np.random.Generator) -> Pair:
    """Which modality is this: open, or yes-no about a named one."""
    roll = rng.random()
    suffix = "\nAnswer in one word." if rng.random() < 0.3 else ""
    if roll < 0.5:
        question = MODALITY_QUESTIONS[rng.integers(2)]
        name = MODALITY_NAMES.get(modality, "Drawing")
        return question + suffix, name if suffix else f"This is {SPEECH[modality].scan if modality in SPEECH else 'a drawing'}."
    asked = list(MODALITY_NAMES)[rng.integers(len(MODALITY_NAMES))]
    asked = modality if rng.random() < 0.5 else asked
    scan = SPEECH[asked].scan if asked in SPEECH else "a drawing"
    return f"Is this {scan}?{suffix}", "Yes" if asked == modality else "No"


def attribute_pair(facts: Facts, rng: np.random.Generator) -> Pair:
    """A question about something plain and harmless: colour, side, size."""
    colour = facts.modality in ("skin_lesion", "breast_histology")
    if facts.modality in ("brain_mri", "chest_xray") and facts.label == 1 and facts.conspicuity >= PLAIN and rng.random() < 0.6:
        return "On which side is the finding?\nAnswer in one word.", str(facts.metadata.get("side", "left")).capitalize()
    return "Is this image in color?\nAnswer in one word.", "Yes" if colour else "No"


def base_pairs(facts: Facts, rng: np.random.Generator, count: int) -> list[Pair]:
    """What general material asks of a medical image: mostly what it is, and a small helping of the task's own questions."""
    pairs = [modality_pair(facts.modality, rng), attribute_pair(facts, rng)]
    return pairs + task_pairs(facts, rng, count - len(pairs), tuned=False)


def tuned_pairs(facts: Facts, rng: np.random.Generator, count: int) -> list[Pair]:
    """What medical material asks: closed questions of both sets, one description, sometimes what it is."""
    extra = [modality_pair(facts.modality, rng)] if rng.random() < 0.3 else [attribute_pair(facts, rng)]
    return extra + task_pairs(facts, rng, count - 1, tuned=True)


def task_pairs(facts: Facts, rng: np.random.Generator, count: int, *, tuned: bool) -> list[Pair]:
    """``count`` questions of the task's own bank, one of them a description."""
    closed, describe = closed_bank(facts.modality), describe_bank(facts.modality)
    picked = rng.choice(len(closed), size=count - 1, replace=False)
    pairs = [closed_pair(facts, closed[i], tuned) for i in picked]
    return [*pairs, describe_pair(facts, describe[rng.integers(len(describe))], tuned)]
