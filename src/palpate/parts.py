"""The plug-in contract: everything that can be added to Palpate by adding one file.

A file in ``cases/``, ``perturbations/``, ``models/``, ``readings/`` or ``measures/`` ends with ``PARTS = (…,)``, a tuple
of objects that satisfy the protocol below; another package adds its own through the entry-point group
``palpate.<folder>``. Files whose name starts with an underscore are private to their folder. Importing such a file must
be cheap: heavy libraries are imported where they are used. The contract tests run over every part on arrival.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from palpate.nouns import Answer, CaseSet, Estimate, Lineage, Outcome, Panel, Prompt, Stimulus

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Labels:
    """How a source's own label values map to the condition: which mean present, which absent. Compared case-folded, as text."""

    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()

    def of(self, value: object) -> int | None:
        """1, 0, or None for a value in neither list."""
        text = str(value).strip().casefold()
        if text in {v.casefold() for v in self.positive}:
            return 1
        return 0 if text in {v.casefold() for v in self.negative} else None


@dataclass(frozen=True, slots=True)
class Sample:
    """How many cases to take: at most ``per_class`` of each label (None: all), drawn with ``seed``."""

    per_class: int | None = None
    seed: int = 0


@runtime_checkable
class Source(Protocol):
    """Gives the cases of a task. ``options`` names its keys in ``[tasks.source]`` with a one-line description each."""

    name: ClassVar[str]
    options: ClassVar[Mapping[str, str]]

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Cases in a stable order. Raises SourceError where the source as a whole cannot be read; a single bad image is LeftOut."""
        ...


@runtime_checkable
class PerturbationFamily(Protocol):
    """Changes an image: deterministic in (image, severity, generator)."""

    name: ClassVar[str]
    severities: ClassVar[tuple[int, ...]]  # (0,) where it has no strength
    version: ClassVar[int]

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The changed image, of the same size, RGB; None: the model is shown no image."""
        ...


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as the study names it: ``name`` in the study, ``kind`` = name of the part, and that part's own options."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a model is. ``identity`` goes into every trial's key: whatever could change an answer (weights, revision, adapter
    version, generation settings, chat template, dtype). ``environment`` is recorded beside it: device, versions, warnings."""

    identity: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict, hash=False)


@runtime_checkable
class Model(Protocol):
    """Answers questions about images. Cheap to make: weights are loaded at the first ``ask``."""

    blocks_at_once: int  # how many stimuli ``ask`` likes to be given together

    def fingerprint(self) -> Fingerprint:
        """Identity and environment, without loading weights. Raises ModelError where the model cannot be found."""
        ...

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        """One list per stimulus, one Answer per trial of its block, in order. Answers never depend on what else is in the batch.

        A failure of one question is an Answer with status ERROR; only a model that cannot work at all raises ModelError."""
        ...

    def close(self) -> None:
        """Free memory and connections."""
        ...


@runtime_checkable
class ModelKind(Protocol):
    """Makes Models of one kind. ``presets`` are names a study may give alone, each with the options it stands for."""

    name: ClassVar[str]
    options: ClassVar[Mapping[str, str]]

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """name → options; '' descriptions under the key ``about``."""
        ...

    def lineages(self) -> Sequence[Lineage]:
        """Known base/tuned pairs among the presets."""
        ...

    def build(self, spec: ModelSpec) -> Model:
        """Raises ModelError for bad options."""
        ...


@dataclass(frozen=True, slots=True)
class Rubric:
    """Task words a reader may use: what findings assert the condition, what findings deny it, and the option names."""

    condition: str
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadText:
    """What a reading method found in one text."""

    outcome: Outcome
    span: tuple[int, int] | None = None
    rule: str = ""


@runtime_checkable
class ReadingMethod(Protocol):
    """Turns an answer's text into an Outcome. ``by`` is name and version: a changed method is a new reading, the old one stays."""

    name: ClassVar[str]
    by: ClassVar[str]

    def read(self, text: str, prompt: Prompt, rubric: Rubric) -> ReadText:
        """Never raises; a text it cannot read is UNPARSED."""
        ...


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """What measures share: the pairs to compare, seed, confidence level, bootstrap and permutation draws."""

    lineages: tuple[Lineage, ...] = ()
    seed: int = 0
    level: float = 0.95
    draws: int = 2000


@runtime_checkable
class Measure(Protocol):
    """Panels → Estimates. ``question`` is which of the seven questions it answers (1–7); ``estimates`` the measure names it
    gives, each with a one-line definition that says its denominator."""

    name: ClassVar[str]
    question: ClassVar[int]
    estimates: ClassVar[Mapping[str, str]]

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Deterministic in (panels, settings); undefined values are Estimates with a reason."""
        ...
