"""A synthetic finished study, as large as the demo, with every kind of verdict, a gap, and texts that try to do harm."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
from PIL import Image

from palpate.nouns import Condition, ConditionResult, Estimate, Held, Lineage, Outcome, Prompt
from palpate.prompts import Wording, reference_prompts
from palpate.report.view import Counts, Example, ExampleAnswer, ModelCard, ReportView, TaskCard

MODELS = ("phantom-llava", "phantom-llava-med", "phantom-gemma", "phantom-medgemma")
PAIRS = (("phantom-llava", "phantom-llava-med"), ("phantom-gemma", "phantom-medgemma"))
TASKS = (
    ("brain_tumor_phantom", "Brain tumour on MRI (phantom)", "brain tumour", 0.975),
    ("pneumonia_phantom", "Pneumonia on chest X-ray (phantom)", "pneumonia", 0.93),
    ("skin_cancer_phantom", "Malignant skin lesion on dermatoscopy (phantom)", "malignant skin lesion", 0.88),
    ("idc_phantom", "Invasive ductal carcinoma in histology (phantom)", "invasive ductal carcinoma", 0.81),
)
METHOD = "clustered bootstrap, Wilson interval on the effective sample size, mean over prompts"
NO_ANSWER = "no definite answer in at least one class"
HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "<svg/onload=\"document.title='owned'\">",
    "</table></div><iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>",
    "{{ 7 * 191 }}{% raw %}%{customdata}${x}",
    "\u202eoowt\u2066 reversed \x1b[31mred\x07",
    "javascript:document.title='owned'",
    "<a href=\"javascript:document.title='owned'\">click</a>",
    "half \ud83d a character \x00",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png) | cell | https://evil.example www.evil.example",
    "<!-- <style>*{display:none}</style>",
)


def prompts() -> tuple[Prompt, ...]:
    words = Wording("image", "tumors", "irregular masses", "Tumor", "No tumor", "brain cancer")
    return tuple(p for p in reference_prompts(words) if p.form.closed)


def estimate(measure: str, value: float | None, half: float | None = None, verdict: str | None = None, **by: str) -> Estimate:
    """An estimate with ``half`` its interval's width; without a value, its reason."""
    low, high = (None, None) if value is None or half is None else (value - half, value + half)
    reason = NO_ANSWER if value is None else None
    return Estimate(measure, by, value, low, high, 0.95, METHOD if half else "count; no interval", 150, 150, 3, reason, verdict)


def of_model(rng: np.random.Generator, model: str, task: str, at: int) -> Iterator[Estimate]:
    """What the measures say of one model on one task."""
    level = (0.9, 0.78, 0.62, 0.5)[at % 4]
    for cell, extra in (("target", 0.0), ("abnormal", -0.06)):
        by = {"model": model, "task": task, "cell": cell}
        verdict = "above chance" if level + extra > 0.58 else "at chance" if at % 2 else "undetermined"
        refused = 0.11 if model == "phantom-medgemma" else 0.0
        yield estimate("ba_all", level + extra - refused / 2, 0.047, verdict, **by)
        yield estimate("ba_answered", level + extra, 0.045, **by)
        yield estimate("coverage", 1 - refused, 0.01, **by)
        yield estimate("sensitivity", level + 0.03, 0.06, **by)
        yield estimate("specificity", level - 0.03, 0.06, **by)
        spread = (0.06, 0.03, 0.01, 0.002)[(at + len(model)) % 4]
        word = "fragile" if spread > 0.05 else "robust" if spread < 0.02 else "undetermined"
        yield replace(estimate("prompt_spread", spread, None, word, **by), low=max(0.0, spread - 0.02), high=spread + 0.025)
        yield estimate("prompt_spread_naive", spread + 0.012, **by)
        yield estimate("prompt_spread_null", 0.016, 0.008, **by)
        yield estimate("prompt_range", 3 * spread + 0.03, **by)
        yield estimate("prompt_range_null", 0.05, 0.03, **by)
        yield estimate("prompt_effect_p", 0.004, **by)
        yield estimate("flip_rate", 0.12, 0.03, **by)
        yield estimate("refusal_rate", refused, 0.01 if refused else 0.0, **by)
        yield estimate("no_answer_rate", refused * 1.1, 0.012 if refused else 0.0, **by)
        yield estimate(
            "refusal_difference", 0.07 if refused else 0.0, 0.03, "selective" if refused else "not shown to be selective", **by
        )
        for word, share in (("positive", 1.4), ("negative", 0.6)):
            yield estimate("no_answer_rate", refused * share, 0.02 if refused else 0.0, **by, **{"class": word})
        for p in prompts():
            if p.cell == cell:
                shifted = float(np.clip(level + extra + rng.normal(0, spread + 0.01), 0.02, 0.98))
                yield estimate("ba_all", shifted, 0.05, verdict, **by, prompt=p.name)
                silent = refused * float(rng.uniform(0.2, 2))
                yield estimate("no_answer_rate", silent, 0.02 if refused else 0.0, **by, prompt=p.name)
    yield estimate("error_rate", 0.001, model=model, task=task)


def of_pair(base: str, tuned: str, task: str, at: int) -> Iterator[Estimate]:
    """What tuning did on one task."""
    value, word = ((0.12, "better"), (-0.08, "worse"), (0.006, "equivalent"), (0.03, "undetermined"))[at % 4]
    by = {"base": base, "tuned": tuned, "relation": "parent" if "llava" in base else "sibling", "task": task, "cell": "target"}
    yield estimate("delta_ba_all", value, 0.04, word, **by)
    yield estimate("delta_ba_all_over_wordings", value, 0.07, word, **by)
    yield estimate("delta_ba_all_mde", 0.058, **by)
    yield estimate("delta_coverage", -0.02, 0.01, "lower", **by)


def of_two(first: str, over: str, task: str, at: int) -> Iterator[Estimate]:
    """Who is ahead on one task: one way, the other, nobody, and nobody for the correction alone."""
    value, word, why = (
        (0.2, "ahead", None),
        (-0.2, "behind", None),
        (0.02, "not ranked", None),
        (-0.06, "not ranked", "by itself an effect would be shown; after Holm's correction over the pairs of the task it is not"),
    )[at % 4]
    made = estimate("ba_lead", value, 0.05, word, model=first, over=over, task=task, cell="target")
    yield replace(made, mde=0.07, reason=why)


def png() -> bytes:
    buffer = io.BytesIO()
    y, x = np.mgrid[0:96, 0:96]
    pixels = (255 * np.exp(-((x - 48) ** 2 + (y - 44) ** 2) / 900)).astype(np.uint8)
    Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(buffer, "PNG")
    return buffer.getvalue()


def example(task: str, label: int, texts: tuple[str, ...], picture: bytes | None) -> Example:
    outcomes = (Outcome.POSITIVE, Outcome.NEGATIVE, Outcome.REFUSE_POLICY, Outcome.HEDGE, Outcome.UNPARSED, None)
    answers = []
    for m, model in enumerate(MODELS):
        for i, p in enumerate(prompts()):
            text = texts[(m + i) % len(texts)]
            span = (0, min(3, len(text))) if i % 3 else None
            answers.append(ExampleAnswer(model, p.name, p.text, text, outcomes[(m * i) % 6], span, 1.5 - 0.4 * i if m else None))
    return Example(task, f"c-{task[:5]}-{label}", label, "answers depend most on the wording", tuple(answers), picture)


def make_view(
    texts: tuple[str, ...] = ("Yes", "No", "A", "Yes, there is a mass in the left lobe.", "I cannot diagnose."),
) -> ReportView:
    rng = np.random.default_rng(5)
    found: list[Estimate] = []
    for t, (task, *_) in enumerate(TASKS):
        for m, model in enumerate(MODELS):
            if (t, m) != (3, 3):
                found += of_model(rng, model, task, t + m % 2)
                continue
            by = {"model": model, "task": task, "cell": "target"}
            names = ("ba_all", "ba_answered", "prompt_spread", "refusal_rate")
            found += [estimate(name, None, **by) for name in names]  # measured, and undefined
        for k, (base, tuned) in enumerate(PAIRS):
            found += of_pair(base, tuned, task, t + k)
        for k, (first, over) in enumerate(combinations(MODELS, 2)):
            found += of_two(first, over, task, t + k)
    found.append(estimate("a_later_measure", 0.4321, 0.1, model=MODELS[0], task=TASKS[0][0]))
    held = Condition("ba_all.low >= 0.8", "ba_all", "low", ">=", 0.8)
    cards = tuple(
        ModelCard(
            name, {"kind": "hf", "weights": "sha256:12ab", "template": "sha256:34cd"}, {"device": "cpu"}, lineage, "A tiny model"
        )
        for name, lineage in zip(MODELS, ("", "further trained from phantom-llava", "", "sibling of phantom-gemma"), strict=True)
    )
    tasks = tuple(
        TaskCard(name, title, "an image", condition, 1, 150, 75, 75, 150, 2 * (name == "idc_phantom"), best, licence="Apache-2.0")
        for name, title, condition, best in TASKS
    )
    tasks = (*tasks[:2], replace(tasks[2], cautions={"abnormal": "A benign lesion is abnormal too."}), tasks[3])
    return ReportView(
        study_name="phantom",
        study_toml='name = "phantom"\nseed = 0\n# ```\n',
        created="2026-11-24T04:00:57+00:00",
        palpate_version="0.1.0",
        models=cards,
        tasks=tasks,
        prompts={name: prompts() for name, *_ in TASKS},
        lineages=tuple(Lineage(b, t, "parent") for b, t in PAIRS),
        estimates=tuple(found),
        counts=Counts(7200, 7150, 31, 0, {"image could not be sent": 17, "out of memory": 2}),
        conditions=(
            ConditionResult(held, Held.FAIL, found[0], "low is 0.853 − not enough"),
            ConditionResult(held, Held.NOT_EVALUABLE, None, "no estimate matches"),
        ),
        examples=tuple(example(t, i % 2, texts, png() if i != 1 else None) for i, (t, *_) in enumerate(TASKS)),
        definitions={"ba_all": "Mean of sensitivity and specificity of all read trials", "flip_rate": "Share of pairs that differ"},
        environment={"python": "3.11", "numpy": "2.4"},
        seconds=81.4,
    )


def make_hostile() -> ReportView:
    """The same with harm in every text that comes from outside."""
    made = make_view(HOSTILE)
    bad = HOSTILE[2]
    first = made.prompts[TASKS[0][0]][0]
    return replace(
        made,
        study_name=HOSTILE[0],
        study_toml="\n".join(h.replace("\x00", "") for h in HOSTILE),
        models=(replace(made.models[0], about=bad, lineage=HOSTILE[3], identity={HOSTILE[1]: HOSTILE[2]}), *made.models[1:]),
        tasks=(
            replace(made.tasks[0], title=f"Task {bad}", condition=HOSTILE[1], citation=bad, licence=HOSTILE[8]),
            *made.tasks[1:],
        ),
        prompts={**made.prompts, TASKS[0][0]: (replace(first, text=bad), *made.prompts[TASKS[0][0]][1:])},
        counts=replace(made.counts, errors={h: i + 1 for i, h in enumerate(HOSTILE)}),
        estimates=(*made.estimates, replace(made.estimates[0], measure=HOSTILE[0], verdict=bad, method=HOSTILE[3])),
        environment={HOSTILE[0]: HOSTILE[2]},
    )
