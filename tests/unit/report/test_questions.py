"""The questions' own words: they quote the bounds that the study set, in every telling."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest

from palpate.parts import Thresholds
from palpate.report.figures import pairs
from palpate.report.html import render_html
from palpate.report.markdown import render_markdown
from palpate.report.questions import QUESTIONS, questions
from palpate.report.view import ReportView

CHANGED = Thresholds(
    chance_margin=0.03,
    chance_margin_small=0.07,
    chance_small=1200,
    fragile=0.015,
    robust=0.08,
    answers=0.04,
    equivalence=0.025,
    image_dependence=0.11,
    label_dependence=0.06,
    blind=0.13,
    ignored=0.17,
    latent=0.012,
    enough=0.77,
    confidence_auroc=0.65,
    corruption_slope=0.023,
)
QUOTED = {
    1: ("±7 points, ±3 from 1200 images on",),
    2: ("surely more than 1.5 points; robust: surely less than 8.",),
    3: ("surely fewer than 4 % without",),
    4: ("±2.5 points",),
    5: ("more than 11 % move", "surely above 0.06", "surely below 0.13", "fewer than 17 % move", "beyond ±2.3 (points a level"),
    6: ("by over 1.2 points", "surely below 0.77"),
    7: ("surely more than 65 %",),
}


@pytest.mark.parametrize("number", sorted(QUOTED))
def test_the_words_quote_the_bounds_of_the_study(number: int) -> None:
    for bounds, same in ((CHANGED, True), (Thresholds(), False)):
        found = next(q for q in questions(bounds) if q.number == number)
        said = f"{found.asks} {found.limits}"
        assert all((text in said) is same for text in QUOTED[number])
        assert "{" not in said


def test_the_defaults_are_those_of_the_methods() -> None:
    said = " ".join(f"{q.asks} {q.limits}" for q in questions(Thresholds()))
    for text in ("(±10 points, ±5 from 900 images on)", "more than 2 points; robust: surely less than 5", "±5 points", "below 0.8"):
        assert text in said


def test_every_bound_named_in_the_words_is_a_threshold() -> None:
    named = set(re.findall(r"\{(\w+)\}", " ".join(q.asks + q.limits for q in QUESTIONS)))
    assert named <= {f.name for f in fields(Thresholds)}
    assert len(named) >= 14


def test_both_pages_and_the_forest_plot_quote_them(view: ReportView) -> None:
    changed = replace(view, thresholds=CHANGED)
    for rendered in (render_html(changed), render_markdown(changed).replace("\\", "")):
        assert "robust: surely less than 8." in rendered
        assert "surely less than 5" not in rendered
        assert "±2.5 points" in rendered
    forest = pairs(changed)
    assert forest is not None
    (zone,) = forest.layout.shapes
    assert (zone.x0, zone.x1) == (-2.5, 2.5)
    assert "equal (grey: ±2.5 points)" in {t.name for t in forest.data}
