"""checks: what must hold before a model's answers are compared with another's, found out on the study's own images.

A model that can check itself (parts.ChecksItself) does so once, before its first question; what it found is recorded with its
environment and shown in the report. Where asking together is not what asking alone is, the model is asked one by one instead.
Where that makes it another model by identity, it is planned again as that one, and the ledger keeps the decision beside the
identity it was planned with first: a later sitting comes to the same one without asking the way that failed (``heeded``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from palpate.errors import ModelError
from palpate.executors import Executor
from palpate.nouns import Block
from palpate.parts import ModelSpec
from palpate.stages.plan import Plan, asked_instead
from palpate.store import earlier
from palpate.store.folder import RunFolder
from palpate.store.ledger import Ledger

IMAGES = 2
"""How many the self-tests look at."""


def checked(
    plan: Plan,
    model: ModelSpec,
    ledger: Ledger,
    executor: Executor,
    on_note: Callable[[str], None] | None = None,
    on_step: Callable[[str], None] | None = None,
    coming: int = 1,
) -> Plan:
    """The plan with the model as it is to be asked: as it is there, or in a safer way where its checks say so.

    Records what they found, and of a model that is another by that, both. ``on_note`` is told what a reader has to know,
    ``on_step`` what is being done. ``coming``: batches known to be asked afterwards.
    """
    found = executor.check(plan.settled(model), sample(plan, model), on_step, coming)
    if not found:
        return plan
    facts = dict(found)
    instead, warnings = facts.pop("ask_instead", {}), list(facts.pop("warnings", ()))
    if on_note is not None:
        for told in warnings:
            on_note(f"{model.name}: {told}")
    if not instead:
        _record(plan, model, ledger, facts, warnings)
        return plan
    other = asked_instead(plan, model, instead, warnings)
    executor.identify(other.settled(model), other.fingerprints[model.name].identity)
    if other.model_digests[model.name] == plan.model_digests[model.name]:
        _record(other, model, ledger, facts)  # whose warnings it has
        return other
    if model.name in plan.instead:
        raise ModelError("finds no way in which it can be asked", where=f"model {model.name!r}", expected="checks that settle it")
    # The decision before the plan that follows from it: killed in between, the next sitting heeds it.
    _record(plan, model, ledger, {**facts, earlier.INSTEAD: {"options": dict(instead), "warnings": warnings}}, warnings)
    other.write(ledger)
    return checked(other, model, ledger, executor, on_note, on_step, coming)


def _record(plan: Plan, model: ModelSpec, ledger: Ledger, facts: Mapping[str, Any], warnings: Sequence[str] = ()) -> None:
    fingerprint = plan.fingerprints[model.name]
    told = [*fingerprint.environment.get("warnings", ()), *warnings]
    ledger.add_model(model.name, fingerprint.identity, {**fingerprint.environment, **facts, "warnings": told})


def heeded(plan: Plan, folder: RunFolder) -> Plan:
    """The plan with those models asked another way of which an earlier sitting of the run in ``folder`` found that they must be."""
    if not folder.begun():
        return plan
    with Ledger(folder.ledger_path, read_only=True) as ledger:
        for model in plan.study.models:
            found = plan.fingerprints[model.name]
            # A decision of one way of asking holds on another GPU too, where more or fewer images go together.
            told = earlier.asked_instead(ledger, found.identity, but=found.settled)
            if told is not None and model.name not in plan.instead:
                plan = asked_instead(plan, model, told["options"], told["warnings"])
    return plan


def sample(plan: Plan, model: ModelSpec) -> list[Block]:
    """The first images of the plan as they are, each another one."""
    found: dict[str, Block] = {}
    for block in plan.blocks(model):
        if block.perturbation.name == "none" and block.trials:
            found.setdefault(block.case.digest, block)
        if len(found) == IMAGES:
            break
    return list(found.values())
