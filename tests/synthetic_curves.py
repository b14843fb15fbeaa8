"""The synthetic study with what it takes for questions 2 by factor, 5, 6 and 7: null images, corruptions, margins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from palpate.nouns import Estimate
from palpate.report.view import ReportView
from synthetic_report import HOSTILE, MODELS, TASKS, estimate, make_hostile, make_view

NULLS = ("no_image", "blank", "noise", "other_modality")
FAMILIES = ("rician_noise", "bias_field")
WITHOUT_MARGINS = MODELS[3]


def of_images(by: dict[str, str], at: int) -> Iterator[Estimate]:
    """Question 5."""
    moved = (0.46, 0.38, 0.2, 0.02)[at % 4]
    word = ("uses the image", "uses the image", "looks but blind", "ignores the image")[at % 4]
    yield estimate("image_dependence", moved, 0.05, word, **by)
    yield estimate("label_dependence", moved - 0.02, 0.05, **by)
    for name, share in zip(("ideal", "fragile", "dangerous", "worst"), (moved, 0.2, 0.6 - moved, 0.2), strict=True):
        yield estimate("quadrant_share", share, 0.04, **by, quadrant=name)
    yield estimate("mirage_rate", 0.3, 0.05, **by)
    for i, name in enumerate(NULLS):
        yield estimate("image_dependence", moved, 0.05, **by, null_image=name)
        yield estimate("mirage_rate", 0.1 + 0.2 * i, 0.05, **by, null_image=name)
    for f, family in enumerate(FAMILIES):
        fall = 0.06 * (at % 3) * (1 - f)
        yield estimate("corruption_slope", -fall, 0.01, "falls" if fall > 0.03 else "robust", **by, family=family)
        for severity in (1, 3, 5):
            yield estimate("ba_all", 0.9 - fall * severity, 0.05, **by, perturbation=f"{family}-{severity}")
    yield estimate("ba_all", 0.5, 0.05, **by, perturbation="blank")


def of_confidence(by: dict[str, str], at: int, kind: str) -> Iterator[Estimate]:
    """Question 7."""
    word = ("usable", "not shown to be usable", "misleading", "usable")[at % 4]
    by = {**by, "confidence": kind}
    yield estimate("auroc_failure", (0.8, 0.52, 0.41, 0.7)[at % 4], 0.06, word, **by)
    yield estimate("risk_at_80", 0.09, 0.03, **by)
    for k in range(1, 11):
        yield estimate("risk_at_coverage", 0.02 * k * (1 + at % 3), 0.02, **by, coverage=f"{k / 10:g}")


def of_margin(by: dict[str, str], at: int) -> Iterator[Estimate]:
    """Question 6, and the reliability curve."""
    yield estimate("criterion_loss", (0.09, 0.0, 0.01, 0.05)[at % 4], 0.03, ("threshold problem", "nothing lost")[at % 2], **by)
    yield estimate("ba_own_threshold", 0.91, 0.03, **by)
    for k in range(1, 11):
        yield estimate("said_in_bin", k / 10 - 0.05, **by, bin=str(k))
        yield estimate("present_in_bin", min(0.98, (0.08 + 0.006 * at) * k), 0.08, **by, bin=str(k))


def of_factors(by: dict[str, str], at: int) -> Iterator[Estimate]:
    """Question 2, by what the wordings differ in."""
    for factor, level, against, size in (("polarity", "negated", "affirmative", -0.09), ("format", "lettered", "yes-no", 0.01)):
        word = "lowers" if size < -0.05 and at % 2 else "equivalent"
        yield estimate("factor_effect", size * (at % 2), 0.03, word, **by, factor=factor, level=level, against=against)


def examined_whole(view: ReportView | None = None) -> ReportView:
    """Every question examined; the last model gives no probabilities."""
    view = view or make_view()
    found: list[Estimate] = []
    for t, (task, *_) in enumerate(TASKS):
        for m, model in enumerate(MODELS):
            by = {"model": model, "task": task, "cell": "target"}
            found += [*of_images(by, t + m), *of_factors(by, t + m), *of_confidence(by, t + m, "agreement")]
            if model == WITHOUT_MARGINS:
                found += [replace(estimate("auroc_failure", None, **by), by={**by, "confidence": "margin"})]
            else:
                found += [*of_confidence(by, t + m, "margin"), *of_margin(by, t + m)]
    return replace(view, estimates=(*view.estimates, *found))


def hostile_whole() -> ReportView:
    """The same with harm in every text that comes from outside, among them the names of models, factors and families."""
    view = examined_whole(make_hostile())
    bad = {MODELS[0]: HOSTILE[0], "negated": HOSTILE[1], "polarity": HOSTILE[3], FAMILIES[0]: HOSTILE[4]}
    changed = tuple(replace(e, by={k: _harmed(v, bad) for k, v in e.by.items()}) for e in view.estimates)
    more = tuple(replace(e, case=f"{e.case}-{k}") for k in range(3) for e in view.examples)  # 576 answers
    models = (replace(view.models[0], name=bad[MODELS[0]]), *view.models[1:])
    return replace(view, estimates=changed, models=models, examples=more)


def _harmed(value: str, bad: dict[str, str]) -> str:
    family, dash, severity = value.rpartition("-")
    return f"{bad[family]}-{severity}" if dash and family in FAMILIES and family in bad else bad.get(value, value)
