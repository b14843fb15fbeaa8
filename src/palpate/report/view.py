"""What a report shows: plain records, gathered once, rendered in several ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from palpate.inspection.card import DataCard
from palpate.nouns import ConditionResult, Estimate, Lineage, Outcome, Prompt
from palpate.parts import Thresholds
from palpate.spending import Cost
from palpate.store.pictures import Picture


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One examined model: its fingerprint's identity and environment, and how it descends from others in the study."""

    name: str
    identity: Mapping[str, Any]
    environment: Mapping[str, Any]
    lineage: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class TaskCard:
    """One task and its images. ``best_accuracy``: what the best possible reader reaches, where that is known (phantoms)."""

    name: str
    title: str
    modality: str
    condition: str
    difficulty: int
    n_cases: int
    n_positive: int
    n_negative: int
    n_groups: int
    n_left_out: int
    best_accuracy: float | None = None
    cautions: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    citation: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the questions: asked in all, ended ok / truncated / blocked / as an error (by cause), never asked."""

    trials: int
    ok: int
    truncated: int
    blocked: int
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_errors(self) -> int:
        """Trials whose last attempt was an error."""
        return sum(self.errors.values())

    @property
    def unasked(self) -> int:
        """Trials of the plan with no attempt yet."""
        return self.trials - self.ok - self.truncated - self.blocked - self.n_errors


@dataclass(frozen=True, slots=True)
class ExampleAnswer:
    """One model's own words to one wording. ``span`` is the part of the text the reading rests on."""

    model: str
    prompt: str
    question: str
    text: str
    outcome: Outcome | None
    span: tuple[int, int] | None = None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One case with what the models said about it, and why it is shown. ``png`` only where the study asks for images."""

    task: str
    case: str
    label: int
    why: str
    answers: tuple[ExampleAnswer, ...]
    png: bytes | None = None


@dataclass(frozen=True, slots=True)
class ReportView:
    """Everything a report shows. ``definitions``: estimate name → one line with its denominator."""

    study_name: str
    study_toml: str
    created: str
    palpate_version: str
    models: tuple[ModelCard, ...]
    tasks: tuple[TaskCard, ...]
    prompts: Mapping[str, tuple[Prompt, ...]]
    lineages: tuple[Lineage, ...]
    estimates: tuple[Estimate, ...]
    counts: Counts
    conditions: tuple[ConditionResult, ...] = ()
    examples: tuple[Example, ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    costs: tuple[Cost, ...] = ()  # of the models that are served, or priced
    data: tuple[DataCard, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    pictures: tuple[Picture, ...] = ()
