"""What the reader learns from: written reports of every kind the bundled models can write, and what each one asserts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.answers import CAPABILITY_REFUSAL, FAINT, PLAIN, POLICY_REFUSAL, SPEECH, Facts, description
from training.scenes import describe_scene, draw_scene

READER_WORDINGS = {
    "one_word": (
        "You are a careful {role}.\nGiven the following {modality} image description, answer ONLY whether {target} is present.\n"
        "Return a single word: Yes or No.\n\nDescription:\n{description}\n"
    ),
    "tight": "Task: Decide if {target} is present.\nOutput must be Yes or No.\n\nDescription:\n{description}\n",
    "disease": "Task: Decide if disease is present.\nOutput must be Yes or No.\n\nDescription:\n{description}\n",
}
"""The reference study's three questions to the reader of a description."""


@dataclass(frozen=True, slots=True)
class Target:
    """Who reads a modality's descriptions, what they call it, and what they look for (several usual names)."""

    role: str
    modalities: tuple[str, ...]
    targets: tuple[str, ...]


TARGETS = {
    "brain_mri": Target("radiologist", ("brain MRI", "MRI"), ("a brain tumor", "brain tumor", "a brain tumour", "brain tumour")),
    "chest_xray": Target("radiologist", ("chest X-ray", "X-ray"), ("pneumonia",)),
    "skin_lesion": Target(
        "dermatologist",
        ("dermatoscopy", "skin lesion", "dermoscopy"),
        ("skin cancer", "malignant skin cancer", "malignant skin lesion", "a malignant skin lesion"),
    ),
    "breast_histology": Target(
        "pathologist",
        ("breast histopathology", "breast histology", "histopathology"),
        ("invasive ductal carcinoma", "carcinoma"),
    ),
}

EXTRA_REPORTS = {
    "brain_mri": (
        ("The ventricles are normal. No mass is seen.", "No tumor is seen.", "There is no mass.", "This is a normal brain."),
        ("A large tumor is present.", "There is a ring-enhancing mass.", "A glioma is likely.", "Yes, there is a tumor."),
    ),
    "chest_xray": (
        ("No consolidation is seen.", "The chest is normal.", "There is no opacity.", "No, there is no pneumonia."),
        ("There is lower lobe consolidation.", "An infiltrate is present.", "Pneumonia is likely.", "Yes, there is pneumonia."),
    ),
    "skin_lesion": (
        ("The lesion is benign.", "This is a benign nevus.", "There is no sign of melanoma.", "The borders are regular."),
        ("This is a melanoma.", "The lesion is malignant.", "Melanoma is likely.", "There is asymmetry and an irregular border."),
    ),
    "breast_histology": (
        ("The tissue is benign.", "No carcinoma is seen.", "The glands are organised.", "There is no malignancy."),
        ("There is invasive carcinoma.", "The cells are malignant.", "Carcinoma is likely.", "There are nests of tumor cells."),
    ),
}
"""Modality → (reports that deny the condition, reports that assert it), in words the bundled models do not use."""


def random_facts(modality: str, rng: np.random.Generator) -> Facts:
    """Facts of a phantom nobody drew: enough to write a report."""
    conspicuity = float(rng.choice([rng.uniform(0, FAINT), rng.uniform(FAINT, PLAIN), rng.uniform(PLAIN, 1)]))
    metadata = {"size": str(rng.choice(["small", "medium", "large"])), "side": str(rng.choice(["left", "right"]))}
    return Facts(modality, int(rng.integers(2)), 0.0, conspicuity, metadata)


def asserted(facts: Facts) -> int:
    """What a description written from these facts says: a leaning hedge leans; elsewhere it says the label."""
    if FAINT <= facts.conspicuity < PLAIN:
        return int(facts.conspicuity >= (FAINT + PLAIN) / 2)
    return facts.label


def random_report(modality: str, rng: np.random.Generator) -> tuple[str, int]:
    """A report about this modality and whether it asserts the condition. A refusal, or a drawing's description, does not."""
    roll = rng.random()
    if roll < 0.04:
        return str(rng.choice([POLICY_REFUSAL, CAPABILITY_REFUSAL])), 0
    if roll < 0.07:
        return describe_scene(draw_scene(int(rng.integers(10**6)), "reader", 0)[1]), 0
    if roll < 0.09:
        return f"This is {SPEECH[modality].scan}.", 0
    if roll < 0.30:
        label = int(rng.integers(2))
        extra = EXTRA_REPORTS[modality][label]
        opening = f"This is {SPEECH[modality].scan}. " if rng.random() < 0.6 else ""
        return opening + extra[rng.integers(len(extra))], label
    facts = random_facts(modality, rng)
    text = description(facts, bool(rng.random() < 0.5))
    sentences = text[:-1].split(". ")
    if len(sentences) > 2 and rng.random() < 0.25:  # a report without its opening, or without its conclusion
        text = ". ".join(sentences[1:] if rng.random() < 0.5 else sentences[:-1]) + "."
    return text, asserted(facts)


def reader_example(rng: np.random.Generator) -> tuple[str, str]:
    """A question to the reader and its answer. Three in ten reports are about some other organ than the question."""
    modalities = list(TARGETS)
    asked = modalities[rng.integers(len(modalities))]
    told = asked if rng.random() < 0.7 else modalities[rng.integers(len(modalities))]
    report, label = random_report(told, rng)
    wording = str(rng.choice(list(READER_WORDINGS)))
    # "Disease" asks about any disease; the other two about one, which a report on another organ does not assert.
    answer = label if wording == "disease" or told == asked else 0
    target = TARGETS[asked]
    question = READER_WORDINGS[wording].format(
        role=target.role,
        modality=target.modalities[rng.integers(len(target.modalities))],
        target=target.targets[rng.integers(len(target.targets))],
        description=report,
    )
    return question, "Yes" if answer else "No"
