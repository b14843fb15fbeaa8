"""Perturbations as a study names them: one by one with a severity, or by sets that the families name themselves members of."""

from __future__ import annotations

from collections.abc import Sequence

from palpate.errors import StudyError, unknown_name
from palpate.nouns import Perturbation
from palpate.parts import PerturbationFamily
from palpate.registry import part, parts
from palpate.task import Task

SET = "set:"
"""Before the name of a set of perturbations: ``set:mri`` is every severity of each family of that set, ``set:mri-3`` only those."""


def perturbation_sets() -> dict[str, list[PerturbationFamily]]:
    """Every set that families name themselves members of: the modalities, and ``null`` and ``occlusion``."""
    found: dict[str, list[PerturbationFamily]] = {}
    for family in parts("perturbations").values():
        for name in getattr(family, "sets", ()):
            found.setdefault(name, []).append(family)
    return dict(sorted(found.items()))


def chosen_perturbations(given: list[str], where: str) -> tuple[Perturbation, ...]:
    """The perturbations named, sets spelt out; one that is named itself and in a set too is taken once."""
    found: dict[Perturbation, None] = {}
    for i, text in enumerate(given):
        at = f"{where}[{i}]"
        found |= dict.fromkeys(_set(text, at) if text.startswith(SET) else [_perturbation(text, at)])
    return tuple(found)


def _set(text: str, where: str) -> list[Perturbation]:
    name, _, severity = text.removeprefix(SET).partition("-")
    known = perturbation_sets()
    if name not in known:
        raise unknown_name(text, [SET + k for k in known], noun="perturbation", where=where)
    every = [Perturbation(f.name, level) for f in known[name] for level in f.severities]
    chosen = [p for p in every if not severity or str(p.severity) == severity]
    if not chosen:
        levels = ", ".join(f"{SET}{name}-{s}" for s in sorted({p.severity for p in every}) if s)
        raise StudyError(f"{text!r} has no such severity", where=where, expected=f"one of {SET}{name}, {levels}".rstrip(", "))
    return chosen


def check_mirrors(tasks: Sequence[Task], perturbations: Sequence[Perturbation], where: str) -> None:
    """A mirror image of a task that asks about a side has another label than its case."""
    sided = [task.name for task in tasks if task.mirror_changes_label]
    if sided and any(p.name == "flip" for p in perturbations):
        expected = "no flip, or tasks whose label a mirror leaves alone"
        raise StudyError(f"flip would change the labels of the task {sided[0]!r}", where=where, expected=expected)


def _perturbation(text: str, where: str) -> Perturbation:
    name, _, severity = text.partition("-")
    family = part("perturbations", name, where=where)
    level = int(severity) if severity.isdecimal() else 0
    if level not in family.severities or (severity and not severity.isdecimal()):
        allowed = ", ".join(str(Perturbation(name, s)) for s in family.severities)
        raise StudyError(f"{text!r} has no such severity", where=where, expected=f"one of {allowed}")
    return Perturbation(name, level)
