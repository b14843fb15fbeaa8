"""Study file → Study: models × tasks × prompts × perturbations × repeats, and the conditions to hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w

from palpate.conditions import parse_condition
from palpate.errors import PalpateError, StudyError, unknown_name
from palpate.files import absolute, check, load_toml, nearest_file
from palpate.nouns import Condition, Form, Lineage, Perturbation, Price, Prompt
from palpate.parts import (
    SECRET_OPTIONS,
    WITHHELD,
    AskingMethod,
    Labels,
    ModelKind,
    ModelSpec,
    ReadingMethod,
    ReadingSpec,
    ReadsDescriptions,
    Sample,
    Thresholds,
)
from palpate.perturbation_sets import check_mirrors, chosen_perturbations
from palpate.registry import offered, part, parts
from palpate.settings import AskSettings as AskSettings
from palpate.settings import DataSettings as DataSettings
from palpate.settings import FeatureSettings as FeatureSettings
from palpate.settings import ReportSettings as ReportSettings
from palpate.spending import Budget
from palpate.store.keys import digest
from palpate.store.ledger import Ledger
from palpate.study_file import OWN, FeaturesFile, ModelFile, PromptFile, ReadingFile, StudyFile, TaskEntry
from palpate.task import Task, load_task, load_task_file, prompt_set, source_spec, task_from


@dataclass(frozen=True, slots=True)
class Study:
    """A whole examination, every default filled in. ``Study.load`` reads it from a file."""

    name: str
    models: tuple[ModelSpec, ...]
    tasks: tuple[Task, ...]
    perturbations: tuple[Perturbation, ...] = (Perturbation(),)
    repeats: int = 1
    seed: int = 0
    sample: Sample = field(default_factory=Sample)
    lineages: tuple[Lineage, ...] = ()
    conditions: tuple[Condition, ...] = ()
    reading: str = "rules"  # the primary one: what is measured and reported
    readings: tuple[ReadingSpec, ...] = ()  # further ones
    level: float = 0.95
    draws: int = 2000
    thresholds: Thresholds = field(default_factory=Thresholds)
    ask: AskSettings = field(default_factory=AskSettings)
    features: FeatureSettings | None = None
    report: ReportSettings = field(default_factory=ReportSettings)
    data: DataSettings = field(default_factory=DataSettings)
    described: tuple[Perturbation, ...] | None = None  # under which descriptions are asked for; None: under all
    prices: Mapping[str, Price] = field(default_factory=dict, hash=False)  # model → what its tokens cost
    budget: Budget | None = None
    text: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)
    origin: str = field(default="", compare=False)  # the file it was read from, for errors to name

    @classmethod
    def load(cls, path: str | Path, *, with_models: bool = True) -> Study:
        """Read a study file. Raises StudyError or UnknownName naming file and key.

        ``with_models`` False: to look at what was answered, though a checkpoint may have gone since; models go unchecked.
        """
        path = Path(path)
        return study_from(load_toml(path), str(path), path.resolve().parent, with_models=with_models)

    def prompts_of(self, task: Task, perturbation: Perturbation) -> tuple[Prompt, ...]:
        """What is asked of a task's images under a perturbation: all its prompts, descriptions only where they are wanted."""
        wanted = self.described is None or perturbation in self.described
        return tuple(p for p in task.prompts if wanted or p.form is not Form.DESCRIBE)

    @property
    def all_readings(self) -> tuple[ReadingSpec, ...]:
        """Every reading, the primary one first; then those that ask no model."""
        named = {spec.name: spec for spec in self.readings}
        primary = named.pop(self.reading, ReadingSpec(self.reading, self.reading))
        return (primary, *sorted(named.values(), key=lambda spec: spec.model is not None))

    def reading_by(self, ledger: Ledger | None = None, name: str = "") -> str:
        """Under which name a reading (the primary one where none is named) is kept: the method, its version, the words it reads the
        tasks by, and what the model it asks is.

        A changed rubric or model is a changed reader: it reads everything anew, and the old readings stay. What a model is, the
        ledger says: so measuring needs no model.
        """
        spec = next(s for s in self.all_readings if s.name == (name or self.reading))
        method: ReadingMethod | AskingMethod = part("readings", spec.method)
        if spec.model is None:
            return f"{method.by}+{digest(self._rubrics)[:8]}"
        known = ledger.reader(self.reading_digest(spec)) if ledger is not None else None
        return known or f"{method.by}@{spec.model.name}+unread"

    def reading_digest(self, spec: ReadingSpec) -> str:
        """Identity of a reading as the study describes it."""
        method: ReadingMethod | AskingMethod = part("readings", spec.method)
        model = None if spec.model is None else [spec.model.kind, spec.model.options, spec.model.seed]
        first = part("readings", spec.after).by if spec.after else ""
        names = [[*t.rubric.names, *t.rubric.oracle] for t in self.tasks] if isinstance(method, ReadsDescriptions) else []
        return digest([method.by, spec.options, first, model, self._rubrics, *names])

    @property
    def _rubrics(self) -> list[list[str]]:
        return [[t.name, t.rubric.condition, *t.rubric.positive, "", *t.rubric.negative] for t in self.tasks]

    def to_toml(self) -> str:
        """The study with every default made explicit and every path absolute; loads to an equal Study, its salts withheld."""
        return tomli_w.dumps(self.text, multiline_strings=False)


def study_from(raw: Mapping[str, Any], where: str, folder: Path, *, with_models: bool = True) -> Study:
    """Check a study's tables and build it; relative paths are taken from ``folder``."""
    parsed = check(StudyFile, raw, where)
    models = tuple(
        _model(entry, parsed.seed, folder, f"{where}: models[{i}]", parsed.protocol) for i, entry in enumerate(parsed.models)
    )
    if parsed.protocol == "fragility-2026" and {parsed.prompts, *(t.prompts or parsed.prompts for t in parsed.tasks)} != {
        "reference"
    }:
        raise StudyError(
            "the protocol fragility-2026 asks the reference study's own wordings", where=f"{where}: prompts", expected='"reference"'
        )
    for i, spec in enumerate(models if with_models else ()):
        _check_model(spec, f"{where}: models[{i}]")
    _unique([m.name for m in models], f"{where}: models", "model")
    tasks = tuple(_task(entry, parsed, folder, f"{where}: tasks[{i}]") for i, entry in enumerate(parsed.tasks))
    _unique([t.name for t in tasks], f"{where}: tasks", "task")
    readings = tuple(_reading(entry, parsed, models, folder, f"{where}: readings[{i}]") for i, entry in enumerate(parsed.readings))
    readings += _described(parsed, models, folder, f"{where}: descriptions")
    for i, reading in enumerate(readings if with_models else ()):
        if reading.model is not None:
            _check_model(reading.model, f"{where}: readings[{i}].model")
    _unique([r.name for r in readings], f"{where}: readings", "reading")
    _primary(parsed.reading, readings, f"{where}: reading")
    _unique(parsed.perturbations, f"{where}: perturbations", "perturbation")
    perturbations = chosen_perturbations(parsed.perturbations, f"{where}: perturbations")
    check_mirrors(tasks, perturbations, f"{where}: perturbations")
    lineages = _lineages(parsed, [m.name for m in models], where)
    study = Study(
        name=parsed.name,
        models=models,
        tasks=tasks,
        perturbations=perturbations,
        repeats=parsed.repeats,
        seed=parsed.seed,
        sample=Sample(parsed.sample.per_class, parsed.seed),
        lineages=lineages,
        conditions=tuple(parse_condition(c, f"{where}: gate.conditions[{i}]") for i, c in enumerate(parsed.gate.conditions)),
        reading=parsed.reading,
        readings=readings,
        level=parsed.measure.level,
        draws=parsed.measure.draws,
        thresholds=_thresholds(parsed, where),
        ask=AskSettings(**parsed.ask.model_dump()),
        features=_features(parsed.features),
        report=ReportSettings(parsed.report.images, parsed.report.examples),
        data=DataSettings(parsed.data.inspect, parsed.data.on_fault),
        described=_described_under(parsed, perturbations, f"{where}: descriptions.images"),
        prices=_prices(parsed, [m.name for m in models], where),
        budget=_budget(parsed, where),
    )
    return replace(study, text=_explicit(parsed, study, folder), origin=where)


def _thresholds(parsed: StudyFile, where: str) -> Thresholds:
    """The verdicts' bounds; a spread must not be fragile and robust at once."""
    found = parsed.verdicts.thresholds
    if found.fragile >= found.robust:
        problem = f"fragile is {found.fragile:g} and robust is {found.robust:g}"
        raise StudyError(problem, where=f"{where}: verdicts.fragile", expected="less than verdicts.robust")
    return found


def _model(entry: ModelFile, seed: int, folder: Path, where: str, protocol: str | None = None) -> ModelSpec:
    options = dict(entry.model_extra or {})
    kind = entry.kind
    if kind is None:
        known = {name: (kind_part, preset) for kind_part, name, preset in model_presets()}
        if entry.name not in known:
            hint_kinds = ", ".join(sorted(offered("models")))
            fault = unknown_name(entry.name, known, noun="model", where=f"{where}.name")
            raise type(fault)(
                fault.problem,
                where=fault.where,
                expected=f"{fault.expected}, or a `kind` ({hint_kinds}) with its options",
                hint=fault.hint,
            )
        kind, preset = known[entry.name][0].name, dict(known[entry.name][1])
        preset.pop("about", None)
        options = {**preset, **options}
    asked: ModelKind = part("models", kind, where=f"{where}.kind")
    if protocol is not None and "protocol" in asked.options:
        options.setdefault("protocol", protocol)
    if isinstance(options.get("path"), str):
        options["path"] = _checkpoint(options["path"], folder, f"{where}.path")
    return ModelSpec(entry.name, kind, options, seed, str(folder))


def _check_model(spec: ModelSpec, where: str) -> None:
    maker: ModelKind = part("models", spec.kind)
    try:
        maker.build(spec).close()
    except PalpateError as fault:
        raise fault.at(where) from None


def _primary(name: str, readings: tuple[ReadingSpec, ...], where: str) -> None:
    """The primary reading is one of the study's own, or a method that needs nothing further."""
    alone = {n for n, method in parts("readings").items() if not isinstance(method, AskingMethod)}
    named = {r.name for r in readings}
    if name in parts("readings") and name not in alone | named:
        raise StudyError(
            f"{name!r} asks a model, and none is named",
            where=where,
            expected=f"one of {', '.join(sorted(alone | named))}",
            hint=f'[[readings]] with name = "{name}" and model = "…"',
        )
    if name not in alone | named:
        raise unknown_name(name, alone | named, noun="reading", where=where)


def _reading(entry: ReadingFile, study: StudyFile, models: tuple[ModelSpec, ...], folder: Path, where: str) -> ReadingSpec:
    method = part("readings", entry.method, where=f"{where}.method")
    options = dict(entry.model_extra or {})
    asks = isinstance(method, AskingMethod)
    if asks != (entry.model is not None):
        expected = 'model = "NAME", or a table as in [[models]]' if asks else "no model"
        problem = f"the method {entry.method!r} asks {'a' if asks else 'no'} model"
        raise StudyError(problem, where=f"{where}.model", expected=expected)
    known = set(getattr(method, "options", {}))
    for key in options:
        if key not in known:
            raise unknown_name(key, {"name", "method", "model", "after", *known}, noun="option", where=where)
    if entry.after and isinstance(part("readings", entry.after, where=f"{where}.after"), AskingMethod):
        raise StudyError(f"{entry.after!r} asks a model itself", where=f"{where}.after", expected="a method that asks none: rules")
    if entry.model is None:
        return ReadingSpec(entry.name, entry.method, None, options, entry.after)
    mine = {m.name: m for m in models}
    if isinstance(entry.model, str):
        given = mine.get(entry.model) or _model(ModelFile(name=entry.model), study.seed, folder, f"{where}.model")
    else:
        given = _model(entry.model, study.seed, folder, f"{where}.model")
    wished = {k: v for k, v in method.model_options.items() if k in part("models", given.kind).options}
    return ReadingSpec(entry.name, entry.method, replace(given, options={**wished, **given.options}), options, entry.after)


def _described(study: StudyFile, models: tuple[ModelSpec, ...], folder: Path, where: str) -> tuple[ReadingSpec, ...]:
    """The readings that ``[descriptions]`` stands for."""
    entries = study.descriptions.readings([m.name for m in models]) if study.descriptions else ()
    return tuple(
        replace(_reading(e, study, models, folder, f"{where}.readers"), of=of, part_of="descriptions") for e, of in entries
    )


def _described_under(study: StudyFile, perturbations: tuple[Perturbation, ...], where: str) -> tuple[Perturbation, ...] | None:
    if study.descriptions is None:
        return None
    known = {str(p): p for p in perturbations}
    given = study.descriptions.images
    for i, name in enumerate(given or ()):
        if name not in known:
            raise unknown_name(name, known, noun="perturbation of this study", where=f"{where}[{i}]")
    return tuple(p for name, p in known.items() if name in (("none", "blank") if given is None else given))


def model_presets() -> list[tuple[ModelKind, str, Mapping[str, Any]]]:
    """Every model that a study may give by name alone."""
    return [(kind, name, preset) for kind in parts("models").values() for name, preset in kind.presets().items()]


def _checkpoint(given: str, folder: Path, where: str) -> str:
    """A model's folder, taken from the study file's; a hub id such as org/name is left alone unless such a folder is there."""
    there = absolute(given, folder, where)
    return str(there) if given.startswith((".", "/", "~")) or there.exists() else given


def _task(entry: TaskEntry, study: StudyFile, folder: Path, where: str) -> Task:
    ways = [way for way in ("task", "file", "definition") if getattr(entry, way) is not None]
    if len(ways) > 1:
        raise StudyError(f"both `{ways[0]}` and `{ways[1]}` are given", where=where, expected="one of them")
    if entry.file is not None:
        task = load_task_file(_task_file(entry.file, folder, f"{where}.file"))
    elif entry.definition is not None:
        task = task_from(entry.name, entry.definition, f"{where}.definition", folder)
    else:
        task = load_task(entry.task or entry.name, where=f"{where}.{'task' if entry.task else 'name'}")
    set_name = entry.prompts or study.prompts
    describes = study.describe or study.descriptions is not None
    prompts = prompt_set(set_name, task.wording, describe=describes, where=f"{where}.prompts")
    prompts += tuple(_own_prompt(p, f"{where}.wordings[{i}]") for i, p in enumerate(entry.wordings))
    if not prompts:
        raise StudyError("asks nothing", where=f"{where}.wordings", expected='wordings of its own, or prompts = "reference"')
    _unique([p.name for p in prompts], f"{where}.wordings", "prompt")
    _unique([p.text for p in prompts], f"{where}.wordings", "text of a prompt")
    source = task.source
    if entry.source is not None:
        part("cases", entry.source.kind, where=f"{where}.source.kind")
        source = source_spec(entry.source, folder, f"{where}.source")
    if source is None:
        raise StudyError(
            f"task {task.name!r} has no images of its own",
            where=where,
            expected='a source, e.g. source = { kind = "folder", path = "my-images" }',
            hint="a folder needs one sub-folder per label; `palpate list sources` shows the others",
        )
    labels = Labels(tuple(entry.labels.positive), tuple(entry.labels.negative)) if entry.labels else task.labels
    return replace(task, name=entry.name, prompts=prompts, source=source, labels=labels)


def _task_file(given: str, folder: Path, where: str) -> Path:
    path = absolute(given, folder, where)
    if not path.is_file():
        raise StudyError(f"there is no task file {path}", where=where, expected="a TOML file", hint=nearest_file(path))
    return path


LETTERS_ONLY = ("A", "B")
"""Options that say no more than their letters: an answer in words chooses neither of them."""


def _own_prompt(p: PromptFile, where: str) -> Prompt:
    if p.form in (Form.AB, Form.BA) and p.options is None:
        raise StudyError(
            "options are missing", where=f"{where}.options", expected='the two option texts, e.g. ["Pneumonia", "Normal"]'
        )
    options = None if p.options == LETTERS_ONLY else p.options
    return Prompt(p.name, p.text, p.form, p.polarity, p.cell, options, p.factors)


def _features(given: FeaturesFile | None) -> FeatureSettings | None:
    if given is None:
        return None
    layers = None if given.layers == "all" else tuple(given.layers)
    models, prompts = (None if names is None else tuple(names) for names in (given.models, given.prompts))
    return FeatureSettings(models, layers, tuple(dict.fromkeys(given.pooling)), prompts, tuple(dict.fromkeys(given.pictures)))


def _lineages(parsed: StudyFile, models: list[str], where: str) -> tuple[Lineage, ...]:
    """The study's own pairs; where it names none, the known pairs among its models."""
    if parsed.pairs is None:
        known = (pair for kind in parts("models").values() for pair in kind.lineages())
        return tuple(pair for pair in known if pair.base in models and pair.tuned in models)
    for i, pair in enumerate(parsed.pairs):
        for role in ("base", "tuned"):
            if getattr(pair, role) not in models:
                raise unknown_name(getattr(pair, role), models, noun="model", where=f"{where}: pairs[{i}].{role}")
        if pair.base == pair.tuned:
            raise StudyError(f"compares {pair.base!r} with itself", where=f"{where}: pairs[{i}]", expected="two models")
    _unique([f"{p.base} and {p.tuned}" for p in parsed.pairs], f"{where}: pairs", "pair")
    return tuple(Lineage(p.base, p.tuned, p.relation) for p in parsed.pairs)


def _prices(parsed: StudyFile, models: list[str], where: str) -> dict[str, Price]:
    for name in parsed.prices:
        if name not in models:
            raise unknown_name(name, models, noun="model", where=f"{where}: prices.{name}")
    return {name: Price(p.input, p.output, p.currency) for name, p in parsed.prices.items()}


def _budget(parsed: StudyFile, where: str) -> Budget | None:
    given = parsed.budget
    currencies = sorted({p.currency for p in parsed.prices.values()})
    if given.money is not None and len(currencies) != 1:
        problem = f"is in {' or '.join(currencies)}?" if currencies else "cannot be kept without prices"
        raise StudyError(
            problem, where=f"{where}: budget.money", expected="[prices.MODEL] of every model that costs, in one currency"
        )
    return None if given.money is None and given.tokens is None else Budget(given.tokens, given.money)


def _unique(names: list[str], where: str, noun: str) -> None:
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise StudyError(f"the {noun} {sorted(twice)[0]!r} is given twice", where=where, expected=f"every {noun} once")


def _explicit_model(spec: ModelSpec) -> dict[str, Any]:
    return {"name": spec.name, "kind": spec.kind, **spec.options}


def _explicit_reading(spec: ReadingSpec) -> dict[str, Any]:
    model = {} if spec.model is None else {"model": _explicit_model(spec.model)}
    return {"name": spec.name, "method": spec.method, "after": spec.after, **spec.options, **model}


def _without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """A source's options as files of a run may hold them: the report shows them to whoever it is sent to."""
    return {key: WITHHELD if key in SECRET_OPTIONS and value else value for key, value in options.items()}


def _explicit(parsed: StudyFile, study: Study, folder: Path) -> dict[str, Any]:
    """The study file with nothing left to default: what ``RUN/study.toml`` holds."""
    text = parsed.model_dump(mode="json", exclude_none=True)
    text["models"] = [_explicit_model(m) for m in study.models]
    text["readings"] = [_explicit_reading(r) for r in study.readings if not r.part_of]
    readers = {r.model.name: r.model for r in study.readings if r.part_of and not r.of and r.model}
    if parsed.descriptions is not None:
        text["descriptions"]["readers"] = [
            r if r == OWN else _explicit_model(readers[r if isinstance(r, str) else r.name]) for r in parsed.descriptions.readers
        ]
    text["perturbations"] = [str(p) for p in study.perturbations]
    text["pairs"] = [{"base": p.base, "tuned": p.tuned, "relation": p.relation} for p in study.lineages]
    for entry, task in zip(text["tasks"], study.tasks, strict=True):
        assert task.source is not None
        if "file" in entry:
            entry["definition"] = load_toml(absolute(entry.pop("file"), folder, "file"))
        if "definition" in entry:
            entry["definition"].pop("source", None)  # given below, its paths made absolute, its secrets left out
        entry["prompts"] = entry.get("prompts", parsed.prompts)
        entry["labels"] = {"positive": list(task.labels.positive), "negative": list(task.labels.negative)}
        entry["source"] = {"kind": task.source.kind, **_without_secrets(task.source.options)}
    text["tasks"] = [{key: entry[key] for key in TaskEntry.model_fields if key in entry} for entry in text["tasks"]]
    # In the order of the fields, whatever was given and whatever filled in: the text of the text is the same text.
    return {key: text[key] for key in StudyFile.model_fields if key in text}
