"""capture: keeps models' inner states while they answer, for the probes that ask where information is lost.

Not a stage of its own in time: the states come from the passes that answer. An image whose answers are there but whose states
are not is looked at again, with the chosen questions alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from palpate.errors import StudyError, unknown_name
from palpate.executors import Executor
from palpate.nouns import Answer, Block, Prompt
from palpate.parts import Allowance, FeatureRequest, LooksInside, ModelSpec
from palpate.registry import part
from palpate.stages.plan import Plan
from palpate.store import keys
from palpate.store.features import FeatureWriter
from palpate.study import FeatureSettings, Study
from palpate.task import Task

Answered = tuple[Sequence[Block], list[list[Answer]]]


class Capture:
    """What a study's ``[features]`` asks for, over one plan. Only images as they are, never perturbed ones."""

    def __init__(self, plan: Plan, run_folder: Path) -> None:
        """Raises StudyError, UnknownName where the study asks for what is not there."""
        settings = plan.study.features
        self.requests: Mapping[str, FeatureRequest] = {}
        self._writers: dict[tuple[str, str], FeatureWriter] = {}
        if settings is None:
            return
        self.requests = {task.name: request_for(task, settings, plan.study) for task in plan.study.tasks}
        for model in watched_models(plan.study, settings):
            for task in plan.study.tasks:
                cases = plan.cases[task.name].cases
                request = self.requests[task.name]
                questions = [keys.prompt_digest(p) for p in request.prompts]
                shaped = [plan.model_digests[model.name], [keys.image_digest(c) for c in cases], questions]
                key = keys.digest([*shaped, [p.name for p in request.prompts], request.layers, request.pooling])
                writer = FeatureWriter(run_folder, model.name, task.name, [c.id for c in cases], key)
                writer.make_current()
                self._writers[model.name, task.name] = writer

    def watches(self, model: ModelSpec) -> bool:
        """True where the model's states are to be kept."""
        return any(name == model.name for name, _ in self._writers)

    def wants(self, block: Block) -> bool:
        """True where the block's image is to be looked at: it is unchanged, and its row is not there yet."""
        writer = self._writers.get((block.model, block.task))
        return writer is not None and block.perturbation.name == "none" and writer.wants(block.case.id)

    def run(
        self, executor: Executor, model: ModelSpec, batches: Iterable[Sequence[Block]], **limit: Allowance
    ) -> Iterator[Answered]:
        """The batches with their answers, as the executor gives them; states are on the disk before answers are handed on."""
        if not self.watches(model):
            yield from executor.run(model, batches, **limit)
            return
        for batch, answers, features in executor.look(model, batches, self.requests):
            for block, found in zip(batch, features, strict=True):
                if found is not None:
                    self._writers[model.name, block.task].add([(block.case.id, found)])
            yield batch, answers


def watched_models(study: Study, settings: FeatureSettings) -> list[ModelSpec]:
    """The models named, else all that can be looked into. Raises StudyError for one that cannot, UnknownName for none."""
    by_name = {m.name: m for m in study.models}
    for i, name in enumerate(settings.models or ()):
        where = f"{study.origin}: features.models[{i}]" if study.origin else f"features.models[{i}]"
        if name not in by_name:
            raise unknown_name(name, by_name, noun="model", where=where)
        if not _looks_inside(by_name[name]):
            raise StudyError(
                f"model {name!r} does not hand over inner states", where=where, expected="a model of kind hf or bundled"
            )
    return [by_name[n] for n in settings.models] if settings.models is not None else [m for m in study.models if _looks_inside(m)]


def _looks_inside(spec: ModelSpec) -> bool:
    built = part("models", spec.kind).build(spec)
    try:
        return isinstance(built, LooksInside) and not getattr(built, "text_only", False)
    finally:
        built.close()


def request_for(task: Task, settings: FeatureSettings, study: Study) -> FeatureRequest:
    """The task's request: the prompts named that it has, else the first of each cell. Raises UnknownName."""
    chosen: dict[str, Prompt] = {}
    if settings.prompts is None:
        for prompt in task.prompts:
            chosen.setdefault(prompt.cell, prompt)
    else:
        known = {p.name for one in study.tasks for p in one.prompts}
        for i, name in enumerate(settings.prompts):
            if name not in known:
                where = f"{study.origin}: features.prompts[{i}]" if study.origin else f"features.prompts[{i}]"
                raise unknown_name(name, known, noun="prompt", where=where)
        chosen = {p.name: p for p in task.prompts if p.name in settings.prompts}
    prompts = tuple(chosen.values()) or task.prompts[:1]
    return FeatureRequest(settings.layers, settings.pooling, prompts)
