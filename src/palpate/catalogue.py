"""What a study may name: the rows behind ``palpate list``."""

from __future__ import annotations

from palpate.errors import unknown_name
from palpate.parts import AskingMethod
from palpate.perturbation_sets import SET, perturbation_sets
from palpate.prompts import PROMPT_SETS
from palpate.registry import offered, parts
from palpate.study import model_presets
from palpate.task import load_task, prompt_set, task_names

Rows = list[tuple[str, str]]


def catalogue(what: str) -> Rows:
    """(name, what it is) of every one of them; ``what`` is the plural noun. Raises UnknownName."""
    lists = {
        "tasks": _tasks,
        "models": _models,
        "prompts": _prompts,
        "sources": _sources,
        "perturbations": _perturbations,
        "readings": _readings,
        "measures": _measures,
    }
    if what not in lists:
        raise unknown_name(what, lists, noun="list")
    return lists[what]()


def _tasks() -> Rows:
    rows = []
    for name in task_names():
        task = load_task(name)
        images = f"from {task.source.kind}" if task.source else "bring your own images"
        rows.append((name, f"{task.title} ({images})"))
    return rows


def _models() -> Rows:
    presets: Rows = [(name, str(preset.get("about", kind.name))) for kind, name, preset in model_presets()]
    kinds = [(f"kind = {kind.name!r}", "options: " + ", ".join(kind.options)) for kind in offered("models").values()]
    return presets + kinds


def _prompts() -> Rows:
    words = load_task("pneumonia_cxr").wording
    return [
        (f"{name}: {p.name}", f"[{p.cell}] {p.text}".replace("\n", " / "))
        for name in PROMPT_SETS
        for p in prompt_set(name, words, describe=True)
    ]


def _sources() -> Rows:
    return [(f"{s.name}: {option}", about) for s in offered("cases").values() for option, about in s.options.items()]


def _readings() -> Rows:
    rows = []
    for method in parts("readings").values():
        asks = isinstance(method, AskingMethod)
        rows.append((method.name, f"{method.by}{', asks a model' if asks else ''}"))
        rows += [(f"{method.name}: {option}", about) for option, about in getattr(method, "options", {}).items()]
    return rows


def _measures() -> Rows:
    return [item for m in parts("measures").values() for item in m.estimates.items()]


def _perturbations() -> Rows:
    rows = []
    for f in parts("perturbations").values():
        levels = "severities " + ", ".join(map(str, f.severities)) if any(f.severities) else "no severity"
        sets = ", ".join(getattr(f, "sets", ()))
        mask = "needs masks" if getattr(f, "needs_mask", False) else ""
        rows.append((f.name, "; ".join(filter(None, [levels, f"sets: {sets}" if sets else "", mask]))))
    sets_of = [(SET + name, "all of " + ", ".join(f.name for f in members)) for name, members in perturbation_sets().items()]
    return rows + sets_of
