"""The data card: counts, findings and probes of one task's images, as plain records. No pixels, no file names: cases by id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

FAULT, NOTE = "fault", "note"


@dataclass(frozen=True, slots=True)
class DataFinding:
    """Something found in the images. ``cases`` lists sets of case ids: each set of one, or images that belong together.

    ``severity``: a ``fault`` can change a result; a ``note`` is worth knowing.
    """

    kind: str
    severity: str
    text: str
    cases: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """How well a class is told from what no finding is in. ``auroc``: of out-of-fold scores; ``p``: by permuting the labels of
    groups and repeating the whole cross-validation. None, with a reason, where it cannot be measured."""

    name: str
    features: tuple[str, ...]
    auroc: float | None
    p: float | None
    n_cases: int
    n_groups: int
    permutations: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DataCard:
    """One task's images. ``identity`` follows cases, labels, groups and pixels: the same images have the same card.

    ``sizes``: (smallest, median, largest) of width and of height in pixels; ``largest_group``: images of one patient or slide.
    ``formats``, ``modes``, ``left_out``: value or reason → how many files.
    """

    task: str
    identity: str
    n_cases: int
    n_positive: int
    n_negative: int
    n_groups: int
    groups_of_both_labels: int
    largest_group: int
    widths: tuple[int, float, int]
    heights: tuple[int, float, int]
    formats: Mapping[str, int] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[DataFinding, ...] = ()
    probes: tuple[Probe, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[DataFinding, ...]:
        """The findings that can change a result."""
        return tuple(finding for finding in self.findings if finding.severity == FAULT)


def cards_json(cards: tuple[DataCard, ...]) -> str:
    """Cards as JSON; ``cards_from_json`` reads them back to equal ones."""
    return json.dumps([asdict(card) for card in cards], indent=1, allow_nan=False) + "\n"


def cards_from_json(text: str) -> tuple[DataCard, ...]:
    """The cards of a run. Raises ValueError for a text that holds none."""
    try:
        return tuple(_card(raw) for raw in json.loads(text))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"is no list of data cards: {error}") from error


def _card(raw: dict[str, Any]) -> DataCard:
    findings = (
        DataFinding(f["kind"], f["severity"], f["text"], tuple(tuple(map(str, ids)) for ids in f["cases"])) for f in raw["findings"]
    )
    probes = (Probe(**{**p, "features": tuple(p["features"])}) for p in raw["probes"])
    shaped = {key: tuple(raw[key]) for key in ("widths", "heights", "notes")}
    return DataCard(**{**raw, **shaped, "findings": tuple(findings), "probes": tuple(probes)})
