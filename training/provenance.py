"""What a model was trained, or measured, on."""

from __future__ import annotations

import dataclasses
import platform
from typing import Any

from training.recipe import Recipe


def provenance(device: str, seed: int, recipe: Recipe | None = None) -> dict[str, Any]:
    """Seed, recipe, versions and processor, for the log and the card."""
    import numpy
    import scipy
    import tokenizers
    import torch
    import transformers

    from palpate.cases.phantom import GENERATOR_VERSION

    facts = {
        "seed": seed,
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "generator_version": GENERATOR_VERSION,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }
    return facts | ({"recipe": dataclasses.asdict(recipe)} if recipe else {})
