"""plan: Study → Trials. Runs no model; knows what is asked, of whom, and what the ledger already answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from palpate.errors import PalpateError, SourceError
from palpate.nouns import Block, Case, CaseSet, Perturbation, Prompt, Trial
from palpate.parts import SECRET_OPTIONS, Fingerprint, MaskedImage, Model, ModelSpec
from palpate.registry import part
from palpate.stages.ready import refuse
from palpate.store import keys
from palpate.store.columns import KeyIndex
from palpate.store.ledger import Ledger
from palpate.study import Study
from palpate.task import Task


@dataclass(frozen=True)
class Outline:
    """A Block before its trials are made: where it stands, what its keys are made of, and what each trial asks."""

    model: str
    task: str
    case: Case
    perturbation: Perturbation
    digests: tuple[str, str, str]  # of the model, the image and the change
    prompts: Sequence[str]  # digests too
    repeats: int
    asked: Sequence[tuple[Prompt, int]]

    @property
    def place(self) -> tuple[str, str, Perturbation]:
        """Which Block of its model it is."""
        return self.task, self.case.id, self.perturbation

    @cached_property
    def keys(self) -> list[bytes]:
        """The keys of its trials, in their order."""
        return keys.block_keys(*self.digests, self.prompts, self.repeats)

    def block(self) -> Block:
        """The Block."""
        model, task, case, changed = self.model, self.task, self.case, self.perturbation
        named = zip(self.keys, self.asked, strict=True)
        trials = tuple(Trial(key.hex(), model, task, case.id, changed, prompt, repeat) for key, (prompt, repeat) in named)
        return Block(model, task, case, changed, trials)


@dataclass(frozen=True, slots=True)
class Instead:
    """How a model is asked instead of as its study says, because its self-test found that it must be.

    ``options`` are set on it, ``warnings`` say why, ``digest`` is that of the identity it was planned with before."""

    options: Mapping[str, Any]
    warnings: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Plan:
    """A study with its cases drawn and its models identified: everything needed to name every trial.

    Trials are generated on the way, never held: ``blocks(model)`` walks tasks × cases × perturbations in a fixed order.
    """

    study: Study
    cases: Mapping[str, CaseSet]  # task name → its cases
    fingerprints: Mapping[str, Fingerprint]  # model name → what it is
    instead: Mapping[str, Instead] = field(default_factory=dict)  # model name → how it is asked, where not as the study says

    @cached_property
    def model_digests(self) -> dict[str, str]:
        """Model name → digest of its identity."""
        return {name: keys.model_digest(f.identity) for name, f in self.fingerprints.items()}

    def settled(self, model: ModelSpec) -> ModelSpec:
        """A model of the study as it is to be asked: as its self-test decided where it did, and with what its entry leaves to the
        machine as it was decided here, so that a worker elsewhere decides nothing anew."""
        other = self.instead.get(model.name)
        decided = {**(other.options if other is not None else {}), **self.fingerprints[model.name].settled}
        return replace(model, options={**model.options, **decided}) if decided else model

    @cached_property
    def perturbation_digests(self) -> dict[Perturbation, str]:
        """Perturbation → its digest under this study's seed."""
        seed = self.study.seed
        return {p: keys.perturbation_digest(p, part("perturbations", p.name).version, seed) for p in self.study.perturbations}

    @property
    def n_trials(self) -> int:
        """Questions in all: models × Σ over tasks of cases × perturbations × prompts × repeats."""
        return sum(self.trials_by_task().values()) * len(self.study.models)

    def trials_by_task(self) -> dict[str, int]:
        """Questions of one model per task."""
        study = self.study
        asked = {t.name: sum(len(study.prompts_of(t, p)) for p in study.perturbations) * study.repeats for t in study.tasks}
        return {name: len(self.cases[name].cases) * times for name, times in asked.items()}

    @property
    def n_blocks(self) -> int:
        """Images shown in all, perturbed versions and models counted each."""
        study = self.study
        shown = sum(len(self.cases[t.name].cases) for t in study.tasks for p in study.perturbations if study.prompts_of(t, p))
        return shown * len(study.models)

    def blocks(self, model: ModelSpec) -> Iterator[Block]:
        """Every Block of one model, in an order that depends on the study alone."""
        return (outline.block() for outline in self.outlines(model))

    def outlines(self, model: ModelSpec) -> Iterator[Outline]:
        """The same, with no trial made and no key yet: so a large plan is walked where most of it is answered."""
        digest = self.model_digests[model.name]
        for task in self.study.tasks:
            under = [(p, self.study.prompts_of(task, p)) for p in self.study.perturbations]
            asked = {p: [(prompt, r) for prompt in prompts for r in range(self.study.repeats)] for p, prompts in under if prompts}
            digests = {p: [keys.prompt_digest(prompt) for prompt in prompts] for p, prompts in under}
            for case in self.cases[task.name].cases:
                image = keys.image_digest(case)
                for perturbation, questions in asked.items():
                    of = digest, image, self.perturbation_digests[perturbation]
                    prompts = digests[perturbation]
                    yield Outline(model.name, task.name, case, perturbation, of, prompts, self.study.repeats, questions)

    def record(self) -> dict[str, Any]:
        """The plan as the ledger keeps it: enough to rebuild every key and every Panel without images or models."""
        tasks = {
            t.name: {
                "cases": [c.id for c in self.cases[t.name].cases],
                "prompts": [asdict(p) for p in t.prompts],
                "best_accuracy": self.cases[t.name].best_accuracy,
                "left_out": len(self.cases[t.name].left_out),
            }
            for t in self.study.tasks
        }
        perturbations = [{"name": p.name, "severity": p.severity, "digest": d} for p, d in self.perturbation_digests.items()]
        found = {"models": self.model_digests, "tasks": tasks, "perturbations": perturbations, "repeats": self.study.repeats}
        described = self.study.described
        return found if described is None else {**found, "described": [str(p) for p in described]}

    def write(self, ledger: Ledger) -> None:
        """Record models, cases, prompts, perturbations and the plan; appends only what is new."""
        for name, fingerprint in self.fingerprints.items():
            ledger.add_model(name, fingerprint.identity, fingerprint.environment)
        for task in self.study.tasks:
            ledger.add_cases(task.name, self.cases[task.name].cases)
            ledger.add_prompts(task.name, task.prompts)
        for perturbation, digest in self.perturbation_digests.items():
            ledger.add_perturbation(perturbation, digest)
        ledger.add_plan(self.record())


def known(outlines: Sequence[Outline], answered: KeyIndex) -> list[bool]:
    """Of each Block, whether all its trials are among ``answered``: the look at a plan that costs least."""
    if not len(answered) or not outlines:
        return [False] * len(outlines)
    found = answered.places(b"".join(chain.from_iterable(o.keys for o in outlines))) >= 0
    ends = np.cumsum([len(o.keys) for o in outlines])
    so_far = np.concatenate(([0], np.cumsum(found)))[[0, *ends]]
    return [bool(n == len(o.keys)) for n, o in zip(np.diff(so_far), outlines, strict=True)]


def plan(study: Study) -> Plan:
    """Draw every task's cases and identify every model. Raises StudyError for a package that images need and that is not
    installed, before any is opened; SourceError, ModelError naming the entry at fault."""
    refuse(study, images_only=True)
    cases = {task.name: draw_cases(task, study) for task in study.tasks}
    _check_masks(study, cases)
    fingerprints: dict[str, Fingerprint] = {}
    for i, spec in enumerate(study.models):
        try:
            fingerprints[spec.name] = _identified(spec)
        except PalpateError as fault:
            raise _within(fault, study, f"models[{i}]", f"model {spec.name!r}") from None
    return Plan(study, cases, fingerprints)


def _identified(spec: ModelSpec) -> Fingerprint:
    model: Model = part("models", spec.kind).build(spec)
    try:
        return model.fingerprint()
    finally:
        model.close()


def asked_instead(plan: Plan, model: ModelSpec, options: Mapping[str, Any], warnings: Sequence[str]) -> Plan:
    """The plan with one model asked another way: as the model that it then is, and its trials' keys accordingly.

    The study stays as it was written: what a run was asked to do and what it had to do instead are two facts."""
    before = plan.instead.get(model.name, Instead({}, (), plan.model_digests[model.name]))
    other = Instead({**before.options, **options}, (*before.warnings, *warnings), before.digest)
    found = _identified(replace(model, options={**model.options, **other.options}))  # which the machine may settle otherwise
    told = {**found.environment, "warnings": [*found.environment.get("warnings", ()), *other.warnings]}
    fingerprints = {**plan.fingerprints, model.name: replace(found, environment=told)}
    return replace(plan, fingerprints=fingerprints, instead={**plan.instead, model.name: other})


def _check_masks(study: Study, cases: Mapping[str, CaseSet]) -> None:
    """Raises SourceError where a perturbation needs to know where the lesion is and a task's images do not."""
    needs = [p for p in study.perturbations if getattr(part("perturbations", p.name), "needs_mask", False)]
    for i, task in enumerate(study.tasks if needs else ()):
        if not all(isinstance(case.image, MaskedImage) for case in cases[task.name].cases):
            assert task.source is not None
            fault = SourceError(
                f"the source {task.source.kind!r} knows no masks, and {needs[0]} covers the lesion",
                expected="a source whose images have masks, such as phantom",
                hint=f"leave {needs[0]} out of `perturbations`, or give it a study of its own",
            )
            raise _within(fault, study, f"tasks[{i}].source", f"task {task.name!r}")


def by_content_alone(task: Task) -> Task:
    """The task with its images findable by id, for looking at a run: ids rest neither on the salt, which a run does not hold,
    nor on who the patient is. So looking at a run that somebody else made runs no code its study names."""
    assert task.source is not None  # a study's tasks always have one
    kept = {key: value for key, value in task.source.options.items() if key not in (*SECRET_OPTIONS, "salt_env", "group_function")}
    return replace(task, source=replace(task.source, options=kept))


def draw_cases(task: Task, study: Study) -> CaseSet:
    """A task's cases from its source. Raises SourceError where there is none to use."""
    assert task.source is not None  # a study's tasks always have one
    try:
        source = part("cases", task.source.kind)
        found: CaseSet = source.load(task.source.options, task.labels, study.sample)
        if not found.cases:
            raise SourceError("no usable image", expected="at least one image with a known label")
        twice = _first_twice(found.cases)
        if twice is not None:
            raise SourceError(f"two cases are called {twice!r}", expected="every case id once")
    except PalpateError as fault:
        at = [t.name for t in study.tasks].index(task.name)
        raise _within(fault, study, f"tasks[{at}].source", f"task {task.name!r}") from None
    return found


def _within(fault: PalpateError, study: Study, key: str, entry: str) -> PalpateError:
    """The fault with the study's file and key before its own place; a study made in Python has its entry's name instead."""
    place = f"{study.origin}: {key}" if study.origin else entry
    where = f"{place}: {fault.where}" if fault.where else place
    return type(fault)(fault.problem, where=where, expected=fault.expected, hint=fault.hint)


def _first_twice(cases: tuple[Case, ...]) -> str | None:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            return case.id
        seen.add(case.id)
    return None
