"""Flat pictures in the report: small, without scripts, with a table beside them and what they cannot show."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from palpate.nouns import Estimate
from palpate.report.html import render_html
from palpate.report.pictures import MOST, SIDE, pictures
from palpate.report.view import ReportView
from palpate.store.pictures import Picture
from synthetic_report import HOSTILE


def made(model: str, task: str, stage: str, n: int = 60, kind: str = "tsne", prompt: str = "") -> Picture:
    rng, label = np.random.default_rng(0), (np.arange(n) % 2).astype(np.int8)
    place = (rng.standard_normal((n, 2)) * [40, 3] + 100).astype(np.float32)
    return Picture(model, task, stage, kind, place, label, 0.61, 0.93, 30.0 if kind == "tsne" else 0.0, prompt)


@pytest.fixture
def pictured(view: ReportView) -> ReportView:
    task, model = view.tasks[0].name, view.models[1].name
    asked = next(p.name for p in view.prompts[task] if p.form.closed)
    cell = next(p.cell for p in view.prompts[task] if p.form.closed)
    by = {"model": model, "task": task, "cell": cell, "stage": "last-03"}
    probe = Estimate("ladder_auroc", by, 0.971, 0.95, 0.99, 0.95, "probe", 60, 60)
    shown = (made(model, task, "read"), made(model, task, "last-03", prompt=asked), made(model, task, "read", kind="umap"))
    return replace(view, pictures=shown, estimates=(*view.estimates, probe))


def test_every_case_is_one_mark_inside_the_drawing_and_both_axes_have_one_scale(pictured: ReportView) -> None:
    for drawn in pictures(pictured):
        dots, crosses = re.findall(r' d="([^"]+)"', str(drawn.svg))
        assert (dots.count("M"), crosses.count("M")) == (30, 30)
        at = np.array([[int(n) for n in pair] for pair in re.findall(r"M(\d+) (\d+)", dots)])
        assert at.min() >= 0
        assert at.max() <= SIDE
        assert np.ptp(at[:, 0]) > 5 * np.ptp(at[:, 1])  # not stretched to a square: distances would be another picture's


def test_beside_the_picture_stands_what_the_probe_reads_from_the_same_states(pictured: ReportView) -> None:
    read, last, flat = pictures(pictured)
    assert last.probe is not None
    assert last.probe.value == 0.971
    assert read.probe is None
    assert "t-SNE, perplexity 30, 60 of 60 images" in last.how
    assert "UMAP, 15 neighbours" in flat.how
    assert "end of the question" in last.title
    page = render_html(pictured)
    section = page[page.index('id="q6"') : page.index('id="q7"')]
    for text in ("to look at only (3)", "What these cannot show", "0.971", "61 %", "93 %", 'role="img"', "Pictures in numbers"):
        assert text in section
    assert "to look at only" not in render_html(replace(pictured, pictures=()))


def test_many_large_pictures_stay_below_300_kb(view: ReportView) -> None:
    many = tuple(made(m.name, t.name, s, 900) for m in view.models for t in view.tasks for s in ("read", "last-03"))
    assert sum(p.label.size for p in many) > MOST
    shown = pictures(replace(view, pictures=many))
    assert sum(len(str(p.svg)) for p in shown) < 300_000
    for drawn in shown:
        assert drawn.shown < 900
        dots, crosses = re.findall(r' d="([^"]+)"', str(drawn.svg))
        assert min(dots.count("M"), crosses.count("M")) > 0.35 * drawn.shown  # cases come one class after the other
        assert f"{drawn.shown} of 900" in drawn.how


def test_pictures_come_task_by_task_and_others_are_left_out(view: ReportView) -> None:
    first, second = view.tasks[:2]
    a, b = (m.name for m in view.models[:2])
    given = (
        made(b, second.name, "read"),
        made(b, first.name, "read"),
        made(a, first.name, "read"),
        made("gone", first.name, "read"),
    )
    found = [(p.picture.task, p.picture.model) for p in pictures(replace(view, pictures=given))]
    assert found == [(first.name, a), (first.name, b), (second.name, b)]


def test_one_place_for_all_is_drawn(view: ReportView) -> None:
    one = made(view.models[0].name, view.tasks[0].name, "read")
    (drawn,) = pictures(replace(view, pictures=(replace(one, place=np.zeros_like(one.place)),)))
    assert f"M{SIDE // 2} {SIDE // 2}h0" in str(drawn.svg)


def test_a_name_cannot_become_markup(pictured: ReportView) -> None:
    for text in HOSTILE[:6]:
        old = pictured.models[1].name
        models = tuple(replace(m, name=text) if m.name == old else m for m in pictured.models)
        named = replace(pictured, models=models, pictures=tuple(replace(p, model=text) for p in pictured.pictures))
        for drawn in pictures(named):
            assert "<script" not in str(drawn.svg)
            assert "<img" not in str(drawn.svg)
            assert str(drawn.svg).count("<") == 4
