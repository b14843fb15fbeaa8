"""Studies to try every measure on: ordinary ones, ones on which much is undefined, and one with everything that can be asked."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from itertools import product

import numpy as np

from palpate.descriptions import Descriptions, Diagnoses
from palpate.nouns import VERDICTS, Estimate, Form, Lineage, Panel, Perturbation, Polarity, Prompt
from palpate.parts import Measure, MeasureSettings
from palpate.registry import parts
from palpate.rung import Rung
from planted import Planted, panel
from wordings import both_orders, both_polarities

SETTINGS = MeasureSettings(lineages=(Lineage("m0", "m1", "parent"),), seed=3, draws=100)


def study() -> list[Panel]:
    """Two models on two tasks, with refusals, errors and margins."""
    found = []
    for task in range(2):
        for model in range(2):
            plan = Planted(20, 2, 4, 0.7, refusal=(0.1, 0.2))
            one = plan.panel(seed=model + 10 * task, model=f"m{model}", task=f"t{task}", cases_seed=task)
            one.outcome[0, 0] = -1
            margin = np.random.default_rng([task, model]).normal(one.label[:, None, None], 1, one.outcome.shape)
            one = replace(one, rungs={"target": rungs(one.label)}, descriptions=descriptions(one.label))
            found.append(replace(one, margin=margin, mass=np.full(margin.shape, 0.9), n_errors=1, best_accuracy=0.9))
    return found


MEASURES = parts("measures")

PERTURBED = ("no_image", 0), ("blank", 0), ("occlude_lesion", 0), ("occlude_matched", 0), ("blur", 1), ("blur", 3)
CONTRASTS = {"image", "quadrants", "corruption", "occlusion"}
"""Measures that set perturbations against one another, instead of looking at one at a time."""


def wide_study() -> list[Panel]:
    """The same with everything a study may ask: perturbed images, and texts that suggest an answer."""
    found = []
    for number, one in enumerate(study()):
        texts = ("none", "none", "for", "against")
        asked = tuple(replace(p, factors={"suggestion": t}) for p, t in zip(one.prompts, texts, strict=True))
        plain = replace(one, prompts=asked)
        found.append(plain)
        for at, (name, severity) in enumerate(PERTURBED):
            rng = np.random.default_rng([number, at])
            outcome = np.where(rng.random(plain.outcome.shape) < 0.4, 1 - plain.outcome.clip(0, 1), plain.outcome).astype(np.int8)
            margin = plain.margin + rng.normal(0, 1, plain.margin.shape)
            found.append(replace(plain, perturbation=Perturbation(name, severity), outcome=outcome, margin=margin))
    return found


def rungs(label: np.ndarray) -> tuple[Rung, ...]:
    """What probes say of some stages, with a control and a random twin."""
    rng = np.random.default_rng(5)
    found = []
    for stage in ("metadata", "vision", "read", "hidden"):
        score = rng.normal(label, 1.0)
        found.append(Rung(stage, score, ((score > 0.5) == label).astype(float), 0.5, rng.normal(size=label.size), width=4.0))
    return tuple(found)


def hard() -> list[list[Panel]]:
    """Panels on which much is undefined: empty, nothing read, all refused, one class, one patient, one prompt; with margins and
    without."""
    label = np.arange(8) % 2
    found = [
        [],
        [panel(np.zeros((0, 2)), np.zeros(0), model=m) for m in ("m0", "m1")],
        [panel(np.full((8, 2), -1), label, model=m) for m in ("m0", "m1")],
        [panel(np.full((8, 2), 3), label, model=m) for m in ("m0", "m1")],
        [panel(np.zeros((8, 2)), np.ones(8), model=m) for m in ("m0", "m1")],
        [panel(np.zeros((8, 2)), label, np.zeros(8, int), model=m) for m in ("m0", "m1")],
        [panel(np.zeros((8, 1)), label, model="m0")],
    ]
    return found + [[told(one) for one in panels] for panels in found[1:]]


def told(one: Panel) -> Panel:
    """The panel with margins where something was read, facts of its cases, and probed states."""
    n = len(one.cases)
    margin = np.where(one.outcome >= 0, np.random.default_rng(n).normal(one.label[:, None, None], 1, one.outcome.shape), np.nan)
    facts = {"size": tuple(float(i) for i in range(n))}
    probed = {"target": rungs(one.label)} if (one.outcome >= 0).any() else {}
    told, mass = descriptions(one.label) if probed else None, np.where(np.isfinite(margin), 0.9, np.nan)
    return replace(one, margin=margin, mass=mass, facts=facts, rungs=probed, descriptions=told)


SUGGESTED = tuple(
    Prompt(text, f"Pneumonia ({text})?", Form.YES_NO, Polarity.POSITIVE, "suggested", None, {"suggestion": text})
    for text in ("none", "for", "against")
)


def rich() -> list[Panel]:
    """The study with wordings that differ in order, polarity and what they suggest; repeats, margins, and facts of the cases."""
    found = []
    for one in study():
        rng = np.random.default_rng([len(found), 8])
        plan = Planted(20, 2, 7, 0.7, refusal=(0.1, 0.2), repeats=2)
        outcome = plan.codes(one.label, one.cluster, rng)
        outcome[1, 2] = -1
        margin = rng.normal(one.label[:, None, None], 1, outcome.shape)
        facts = {"size": tuple(float(i % 7) for i in range(40)), "sex": tuple("fm"[i % 2] for i in range(40))}
        asked = both_orders() + both_polarities() + SUGGESTED
        found.append(replace(one, prompts=asked, outcome=outcome, facts=facts, margin=margin, mass=np.full(margin.shape, 0.9)))
    return found


def everything() -> list[Panel]:
    """The same, and all of it under every perturbation that some measure sets against the images as they are."""
    found = rich()
    for number, one in enumerate(rich()):
        for at, (name, severity) in enumerate(PERTURBED):
            rng = np.random.default_rng([number, at, 3])
            changed = (rng.random(one.outcome.shape) < 0.4) & np.isin(one.outcome, (0, 1))
            outcome = np.where(changed, 1 - one.outcome, one.outcome).astype(np.int8)
            margin = one.margin + rng.normal(0, 1, one.margin.shape)
            found.append(replace(one, perturbation=Perturbation(name, severity), outcome=outcome, margin=margin))
    return found


def taken(one: Panel, at: np.ndarray) -> Panel:
    """The panel with those of its cases, in that order."""
    arrays = {name: getattr(one, name)[at] for name in ("label", "cluster", "outcome", "margin", "mass")}
    facts = {name: tuple(values[i] for i in at) for name, values in one.facts.items()}
    cases, errors = tuple(f"{one.cases[i]}.{k}" for k, i in enumerate(at)), one.n_errors * len(at) // len(one.cases)
    probed = {
        cell: tuple(replace(r, score=r.score[at], right=r.right[at], twin=None if r.twin is None else r.twin[at]) for r in found)
        for cell, found in one.rungs.items()
    }
    told = told_of(one.descriptions, at)
    return replace(one, cases=cases, facts=facts, n_errors=errors, rungs=probed, descriptions=told, **arrays)


def told_of(of: Descriptions | None, at: np.ndarray) -> Descriptions | None:
    """The descriptions of those cases."""
    if of is None:
        return None
    read = tuple(replace(d, outcome=d.outcome[at], margin=d.margin[at], mass=d.mass[at]) for d in of.diagnoses)
    words = {p: tuple(replace(r, score=r.score[at], right=r.right[at]) for r in rungs) for p, rungs in of.probes.items()}
    return replace(of, stated=of.stated[at], given=of.given[at], diagnoses=read, probes=words)


def descriptions(label: np.ndarray) -> Descriptions:
    """Two prompts, read by two readers as they are and in every control."""
    rng = np.random.default_rng(7)
    shape = (label.size, 2, 1)
    read = []
    for reader, question, given in product(("a", "own"), ("one_word", "disease"), ("real", "masked", "empty", "oracle", "grey")):
        outcome = rng.integers(0, 2, shape).astype(np.int8)
        read.append(Diagnoses(reader, question, given, reader == "own", outcome, rng.normal(size=shape), np.full(shape, 0.9)))
    stated = rng.integers(-1, 2, shape).astype(np.int8)
    words = {p: (Rung("text", rng.normal(label, 1.0), np.full(label.size, np.nan)),) for p in ("d1", "d2")}
    return Descriptions(("d1", "d2"), stated, np.ones(shape, bool), tuple(read), words)


def check(measure: Measure, estimates: list[Estimate]) -> None:
    for e in estimates:
        assert e.measure in measure.estimates
        assert all(isinstance(k, str) and isinstance(v, str) for k, v in e.by.items())
        numbers = [x for x in (e.value, e.low, e.high) if x is not None]
        assert all(type(x) is float and math.isfinite(x) for x in numbers)
        assert bool(e.reason) == (e.value is None or "by itself" in (e.reason or "")), e
        assert e.value is None or not e.reason or e.verdict, "beside a number a reason is about the verdict"
        assert (e.low is None) == (e.high is None)
        assert e.value is not None or (e.low is None and e.verdict is None)
        assert e.low is None or e.low <= e.value <= e.high
        assert e.verdict is None or e.verdict in VERDICTS, "add the word to nouns.VERDICTS, so that the gate knows it"
        assert type(e.n_cases) is type(e.n_clusters) is type(e.n_left_out) is int
        assert e.method
        assert e.verdict is None or "; verdict: " in e.method, "a verdict says by which rule it was given"
        assert e.mde is None or (type(e.mde) is float and 0 < e.mde < math.inf)
        json.dumps(asdict(e), allow_nan=False)
