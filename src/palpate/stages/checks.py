"""checks: what must hold before a model's answers are compared with another's, found out on the study's own images.

A model that can check itself (parts.ChecksItself) does so once, before its first question; what it found is recorded with its
environment and shown in the report. Where asking together is not what asking alone is, the model is asked one by one instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from palpate.executors import Executor
from palpate.nouns import Block
from palpate.parts import ModelSpec
from palpate.stages.plan import Plan
from palpate.store.ledger import Ledger

IMAGES = 2
"""How many the self-tests look at."""


def checked(plan: Plan, model: ModelSpec, ledger: Ledger, executor: Executor) -> ModelSpec:
    """The model as it is to be asked: itself, or asked in a safer way where its checks say so. Records what they found."""
    found = executor.check(model, sample(plan, model))
    if not found:
        return model
    facts = dict(found)
    instead: Mapping[str, Any] = facts.pop("ask_instead", {})
    fingerprint = plan.fingerprints[model.name]
    warnings = [*fingerprint.environment.get("warnings", ()), *facts.pop("warnings", ())]
    ledger.add_model(model.name, fingerprint.identity, {**fingerprint.environment, **facts, "warnings": warnings})
    return replace(model, options={**model.options, **instead}) if instead else model


def sample(plan: Plan, model: ModelSpec) -> list[Block]:
    """The first images of the plan as they are, each another one."""
    found: dict[str, Block] = {}
    for block in plan.blocks(model):
        if block.perturbation.name == "none" and block.trials:
            found.setdefault(block.case.digest, block)
        if len(found) == IMAGES:
            break
    return list(found.values())
