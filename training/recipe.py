"""How much of everything: the one place where the amounts of the training are written down."""

from __future__ import annotations

from dataclasses import dataclass

from training.pictures import SCENE, Order
from training.wordings import TASK_FILES

MODALITIES = tuple(TASK_FILES)
PAIRS = {"llava": ("phantom-llava", "phantom-llava-med"), "gemma": ("phantom-gemma", "phantom-medgemma")}
"""Family → its base model and the model tuned from it."""

EASY_D_PRIME = 5.0
"""Difficulty of the base models' medical helping: a perfect reader would get 99.4 % of it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Counts of images and optimizer steps. ``batch`` is images per step; each comes with ``questions`` questions."""

    scenes: int = 24_000
    base_medical: tuple[int, ...] = (200, 100, 50, 25)  # easy; as everywhere, the rarer the subject, the less of it is seen
    tuned_medical: int = 30_000  # per modality, at its own difficulty
    validation: int = 200  # per modality
    test: int = 400  # per modality; drawn for the final figures only
    batch: int = 256
    questions: int = 8
    base_vision_steps: int = 700
    tuned_vision_steps: int = 1_500
    base_steps: int = 1_100
    tuned_steps: int = 1_000
    reader_examples: int = 60_000
    reader_steps: int = 1_000
    log_every: int = 200
    loaders: int = 6  # processes that write questions, per model family
    curve: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)

    def orders(self) -> dict[str, tuple[Order, ...]]:
        """What to draw, by the name of the set."""
        sets = {
            "scenes": (Order(SCENE, "train", self.scenes),),
            "base": tuple(Order(m, "train", n, EASY_D_PRIME) for m, n in zip(MODALITIES, self.base_medical, strict=True)),
            "tuned": tuple(Order(m, "train", self.tuned_medical) for m in MODALITIES),
            "validation": tuple(Order(m, "validation", self.validation) for m in MODALITIES),
            "test": tuple(Order(m, "test", self.test) for m in MODALITIES),
        }
        return sets | {f"test-{d:g}": tuple(Order(m, "test", self.test, d) for m in MODALITIES) for d in self.curve}


FULL = Recipe()
SMOKE = Recipe(
    scenes=80,
    base_medical=(20, 20, 10, 10),
    tuned_medical=40,
    validation=8,
    test=8,
    batch=8,
    questions=4,
    base_vision_steps=3,
    tuned_vision_steps=3,
    base_steps=4,
    tuned_steps=4,
    reader_examples=200,
    reader_steps=4,
    log_every=2,
    loaders=0,
    curve=(2.0,),
)
SHORT = Recipe(
    scenes=8_000,
    base_medical=(200, 100, 50, 25),
    tuned_medical=6_000,
    test=100,
    base_vision_steps=400,
    tuned_vision_steps=500,
    base_steps=400,
    tuned_steps=500,
    reader_steps=500,
    log_every=100,
    curve=(2.0,),
)
"""A rehearsal in about three minutes."""
TUNING_ON_CPU = Recipe(
    scenes=1_500,
    tuned_medical=7_000,
    validation=100,
    batch=64,
    tuned_vision_steps=900,
    tuned_steps=320,
    log_every=80,
    loaders=0,
)
"""Enough to tune a base model that is there already (``--base``) on two CPU cores, in about half an hour."""
RECIPES = {"full": FULL, "tuning-on-cpu": TUNING_ON_CPU, "short": SHORT, "smoke": SMOKE}
