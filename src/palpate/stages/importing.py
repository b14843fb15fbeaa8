"""importing: Answers made elsewhere → a plan, its cases and its Responses in a ledger, as if they had been asked here.

Names of cases and patients may be identifiers: they are hashed, keyed with a salt where one is given, and ``cases.csv`` alone
maps them back. Without a salt the same name has the same hash in every run, so that two imports can be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from palpate.errors import RunError, StudyError
from palpate.imports.answers import Answers, ImportedAnswer, ImportedCase
from palpate.nouns import Case, CaseSet, LeftOut, Prompt, Response, Trial
from palpate.parts import Fingerprint, Model
from palpate.registry import part
from palpate.stages.plan import Plan
from palpate.store import keys
from palpate.store.ledger import Ledger
from palpate.study import Study, study_from
from palpate.task import task_names

BATCH = 10_000
ID_BYTES = 6  # as the sources of files have it: two of 100,000 names share one once in 50,000 imports


@dataclass(frozen=True, slots=True)
class NoImage:
    """In place of pixels that are not here."""

    def open(self) -> Any:
        """Raises OSError."""
        raise OSError("imported answers come without their images")


@dataclass(frozen=True, slots=True)
class Naming:
    """How names of cases and groups become ids: hashed with the salt, or kept."""

    salt: str = ""
    keep: bool = False

    def case(self, task: str, name: str) -> str:
        """The id of a case."""
        return name if self.keep else "c-" + self._hash("\n".join((task, name)))

    def group(self, task: str, case: ImportedCase) -> str:
        """The id of its patient; of the case itself where none is known. One patient is the same in every task."""
        if case.group is None:
            return f"alone:{self.case(task, case.name)}"
        return case.group if self.keep else f"g-{self._hash(case.group)}"

    def _hash(self, name: str) -> str:
        key = hashlib.blake2b(self.salt.encode("utf-8")).digest() if self.salt else b""
        return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), key=key, digest_size=ID_BYTES).hexdigest()


def files_digest(paths: Sequence[Path]) -> str:
    """128 bits of the files' content, in the order given."""
    found = hashlib.blake2b(digest_size=16)
    for path in paths:
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "blake2b").digest())
    return found.hexdigest()


def imported_study(answers: Answers, name: str, source: str, pairs: Sequence[tuple[str, str]], where: str) -> Study:
    """The study these answers answer. ``source``: digest of their files. Raises StudyError for a pair of unknown models."""
    raw: dict[str, Any] = {
        "name": name,
        "prompts": "own",
        "perturbations": [str(p) for p in answers.conditions],
        "repeats": answers.repeats,
        "models": [{"name": m, "kind": "imported", "answers": source, "called": m} for m in answers.models],
        "tasks": [_task(task, prompts, source) for task, prompts in answers.prompts.items()],
        "pairs": [{"base": base, "tuned": tuned} for base, tuned in pairs],
    }
    try:
        return study_from(raw, where, Path())
    except StudyError as fault:
        raise StudyError(fault.problem, where=where, expected=fault.expected, hint=fault.hint) from None


def _task(name: str, prompts: Mapping[str, Prompt], source: str) -> dict[str, Any]:
    """A built-in task brings its own words; another has no more than its name to be read by."""
    entry: dict[str, Any] = {"name": name, "source": {"kind": "imported", "answers": source}}
    if name in task_names():
        entry["task"] = name
    else:
        condition = name.replace("_", " ").replace("-", " ").strip() or name
        entry["definition"] = {
            "title": name,
            "modality": "not recorded",
            "condition": condition,
            "labels": {"positive": ["1"], "negative": ["0"]},
            "wording": {
                "evidence": condition,
                "hints": condition,
                "present": condition,
                "absent": f"no {condition}",
                "diagnose": condition,
            },
        }
    entry["wordings"] = [_wording(p) for p in prompts.values()]
    return entry


def _wording(p: Prompt) -> dict[str, Any]:
    options = {"options": list(p.options)} if p.options else {}
    record = {"name": p.name, "text": p.text, "form": str(p.form), "polarity": str(p.polarity), "cell": p.cell, **options}
    return {**record, "factors": dict(p.factors)}


def imported_plan(study: Study, answers: Answers, naming: Naming) -> Plan:
    """The plan under which the answers were asked."""
    cases = {task: _cases(task, found, answers.left_out.get(task, ()), naming) for task, found in answers.cases.items()}
    fingerprints: dict[str, Fingerprint] = {}
    for spec in study.models:
        model: Model = part("models", spec.kind).build(spec)
        fingerprints[spec.name] = model.fingerprint()
    return Plan(study, cases, fingerprints)


def _cases(task: str, found: Mapping[str, ImportedCase], left_out: tuple[LeftOut, ...], naming: Naming) -> CaseSet:
    cases: dict[str, Case] = {}
    names: dict[str, str] = {}
    for name, given in found.items():
        case_id = naming.case(task, name)
        if case_id in cases:
            raise RunError(f"cases {name!r} and {names[case_id]!r} would both be called {case_id}", hint="give another --salt")
        facts = {} if given.question is None else {"question": given.question}
        # No pixels, so no content to know the image by: its name in its task stands for it.
        image = keys.digest({"imported": [task, case_id]})
        cases[case_id] = Case(case_id, given.label, naming.group(task, given), image, NoImage(), {}, facts)
        names[case_id] = name
    return CaseSet(tuple(cases.values()), left_out, names=names)


def write_answers(planned: Plan, answers: Answers, naming: Naming, ledger: Ledger) -> None:
    """Record the plan, and every answer as the first attempt at its trial."""
    planned.write(ledger)
    responses = _responses(planned, answers, naming)
    while batch := list(islice(responses, BATCH)):
        ledger.append(batch)


def _responses(planned: Plan, answers: Answers, naming: Naming) -> Iterator[tuple[Trial, Response]]:
    prompts = {(t.name, p.text): (p, keys.prompt_digest(p)) for t in planned.study.tasks for p in t.prompts}
    images = {(task, c.id): keys.image_digest(c) for task, found in planned.cases.items() for c in found.cases}
    for a in answers.answers:
        prompt, asked = prompts[a.task, a.prompt]
        case = naming.case(a.task, a.case)
        key = keys.trial_key(*_digests(planned, a, images[a.task, case]), asked, a.repeat)
        yield Trial(key, a.model, a.task, case, a.condition, prompt, a.repeat), Response(key, 1, a.answer)


def _digests(planned: Plan, a: ImportedAnswer, image: str) -> tuple[str, str, str]:
    return planned.model_digests[a.model], image, planned.perturbation_digests[a.condition]
