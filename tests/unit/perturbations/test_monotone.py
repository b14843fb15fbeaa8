"""A quick look at the reference probe: no family makes a disease easier to see. ``tests/validate`` looks closer."""

from __future__ import annotations

import pytest

from palpate.registry import part, parts
from reference_probe import aurocs

NOISE = 0.08  # of a difference of AUROCs on 60 images
CASES = [
    (name, "mri" if "mri" in family.sets else family.sets[0])
    for name, family in parts("perturbations").items()
    if any(family.severities)
]


@pytest.mark.parametrize(("name", "modality"), CASES)
def test_the_reference_probe_does_not_gain(name: str, modality: str) -> None:
    clean, weak, strong = aurocs(part("perturbations", name), modality, (1, 5), training=200, count=60)
    assert strong <= weak + NOISE
    assert weak <= clean + NOISE
    assert strong <= clean + NOISE / 2
