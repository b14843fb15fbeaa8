"""The last plan as the ledger recorded it: every trial's key, rebuilt without images, models or the study file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

from palpate.errors import RunError
from palpate.nouns import Form, Perturbation, Prompt
from palpate.store import keys
from palpate.store.columns import key_index
from palpate.store.ledger import Ledger, prompt_from

ALL = slice(None)


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """A case as last recorded: its image's digest, and its label, group and facts as they stand now."""

    name: str
    image: str
    label: int
    group: str
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)


class Planned:
    """What was asked last. Raises RunError where nothing was."""

    def __init__(self, ledger: Ledger) -> None:
        record = ledger.plan()
        if record is None:
            raise RunError("nothing was asked yet", where=str(ledger.path.parent), hint="`palpate run STUDY.toml --out RUN`")
        self._record: dict[str, Any] = record
        self._scattered = ledger.scattered
        self.repeats: int = record["repeats"]
        self.models: dict[str, str] = record["models"]  # name → digest
        self.tasks: tuple[str, ...] = tuple(record["tasks"])
        recorded = {task: ledger.cases(task) for task in self.tasks}
        self._cases = {
            task: tuple(PlannedCase(name, *recorded[task][name]) for name in record["tasks"][task]["cases"]) for task in self.tasks
        }

    @cached_property
    def perturbations(self) -> tuple[Perturbation, ...]:
        """The perturbations asked under, in the study's order."""
        return tuple(Perturbation(p["name"], p["severity"]) for p in self._record["perturbations"])

    @cached_property
    def perturbation_digests(self) -> dict[Perturbation, str]:
        """What each perturbation is: its digest holds the seed where something is drawn."""
        return {Perturbation(p["name"], p["severity"]): p["digest"] for p in self._record["perturbations"]}

    @property
    def n_trials(self) -> int:
        """Trials in all."""
        each = sum(len(self._cases[task]) * len(self.asked(task, p)) for task in self.tasks for p in self.perturbations)
        return each * len(self.models) * self.repeats

    def n_unasked(self, ledger: Ledger) -> int:
        """Trials that were never asked: neither answered nor ended as an error."""
        tried = key_index(ledger._chunks("SELECT DISTINCT key FROM response"))
        asked = product(self.tasks, self.models, self.perturbations)
        parts = (b"".join(self.keys(task, model, p, self.asked(task, p))) for task, model, p in asked)
        return sum(int((tried.places(part) < 0).sum()) for part in parts)

    def cases(self, task: str) -> tuple[PlannedCase, ...]:
        """The task's cases, in the order asked."""
        return self._cases[task]

    def prompts(self, task: str) -> tuple[Prompt, ...]:
        """The task's prompts, descriptions too."""
        return tuple(prompt_from(raw) for raw in self._record["tasks"][task]["prompts"])

    def asked(self, task: str, perturbation: Perturbation) -> tuple[Prompt, ...]:
        """What was asked under that perturbation: descriptions only where they were wanted."""
        described = self._record.get("described")
        wanted = described is None or str(perturbation) in described
        return tuple(p for p in self.prompts(task) if wanted or p.form is not Form.DESCRIBE)

    def best_accuracy(self, task: str) -> float | None:
        """What the best possible reader reaches, where the source knows it."""
        best: float | None = self._record["tasks"][task]["best_accuracy"]
        return best

    def n_left_out(self, task: str) -> int:
        """How many files the source could not use."""
        return int(self._record["tasks"][task]["left_out"])

    def keys(
        self, task: str, model: str, perturbation: Perturbation, prompts: tuple[Prompt, ...], cases: slice = ALL
    ) -> Iterator[bytes]:
        """The keys of all trials of one model, task and perturbation: case by case, prompt by prompt, repeat by repeat.

        ``cases``: of some cases alone.
        """
        changed = self._record["perturbations"][self.perturbations.index(perturbation)]["digest"]
        questions, digest = [keys.prompt_digest(p) for p in prompts], self.models[model]
        for case in self._cases[task][cases]:
            if self._scattered:
                asked = product(questions, range(self.repeats))
                yield from (bytes.fromhex(keys.scattered_key(digest, case.image, changed, q, r)) for q, r in asked)
            else:
                yield from keys.block_keys(digest, case.image, changed, questions, self.repeats)

    def all_keys(self) -> Iterator[bytes]:
        """The key of every trial of the plan."""
        for task in self.tasks:
            asked = {p: self.asked(task, p) for p in self.perturbations}
            for model in self.models:
                for perturbation, prompts in asked.items():
                    yield from self.keys(task, model, perturbation, prompts)


def not_finished(unasked: int, trials: int) -> str:
    """That a run is not finished, in words; empty where nothing is left to ask."""
    return f"the run is not finished: {unasked:,} of {trials:,} questions are not asked yet" if unasked else ""


def none_read(ledger: Ledger, by: str) -> RunError:
    """What to raise where ``by`` read no answer: a run that was stopped goes on with asking, a finished one is to be read."""
    planned, run = Planned(ledger), ledger.path.parent
    unread = f"none of the answers was read by {by}"
    if unfinished := not_finished(planned.n_unasked(ledger), planned.n_trials):
        hint = f"the same `palpate run` again goes on, and reads; `palpate read {run}` reads what is answered by now"
        return RunError(f"{unfinished}, and {unread}", where=str(run), hint=hint)
    return RunError(unread, where=str(run), hint=f"`palpate read {run}`")
