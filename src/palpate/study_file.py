"""The shape of a study file: its tables, their keys and defaults. What they come to is made in ``study.py``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from palpate.conditions import GateFile
from palpate.nouns import Form, Polarity
from palpate.parts import Thresholds
from palpate.task import LabelsFile, SourceFile


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)  # "3" is no 3, and "yes" is not true


class SampleFile(_File):
    """``[sample]``: how many cases per label, drawn with the study's seed."""

    per_class: int | None = Field(None, ge=1)


class ModelFile(BaseModel):
    """``[[models]]``: a name, and for a model of one's own its kind and that kind's options."""

    model_config = ConfigDict(extra="allow", strict=True)
    name: str = Field(min_length=1)
    kind: str | None = None


class ReadingFile(BaseModel):
    """``[[readings]]``: one more way to read the answers: a method, the model it asks (by name, or as in ``[[models]]``), and
    that method's own options."""

    model_config = ConfigDict(extra="allow", strict=True)
    name: str = Field(min_length=1)
    method: str = "judge"
    model: str | ModelFile | None = None
    after: str = ""


class PromptFile(_File):
    """``[[tasks.wordings]]``: a question in the user's own words, asked beside the prompt set."""

    name: str = Field(min_length=1)
    text: str = Field(min_length=1)
    form: Form = Field(strict=False)  # a file holds its value, never the enum
    polarity: Polarity = Field(Polarity.POSITIVE, strict=False)
    cell: str = "target"
    options: tuple[str, str] | None = Field(None, strict=False)
    factors: dict[str, str] = {}


OWN = "own"
"""The reader that is each model's own language model."""


class DescriptionsFile(_File):
    """``[descriptions]``: ask for descriptions, and have readers that see no image diagnose from them: every reader × question ×
    input is a reading. ``readers``: names or tables as in ``[[models]]``; ``own``: of each model's descriptions its own language
    model. ``inputs`` but ``real`` are controls. ``images``: perturbations under which descriptions are asked for (default: none,
    and ``blank`` where the study has it: the grey image)."""

    readers: list[str | ModelFile] = Field([OWN], min_length=1)
    questions: list[Literal["one_word", "tight", "disease"]] = Field(["one_word", "tight", "disease"], min_length=1)
    inputs: list[Literal["real", "masked", "empty", "oracle"]] = Field(["real", "masked", "empty", "oracle"], min_length=1)
    images: list[str] | None = None
    role: str = "physician"
    modality: str = "medical"

    def readings(self, models: list[str]) -> Iterator[tuple[ReadingFile, str]]:
        """Each reading, and the one model of the study whose descriptions it reads (empty: all)."""
        for reader, question, given in product(self.readers, self.questions, self.inputs):
            own = reader == OWN
            name = ".".join([reader if isinstance(reader, str) else reader.name, question, *([] if given == "real" else [given])])
            options = {"variant": question, "input": given, "role": self.role, "modality": self.modality}
            for model in models if own else [reader]:
                whose = str(model) if own else ""
                called = f"{name}@{model}" if own else name
                yield ReadingFile(name=called, method="diagnose", model=model, **options), whose


class TaskEntry(_File):
    """``[[tasks]]``: a task by name (``task`` or ``file`` where the name is the user's own), and its source of cases.

    ``definition`` is a task file's content in place: so a run's own study needs no other file.
    """

    name: str = Field(min_length=1)
    task: str | None = None
    file: str | None = None
    definition: dict[str, Any] | None = None
    prompts: str | None = None
    wordings: list[PromptFile] = []
    labels: LabelsFile | None = None
    source: SourceFile | None = None


class PairFile(_File):
    """``[[pairs]]``: two models to compare, and how the tuned one descends from the base."""

    base: str
    tuned: str
    relation: Literal["parent", "sibling", "unrelated", "unknown"] = "unknown"


class PriceFile(_File):
    """``[prices.MODEL]``: what a million tokens in and out cost; `palpate plan` reckons with it. 0 for a model of one's own."""

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    currency: str = Field("USD", min_length=1)


class BudgetFile(_File):
    """``[budget]``: the most that asking may come to, over every sitting of a run; what is left then stays unasked."""

    tokens: int | None = Field(None, ge=1)
    money: float | None = Field(None, gt=0, allow_inf_nan=False)


class MeasureFile(_File):
    """``[measure]``."""

    level: float = Field(0.95, gt=0.5, lt=1.0)
    draws: int = Field(2000, ge=100, le=100_000)


_USUAL = Thresholds()


class VerdictsFile(_File):
    """``[verdicts]``: where a number becomes a word. What each bound decides, and its source: ``palpate.parts.Thresholds``."""

    chance_margin: float = Field(_USUAL.chance_margin, gt=0, lt=0.5)
    chance_margin_small: float = Field(_USUAL.chance_margin_small, gt=0, lt=0.5)
    chance_small: int = Field(_USUAL.chance_small, ge=0)
    fragile: float = Field(_USUAL.fragile, ge=0, lt=0.5)
    robust: float = Field(_USUAL.robust, gt=0, lt=0.5)
    factor: float = Field(_USUAL.factor, ge=0, lt=1)
    answers: float = Field(_USUAL.answers, gt=0, lt=1)
    equivalence: float = Field(_USUAL.equivalence, gt=0, lt=1)
    kappa: float = Field(_USUAL.kappa, ge=0, le=1)
    answer_mass: float = Field(_USUAL.answer_mass, ge=0, le=1)
    threshold_problem: float = Field(_USUAL.threshold_problem, ge=0, lt=0.5)
    image_dependence: float = Field(_USUAL.image_dependence, ge=0, lt=1)
    label_dependence: float = Field(_USUAL.label_dependence, ge=0, lt=0.5)
    consistent: float = Field(_USUAL.consistent, gt=0.5, le=1)
    latent: float = Field(_USUAL.latent, ge=0, lt=0.5)
    confidence_auroc: float = Field(_USUAL.confidence_auroc, ge=0.5, lt=1)
    criterion_spread: float = Field(_USUAL.criterion_spread, ge=0, lt=5)
    enough: float = Field(_USUAL.enough, gt=0.5, le=1)
    ignored: float = Field(_USUAL.ignored, gt=0, lt=1)
    blind: float = Field(_USUAL.blind, gt=0, lt=0.5)
    text_share: float = Field(_USUAL.text_share, gt=0, lt=1)
    corruption_slope: float = Field(_USUAL.corruption_slope, gt=0, lt=0.5)
    description_gain: float = Field(_USUAL.description_gain, ge=0, lt=0.5)
    oracle: float = Field(_USUAL.oracle, ge=0.5, lt=1)

    @property
    def thresholds(self) -> Thresholds:
        """The record that measures take."""
        return Thresholds(**self.model_dump())


class AskFile(_File):
    """``[ask]``: how, and where, models are asked. No answer depends on any of it."""

    workers: int | None = Field(None, ge=1, le=1024)
    attempts: int = Field(3, ge=1, le=100)
    executor: Literal["local", "ray"] = "local"
    address: str | None = Field(None, min_length=1)
    cpus: float = Field(1.0, gt=0, le=1024)
    gpus: float | None = Field(None, ge=0, le=64)


class FeaturesFile(_File):
    """``[features]``: inner states to keep while models answer. ``models`` and ``prompts`` default to all that can be looked into,
    and to the first wording of each cell. ``pictures``: flat pictures of them for the report, which no verdict rests on."""

    models: list[str] | None = None
    layers: Literal["all"] | list[int] = "all"
    pooling: list[Literal["mean", "max"]] = Field(["mean"], min_length=1)
    prompts: list[str] | None = None
    pictures: list[Literal["tsne", "umap"]] = []


class ReportFile(_File):
    """``[report]``."""

    images: bool = False
    examples: int = Field(3, ge=0, le=1000)


class DataFile(_File):
    """``[data]``: whether a run looks at its images first, and what it does about a fault in them."""

    inspect: bool = True
    on_fault: Literal["warn", "stop"] = "warn"


class StudyFile(_File):
    """A study file."""

    name: str = Field(min_length=1)
    seed: int = Field(0, ge=0)
    prompts: str = "reference"
    protocol: Literal["own", "fragility-2026"] | None = None
    describe: bool = False
    descriptions: DescriptionsFile | None = None
    perturbations: list[str] = Field(["none"], min_length=1)
    repeats: int = Field(1, ge=1)
    reading: str = "rules"
    sample: SampleFile = SampleFile()
    models: list[ModelFile] = Field(min_length=1)
    readings: list[ReadingFile] = []
    tasks: list[TaskEntry] = Field(min_length=1)
    pairs: list[PairFile] | None = None
    prices: dict[str, PriceFile] = {}
    budget: BudgetFile = BudgetFile()
    measure: MeasureFile = MeasureFile()
    verdicts: VerdictsFile = VerdictsFile()
    ask: AskFile = AskFile()
    features: FeaturesFile | None = None
    report: ReportFile = ReportFile()
    data: DataFile = DataFile()
    gate: GateFile = GateFile()
