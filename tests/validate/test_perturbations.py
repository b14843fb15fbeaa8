"""Severity is what it says: the reference probe's AUROC falls from one to the next, averaged over a family's modalities."""

from __future__ import annotations

import numpy as np
import pytest

from palpate.registry import part, parts
from reference_probe import PHANTOMS, aurocs

pytestmark = pytest.mark.slow
FAMILIES = [name for name, family in parts("perturbations").items() if any(family.severities)]
TRAINING, COUNT = 800, 400
NOISE = 0.025  # two standard errors of a paired difference of AUROCs on 400 images, one modality
INVARIANT = {"rotation": ("histology",), "contrast": ("histology",)}
"""Family → modalities on which the probe itself does not see it as a loss: tissue has no upside, and no brightness of its own."""
COVERING = ("ruler",)
"""Families that hide a part and leave the rest. A bright strip misleads a probe trained without it the same at any width (AUROC .70
clean, .61 to .68 in no order under it), so what is left to see is measured by a probe retrained under it (.72 to .68)."""


@pytest.mark.parametrize("name", FAMILIES)
def test_auroc_falls_with_severity(name: str) -> None:
    family = part("perturbations", name)
    modalities = [m for m in PHANTOMS if m in family.sets and m not in INVARIANT.get(name, ())]
    count = COUNT * (2 if name in COVERING else 1)
    kept = [aurocs(family, m, family.severities, TRAINING, count, retrained=name in COVERING) for m in modalities]
    rows = np.array([list(found) for found in kept])
    mean = rows.mean(axis=0)
    print(f"{name}: {len(modalities)} modalities, " + " ".join(f"{v:.3f}" for v in mean))
    assert (np.diff(mean) <= NOISE * 1.5 / np.sqrt(len(modalities))).all()
    assert mean[-1] < mean[0]
