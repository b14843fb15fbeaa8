"""The plug-in contract: everything that can be added to Palpate by adding one file.

A file in ``cases/``, ``perturbations/``, ``models/``, ``readings/`` or ``measures/`` ends with ``PARTS = (…,)``, a tuple
of objects that satisfy the protocol below; another package adds its own through the entry-point group
``palpate.<folder>``. Files whose name starts with an underscore are private to their folder. Importing such a file must
be cheap: heavy libraries are imported where they are used. The contract tests run over every part on arrival.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from palpate.nouns import Answer, CaseSet, Estimate, Lineage, Outcome, Panel, Price, Prompt, Stimulus
from palpate.thresholds import Thresholds as Thresholds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


SECRET_OPTIONS = ("salt",)
"""Options of a source that no file of a run may hold."""
WITHHELD = "(withheld)"
"""What stands in their place there."""
TRUST_CODE = "PALPATE_TRUST_CODE"
"""Environment variable that is 1 where code that a study names may run: a study file alone never runs any."""


def code_is_trusted() -> bool:
    """Whether whoever runs this said that a study may name code: a function of their own, or code that comes with a checkpoint."""
    return os.environ.get(TRUST_CODE) == "1"


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
    """Gives the cases of a task. ``options`` names its keys in ``[tasks.source]`` with a one-line description each.

    A source, like a ModelKind, may have ``needs(options)``: modules it takes beside the core, told where one is missing."""

    name: ClassVar[str]
    options: ClassVar[Mapping[str, str]]

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Cases in a stable order. Raises SourceError where the source as a whole cannot be read; a single bad image is LeftOut."""
        ...


@runtime_checkable
class PerturbationFamily(Protocol):
    """Changes an image: deterministic in (image, severity, generator).

    A family may also declare ``sets``, the sets by which a study can name it together with others (``mri``, ``xray``… for the
    kinds of image it belongs to, ``null``, ``occlusion``), and ``needs_mask`` = True: then it is a MaskedFamily."""

    name: ClassVar[str]
    severities: ClassVar[tuple[int, ...]]  # (0,) where it has no strength
    version: ClassVar[int]

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The changed image, of the same size, RGB; None: the model is shown no image."""
        ...


@runtime_checkable
class MaskedImage(Protocol):
    """An ImageRef that knows where the lesion is."""

    def open(self) -> Image:
        """As ImageRef."""
        ...

    def mask(self) -> NDArray[np.bool_]:
        """(height, width) True on the lesion, all False where none is to be seen. Raises OSError or ValueError."""
        ...


@runtime_checkable
class MaskedFamily(Protocol):
    """A PerturbationFamily that must know where the lesion is: ``needs_mask`` is True, and ``apply`` takes the mask as well."""

    name: ClassVar[str]
    severities: ClassVar[tuple[int, ...]]
    version: ClassVar[int]
    needs_mask: ClassVar[bool]

    def apply(self, image: Image, severity: int, rng: np.random.Generator, mask: NDArray[np.bool_] | None = None) -> Image | None:
        """``mask`` (height, width), True on the lesion; all False where none is to be seen."""
        ...


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as the study names it: ``name`` in the study, ``kind`` = name of the part, and that part's own options.
    ``folder``: the study file's own, from which its relative paths are taken; empty where there is no file."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    seed: int = 0
    folder: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a model is. ``identity`` goes into every trial's key: whatever could change an answer (weights, revision, adapter
    version, generation settings, chat template, dtype). ``environment`` is recorded beside it: device, versions, warnings.
    ``settled``: options left open that this machine decided and ``identity`` holds. Given outright they make the same model
    on any machine."""

    identity: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict, hash=False)
    settled: Mapping[str, Any] = field(default_factory=dict, hash=False)


@runtime_checkable
class Model(Protocol):
    """Answers questions about images. Cheap to make: weights are loaded at the first ``ask``."""

    @property
    def blocks_at_once(self) -> int:
        """How many stimuli ``ask`` likes to be given together."""
        ...

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
class LooksAhead(Model, Protocol):
    """A Model that works faster where it knows what comes next."""

    def expect(self, stimuli: Sequence[Stimulus]) -> None:
        """These will be asked after the next ``ask``, or never. Changes no answer."""
        ...


@runtime_checkable
class LoadsFirst(Model, Protocol):
    """A Model that can load before it is checked, so that a reader is told which of the two takes so long."""

    def load(self) -> None:
        """Read the weights now rather than at the first question. Raises ModelError where they do not load."""
        ...


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a served model's questions go: the host's name, whether that is another machine, and which environment variables
    hold what is sent along (a key, headers)."""

    host: str
    remote: bool
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a served model may still spend (None: no limit): tokens in and out together, and money at ``price``."""

    tokens: int | None = None
    money: float | None = None
    price: Price | None = None


BUDGET_SPENT = "the budget is spent"
"""Cause of an Answer that was not asked, where nothing went wrong."""


@runtime_checkable
class ServedModel(Model, Protocol):
    """A Model that is somewhere else, and is asked over a connection.

    The driver asks it in its own process, from ``asks_at_once`` threads side by side, so that the server stays full. A
    question it does not put, because the allowance is spent or the server has gone, comes back with ``asked`` False."""

    @property
    def asks_at_once(self) -> int:
        """How many calls of ``ask`` it likes side by side."""
        ...

    def destination(self) -> Destination:
        """Where the questions go. Nothing is sent to find out."""
        ...

    def tokens(self, prompt: Prompt, *, image: bool) -> tuple[int, int]:
        """(tokens in, most tokens out) of a question: what a plan reckons with before anything was sent."""
        ...

    def allow(self, allowance: Allowance) -> None:
        """From now on spend at most this."""
        ...

    def observed(self) -> Mapping[str, Any]:
        """What was found out about the server while asking: recorded in the model's environment, never in its identity."""
        ...


@dataclass(frozen=True, slots=True)
class FeatureStage:
    """One place inside a model at which an image, or a question about it, is a vector.

    ``kind``, in the order information flows: ``vision`` (layer of the vision tower; depth 0 is its embedding), ``read`` (what
    the language model's projector is given), ``projector`` (what it gives), ``image`` (layer of the language model, pooled
    over the image's tokens), ``prompt`` (layer of the language model at the last token of the question ``prompt``).
    ``depth`` counts layers within the kind; the last of the language model is after its final norm. ``pooling`` over tokens:
    mean or max; last for ``prompt``."""

    kind: str
    depth: int = 0
    pooling: str = "mean"
    prompt: str = ""

    @property
    def name(self) -> str:
        """``vision-03``, ``read``, ``projector``, ``image-12``, ``image-12/max``, ``prompt-30@target-1``."""
        depth = "" if self.kind in ("read", "projector") else f"-{self.depth:02d}"
        pooled = f"/{self.pooling}" if self.pooling not in ("mean", "last") else ""
        return f"{self.kind}{depth}{pooled}{'@' if self.prompt else ''}{self.prompt}"


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """Which inner states to hand over. ``layers``: indices, negative ones from the end, None for all; ``pooling``: over tokens,
    mean and max; ``prompts``: the questions at whose last token the language model's states are kept."""

    layers: tuple[int, ...] | None = None
    pooling: tuple[str, ...] = ("mean",)
    prompts: tuple[Prompt, ...] = ()


Features = Mapping[FeatureStage, "NDArray[np.float32]"]
"""Of one image: a vector (d,) per stage, in the order information flows."""


@runtime_checkable
class LooksInside(Protocol):
    """A Model that can also hand over its inner states, from the passes that answer."""

    def look(
        self, stimuli: Sequence[Stimulus], requests: Sequence[FeatureRequest | None]
    ) -> tuple[list[list[Answer]], list[Features | None]]:
        """The answers, as ``ask`` gives them, and per stimulus its features; None where none are asked for or it failed."""
        ...


@runtime_checkable
class ChecksItself(Protocol):
    """A Model that can tell, before its first question, whether the way it is asked is sound."""

    def check(self, stimuli: Sequence[Stimulus]) -> Mapping[str, Any]:
        """Facts to record beside its environment, as JSON.

        ``checks``: a list of {name, held: true, false or null, found}, and others of its own. ``ask_instead``: options to ask it
        with in this run; where they make another identity of it, it is planned and checked again as that model. ``warnings``:
        what to tell the reader.
        Raises ModelError where it must not be asked at all. Empty where there is nothing to check with."""
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
    """Task words a reader may use: what findings assert the condition, what findings deny it, and which words name the diagnosis.

    ``names``: those that name the condition, or its absence, rather than describe a sign of it; empty: all of them do. ``oracle``:
    what a perfect describer says where the condition is, and where it is not, with facts of the case in braces."""

    condition: str
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    oracle: tuple[str, str] = ("There is evidence of {condition}.", "There is no evidence of {condition}.")

    @property
    def naming(self) -> tuple[str, ...]:
        """Every word that names the diagnosis or its absence."""
        return tuple(dict.fromkeys(w for w in (self.condition, *(self.names or (*self.positive, *self.negative))) if w))


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
class ReadingSpec:
    """A reading as the study names it: the method, the model it asks (None: it asks none), and the method's own options.

    ``after``: a method that asks no model and reads first; only what it leaves unparsed is asked. ``of``: the one model whose
    answers it reads (empty: every model's), and ``part_of`` the name under which the study gives it together with others."""

    name: str
    method: str
    model: ModelSpec | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    after: str = ""
    of: str = ""
    part_of: str = ""


@runtime_checkable
class AskingMethod(Protocol):
    """Turns an answer's text into an Outcome by asking a model a question in words, without an image and without the label.

    ``options`` names its keys in ``[[readings]]``. ``model_options`` are set on the model where its kind has such options and the
    study gives them no value. The same question is asked once, whatever asks it."""

    name: ClassVar[str]
    by: ClassVar[str]
    options: ClassVar[Mapping[str, str]]
    model_options: ClassVar[Mapping[str, Any]]

    def question(self, text: str, prompt: Prompt, rubric: Rubric, options: Mapping[str, Any]) -> Prompt | None:
        """What to ask about the answer ``text`` to ``prompt``; None where this method does not read answers to such prompts."""
        ...

    def outcome(self, reply: Answer, text: str, prompt: Prompt, rubric: Rubric, options: Mapping[str, Any]) -> ReadText | None:
        """What the reply says of the answer; None for a reply in no form that was asked for: an error, asked again."""
        ...


@runtime_checkable
class ReadsDescriptions(AskingMethod, Protocol):
    """An AskingMethod that diagnoses from descriptions, and can be given others in their place, as controls.

    Its option ``input`` says what it is given: ``real``, ``masked``, ``empty``, or ``oracle``."""

    def oracle(self, label: int, facts: Mapping[str, Any], rubric: Rubric) -> str:
        """A description made of the reference label and what is recorded of the case: what a perfect describer would say."""
        ...

    def stated(self, text: str, rubric: Rubric) -> Outcome | None:
        """What the description says of the diagnosis by its name: positive, negative, hedge; None where it names none."""
        ...

    def masked(self, text: str, rubric: Rubric) -> str:
        """The description without what names the diagnosis."""
        ...


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """What measures share: the pairs to compare, seed, confidence level, bootstrap and permutation draws, verdict thresholds."""

    lineages: tuple[Lineage, ...] = ()
    seed: int = 0
    level: float = 0.95
    draws: int = 2000
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True, slots=True)
class Headline:
    """Which of a measure's estimates answers its question, and what stands beside it.

    ``null`` is what no skill or no effect would give: a number, or the name of the estimate that holds it. ``beside`` names
    estimates, of this measure or another, to be read together with it."""

    estimate: str
    null: float | str | None = None
    beside: tuple[str, ...] = ()


@runtime_checkable
class Measure(Protocol):
    """Panels → Estimates. ``question`` is which of the seven questions it answers (1–7); ``estimates`` the measure names it
    gives, each with a one-line definition that says its denominator.

    A measure whose verdict is the answer to its question also has ``headlines``, a tuple of Headline."""

    name: ClassVar[str]
    question: ClassVar[int]
    estimates: ClassVar[Mapping[str, str]]

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Deterministic in (panels, settings); undefined values are Estimates with a reason."""
        ...
