"""A model with planted behaviour: its true accuracy, prompt effects, refusals and biases are set, so a measure can be checked.

This is a test model. It looks at no pixels: it reads the reference label off ``stimulus.block.case.label`` and answers as a
signal-detection observer would (Green & Swets 1966). Every case has a latent evidence e ~ N(0, 1), shared by all its prompts
and repeats and, with ``group_correlation``, partly by its group; it says "condition present" where e > −z(q), q being the planted
P("present" | label, prompt). The planted rates are therefore exact over cases, and prompts agree on one case as far as q allows.

Every draw is a hash of (seed, case digest, perturbation, prompt text, repeat): no order of calls and no batch changes an answer.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, ClassVar

from palpate.errors import ModelError
from palpate.models._options import check_names, number, one_of
from palpate.nouns import Answer, Form, Lineage, Polarity, Prompt, Status, Stimulus, Trial
from palpate.parts import Fingerprint, Model, ModelSpec

VERSION = 1
UNSEEN = frozenset({"blank", "noise", "other_modality"})
"""Perturbations that leave nothing to see: the label no longer reaches the answer."""

REFUSAL = "I'm sorry, but I cannot provide a medical diagnosis. Please consult a qualified doctor."
HEDGE = "It is not possible to be certain; it could be either."
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is planted. ``present`` is P("condition present" | label 0), P(… | label 1) before any prompt shift.

    With ``d_prime`` set, prompt shifts move the criterion (in z units); else they move the accuracy (in proportions).
    """

    present: tuple[float, float] = (0.2, 0.8)
    signal: tuple[float, float] | None = None  # (d', criterion)
    prompt_shift: Mapping[str, float] = field(default_factory=dict)
    flip_rate: float = 0.0
    refusal_rate: tuple[float, float] = (0.0, 0.0)
    hedge_rate: float = 0.0
    order_bias: float = 0.0
    blind: bool = False
    error_rate: float = 0.0
    error_attempts: int | None = None
    latency: float = 0.0
    style: str = "short"
    group_correlation: float = 0.0
    finding: str | None = None

    def p_present(self, label: int | None, prompt: Prompt) -> float:
        """P("condition present") for that label (None: nothing to see) and prompt, before flips; always inside (0, 1)."""
        if label is None:
            return (self.p_present(0, prompt) + self.p_present(1, prompt)) / 2
        shift = sum(value for key, value in self.prompt_shift.items() if _selects(key, prompt))
        if self.signal is not None:
            d_prime, criterion = self.signal
            return _clip(_NORMAL.cdf((d_prime if label else -d_prime) / 2 - criterion - shift))
        wanted = self.present[1] + shift if label else self.present[0] - shift
        # Flips pull every rate towards ½; start further out, so that the planted rate is the rate observed.
        return _clip((wanted - self.flip_rate) / (1 - 2 * self.flip_rate))


class ScriptedModel:
    """Answers by a Plan. Deterministic; keeps only the count of attempts, for ``error_attempts``."""

    def __init__(self, plan: Plan, seed: int, blocks_at_once: int = 64) -> None:
        self.plan, self.seed, self.blocks_at_once = plan, seed, blocks_at_once
        self._attempts: Counter[str] = Counter()
        self._seen: tuple[str, str, float] = ("", "", 0.0)

    def fingerprint(self) -> Fingerprint:
        """Identity: everything planted and the seed."""
        fields = {name: getattr(self.plan, name) for name in Plan.__slots__ if name != "latency"}
        return Fingerprint({"kind": ScriptedKind.name, "adapter_version": VERSION, "seed": self.seed} | fields)

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        """One Answer per trial; ``seconds`` is the planted latency."""
        return [[self._answer(stimulus, trial) for trial in stimulus.block.trials] for stimulus in stimuli]

    def close(self) -> None:
        """Forget the attempts."""
        self._attempts.clear()

    def _answer(self, stimulus: Stimulus, trial: Trial) -> Answer:
        plan, prompt = self.plan, trial.prompt
        if plan.latency:
            time.sleep(plan.latency)
        words = len(prompt.text.split())
        # A blind model's draws leave the case out: with the image gone it gives the very same answer.
        seen = () if plan.blind else (stimulus.block.case.digest, str(stimulus.block.perturbation))
        place = (*seen, prompt.text, str(trial.repeat))
        if self._fails(trial, stimulus.block.case.digest, str(stimulus.block.perturbation)):
            return Answer(Status.ERROR, seconds=plan.latency, error="planted error")
        present, margin = self._decide(stimulus, prompt, place)
        refusal = plan.refusal_rate[stimulus.block.case.label] if not plan.blind else sum(plan.refusal_rate) / 2
        draw = self._uniform("refuse", *place)
        mass = 0.95
        if draw < refusal:
            text, mass = REFUSAL, 0.05
        elif draw < refusal + plan.hedge_rate:
            text, mass = HEDGE, 0.4
        else:
            text = self._say(present, prompt, stimulus.block.task)
        closed = prompt.form.closed
        return Answer(
            Status.OK,
            text,
            margin=margin if closed else None,
            mass=mass if closed else None,
            tokens_in=words,
            tokens_out=len(text.split()),
            seconds=plan.latency,
        )

    def _fails(self, trial: Trial, digest: str, perturbation: str) -> bool:
        plan = self.plan
        if not plan.error_rate:
            return False
        early = True
        if plan.error_attempts is not None:
            self._attempts[trial.key] += 1
            early = self._attempts[trial.key] <= plan.error_attempts
        return early and self._uniform("error", digest, perturbation, trial.prompt.text, str(trial.repeat)) < plan.error_rate

    def _decide(self, stimulus: Stimulus, prompt: Prompt, place: tuple[str, ...]) -> tuple[bool, float]:
        """(says "present", margin): the margin's sign is the answer's, its size the distance of the evidence from the criterion."""
        plan, case = self.plan, stimulus.block.case
        if plan.blind:
            evidence, label = self._normal("blind", prompt.text), None
        else:
            evidence = self._evidence(case.digest, case.group)
            unseen = stimulus.image is None or stimulus.block.perturbation.name in UNSEEN
            label = None if unseen else case.label
        distance = evidence + _NORMAL.inv_cdf(plan.p_present(label, prompt))
        present = distance > 0
        if self._uniform("flip", *place) < plan.flip_rate:
            present = not present
        if prompt.form in (Form.AB, Form.BA) and self._uniform("order", *place) < plan.order_bias:
            present = prompt.polarity is Polarity.POSITIVE  # what option A asserts
        size = max(abs(distance), 1e-6)
        return present, size if present else -size

    def _evidence(self, digest: str, group: str) -> float:
        """What the case shows, whatever is asked; of the last case it is remembered."""
        if self._seen[:2] != (digest, group):
            rho = self.plan.group_correlation
            own, shared = self._normal("case", digest), self._normal("group", group)
            self._seen = digest, group, rho**0.5 * shared + (1 - rho) ** 0.5 * own
        return self._seen[2]

    def _say(self, present: bool, prompt: Prompt, task: str) -> str:
        plan = self.plan
        first = present is (prompt.polarity is Polarity.POSITIVE)
        if prompt.form is Form.YES_NO:
            short, long = ("Yes", "Yes, it is.") if first else ("No", "No, it is not.")
        elif prompt.form.closed:
            short = "A" if first else "B"
            long = f"{short}) {prompt.options[0 if first else 1]}" if prompt.options else short
        else:
            finding = plan.finding or task.replace("_", " ").replace("-", " ")
            short = f"The image shows {'' if present else 'no '}{finding}."
            long = short
        return short if plan.style == "short" else long

    def _uniform(self, *place: str) -> float:
        """A number in (0, 1), a pure function of the seed and the place."""
        text = "\x1f".join((str(self.seed), *place))
        return (int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") + 0.5) / 2**64

    def _normal(self, *place: str) -> float:
        return _NORMAL.inv_cdf(self._uniform(*place))


class ScriptedKind:
    """Kind ``scripted``: planted behaviour, for tests and simulations. No model, no torch."""

    name: ClassVar[str] = "scripted"
    uses_gpu: ClassVar[bool] = False
    options: ClassVar[Mapping[str, str]] = {
        "accuracy": "P(right answer), the same for both classes (default 0.8)",
        "sensitivity": 'P("present" | present), with specificity, instead of accuracy',
        "specificity": 'P("absent" | absent), with sensitivity, instead of accuracy',
        "d_prime": "discriminability in z units, with criterion, instead of accuracy",
        "criterion": 'bias in z units: positive says "absent" more often (default 0, with d_prime)',
        "prompt_shift": 'prompt name or "factor=value" → change of accuracy (with d_prime: of the criterion); all that apply add',
        "flip_rate": "each answer is inverted with this probability, independently; the accuracy stays as planted (default 0)",
        "refusal_rate": "P(refusal), or {positive = …, negative = …} by class (default 0)",
        "hedge_rate": "P(hedge) (default 0)",
        "order_bias": "P(option A whatever the image) in lettered forms (default 0)",
        "blind": "answers by prompt alone, never by image (default false)",
        "error_rate": "P(status error) (default 0)",
        "error_attempts": "how many first attempts of a trial fail, within one process (default: all)",
        "latency": "seconds each answer takes (default 0)",
        "style": '"short" (Yes, A) or "sentence" (Yes, it is. A) Pneumonia) (default short)',
        "group_correlation": "share of the evidence's variance common to a group, 0 to 1 (default 0)",
        "finding": "what its descriptions say is present or absent (default: the task's name)",
        "blocks_at_once": "how many blocks it likes together (default 64)",
    }

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """None."""
        return {}

    def lineages(self) -> Sequence[Lineage]:
        """None."""
        return ()

    def build(self, spec: ModelSpec) -> Model:
        """Raises ModelError for unknown or impossible options."""
        check_names(spec, self.options)
        options, zero_one = dict(spec.options), (0.0, 1.0)
        plan = Plan(
            present=_present(spec),
            signal=_signal(spec),
            prompt_shift=_shifts(spec),
            flip_rate=number(spec, "flip_rate", 0.0, (0.0, 0.499)),
            refusal_rate=_by_class(spec, "refusal_rate"),
            hedge_rate=number(spec, "hedge_rate", 0.0, zero_one),
            order_bias=number(spec, "order_bias", 0.0, zero_one),
            blind=one_of(spec, "blind", (False, True)),
            error_rate=number(spec, "error_rate", 0.0, zero_one),
            error_attempts=int(number(spec, "error_attempts", 1, (0, 1e6))) if "error_attempts" in options else None,
            latency=number(spec, "latency", 0.0, (0.0, 3600.0)),
            style=one_of(spec, "style", ("short", "sentence")),
            group_correlation=number(spec, "group_correlation", 0.0, zero_one),
            finding=options.get("finding"),
        )
        _check_possible(spec, plan)
        return ScriptedModel(plan, spec.seed, int(number(spec, "blocks_at_once", 64, (1, 1e6))))


def _present(spec: ModelSpec) -> tuple[float, float]:
    rates = [key for key in ("sensitivity", "specificity") if key in spec.options]
    ways = [bool(rates), "accuracy" in spec.options, "d_prime" in spec.options or "criterion" in spec.options]
    if sum(ways) > 1 or len(rates) == 1:
        keys = ("accuracy", "sensitivity", "specificity", "d_prime", "criterion")
        raise ModelError(
            f"model {spec.name!r} gives " + ", ".join(key for key in keys if key in spec.options),
            expected="accuracy alone, or sensitivity with specificity, or d_prime with criterion",
        )
    accuracy = number(spec, "accuracy", 0.8, (0.0, 1.0))
    return 1 - number(spec, "specificity", accuracy, (0.0, 1.0)), number(spec, "sensitivity", accuracy, (0.0, 1.0))


def _signal(spec: ModelSpec) -> tuple[float, float] | None:
    if not {"d_prime", "criterion"} & set(spec.options):
        return None
    return number(spec, "d_prime", 0.0, (0.0, 10.0)), number(spec, "criterion", 0.0, (-10.0, 10.0))


def _by_class(spec: ModelSpec, key: str) -> tuple[float, float]:
    """(rate where absent, rate where present)."""
    given = spec.options.get(key, 0.0)
    if not isinstance(given, Mapping):
        rate = number(spec, key, 0.0, (0.0, 1.0))
        return rate, rate
    if odd := set(given) - {"positive", "negative"}:
        raise ModelError(f"model {spec.name!r}: {key} has the key {sorted(odd)[0]!r}", expected="positive, negative")
    inner = ModelSpec(spec.name, spec.kind, given)
    return number(inner, "negative", 0.0, (0.0, 1.0)), number(inner, "positive", 0.0, (0.0, 1.0))


def _shifts(spec: ModelSpec) -> Mapping[str, float]:
    given = spec.options.get("prompt_shift", {})
    if not isinstance(given, Mapping):
        raise ModelError(f"model {spec.name!r}: prompt_shift is not a table", expected='{ "suffix=one-word" = -0.1 }')
    inner = ModelSpec(spec.name, spec.kind, given)
    return {key: number(inner, key, 0.0, (-10.0, 10.0)) for key in given}


def _check_possible(spec: ModelSpec, plan: Plan) -> None:
    edge = min(min(p, 1 - p) for p in plan.present)
    if plan.signal is None and plan.flip_rate > edge + 1e-12:
        raise ModelError(
            f"model {spec.name!r}: flip_rate {plan.flip_rate:g} cannot be had at this accuracy",
            expected=f"at most {edge:g}: inverting more answers than that would change the accuracy",
        )
    if max(plan.refusal_rate) + plan.hedge_rate > 1:
        raise ModelError(f"model {spec.name!r}: refusal_rate + hedge_rate exceed 1", expected="a sum of at most 1")


def _selects(key: str, prompt: Prompt) -> bool:
    factor, equals, value = key.partition("=")
    return key == prompt.name or (bool(equals) and prompt.factors.get(factor) == value)


def _clip(p: float) -> float:
    return min(max(p, 1e-12), 1 - 1e-12)


PARTS = (ScriptedKind(),)
