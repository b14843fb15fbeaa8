"""What a report shows of a run, held against the ledger row by row."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palpate.nouns import Outcome, Reading, Response, Status, Trial
from palpate.pipeline import run
from palpate.report.gather import LARGEST_SIDE, _png, _worth_seeing
from palpate.report.html import render_html
from palpate.report.markdown import render_markdown
from palpate.report.view import ReportView
from palpate.results import Results
from palpate.store.planned import Planned
from palpate.study import Study
from small import STUDY, make_images, write_study

Row = tuple[Trial, int, Response, Reading | None]
WHY = ("answers depend most on the wording", "most confidently wrong", "most often answered rightly")
FAILING = STUDY.replace("refusal_rate = 0.05", 'refusal_rate = 0.1\nerror_rate = 0.1\nhedge_rate = 0.05\nstyle = "sentence"')
SHOWN = FAILING + "\n[report]\nimages = true\nexamples = 4\n"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with errors, refusals and hedges, whose study asks for images in the report."""
    folder = tmp_path_factory.mktemp("shown")
    study = write_study(folder, SHOWN)
    make_images(folder / "images", size=400)
    run(Study.load(study), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def view(shown: Path) -> ReportView:
    return Results.open(shown).view()


@pytest.fixture(scope="module")
def rows(shown: Path) -> list[Row]:
    """Every trial with its last response and the reading of that response."""
    return list(_rows(Results.open(shown)))


def _rows(results: Results) -> Iterator[Row]:
    with results.folder.ledger() as ledger:
        for key in Planned(ledger).all_keys():
            ((trial, label),) = ledger.find(key.hex())
            last = ledger.responses(trial.key)[-1]
            read = [r for r in ledger.readings(trial.key) if r.attempt == last.attempt and r.by == results.study.reading_by()]
            yield trial, label, last, read[0] if read else None


def test_the_run_has_what_these_tests_need(rows: list[Row]) -> None:
    outcomes = {reading.outcome for *_, reading in rows if reading}
    assert {Outcome.POSITIVE, Outcome.NEGATIVE, Outcome.REFUSE_POLICY, Outcome.HEDGE} <= outcomes
    assert any(response.answer.status is Status.ERROR for _, _, response, _ in rows)


def test_counts_are_those_of_the_ledger(view: ReportView, rows: list[Row]) -> None:
    ended = Counter(response.answer.status for _, _, response, _ in rows)
    causes = Counter(response.answer.error for _, _, response, _ in rows if response.answer.status is Status.ERROR)
    assert view.counts.trials == len(rows)
    assert (view.counts.ok, view.counts.truncated, view.counts.blocked) == (ended[Status.OK], ended[Status.TRUNCATED], 0)
    assert view.counts.errors == dict(causes)
    assert view.counts.n_errors == ended[Status.ERROR] > 0
    assert view.counts.unasked == 0


def test_a_task_is_counted_as_its_cases(view: ReportView, rows: list[Row]) -> None:
    (task,) = view.tasks
    labels = {trial.case: label for trial, label, *_ in rows}
    assert (task.n_cases, task.n_positive, task.n_negative) == (len(labels), sum(labels.values()), 12 - sum(labels.values()))
    assert (task.n_groups, task.n_left_out) == (6, 0)  # two images to a patient
    assert task.best_accuracy is None  # known for phantoms only


def test_a_model_says_whom_it_descends_from(view: ReportView) -> None:
    base, tuned = view.models
    assert (base.name, base.lineage) == ("base", "")
    assert (tuned.name, tuned.lineage) == ("tuned", "further trained from base")
    assert base.identity["kind"] == "scripted"


def test_every_estimate_is_defined(view: ReportView) -> None:
    assert {e.measure for e in view.estimates} <= set(view.definitions)
    assert all(view.definitions.values())


def _expected(rows: list[Row], count: int) -> list[tuple[str, str]]:
    """The cases to show and why, from the rows alone: the three orders in turn, each case once, ties to the first case."""
    cases = list(dict.fromkeys(trial.case for trial, *_ in rows))
    flips: dict[str, float] = {}
    right: dict[str, float] = {}
    for case in cases:
        shares = []
        for model in ("base", "tuned"):
            said = [r.outcome for t, _, _, r in rows if (t.case, t.model) == (case, model) and r and t.prompt.form.closed]
            pairs = list(combinations(said, 2))
            shares.append(sum(a is not b for a, b in pairs) / len(pairs) if pairs else 0.0)
        flips[case] = sum(shares) / 2
        judged = [(r.outcome, label) for t, label, _, r in rows if t.case == case and r and t.prompt.form.closed]
        right[case] = sum(o is (Outcome.POSITIVE if label else Outcome.NEGATIVE) for o, label in judged) / len(judged)
    orders = (
        sorted(cases, key=lambda c: -round(flips[c], 12)),
        sorted(cases, key=lambda c: -round(_likely_wrong(rows, c), 12)),
        sorted(cases, key=lambda c: -round(right[c], 12)),
    )
    chosen: dict[str, str] = {}
    for rank in range(len(cases)):
        for order, why in zip(orders, WHY, strict=True):
            if len(chosen) < count:
                chosen.setdefault(order[rank], why)
    return list(chosen.items())


def _likely_wrong(rows: list[Row], case: str) -> float:
    """The mean probability that the margins give the wrong answer."""
    mine = [(a.answer.margin, y) for t, y, a, _ in rows if t.case == case and t.prompt.form.closed and a.answer.margin is not None]
    return sum(1 / (1 + math.exp(m if y else -m)) for m, y in mine) / len(mine)


def test_without_margins_the_most_often_wrong_is_shown(shown: Path) -> None:
    panels = [replace(p, margin=np.full(p.margin.shape, np.nan)) for p in Results.open(shown).panels]
    chosen = _worth_seeing(panels, 3)
    assert [why for _, why in chosen] == ["answers depend most on the wording", "most often answered wrongly", WHY[2]]


def test_images_may_be_asked_for_and_left_out_whatever_the_study_says(shown: Path, tmp_path: Path) -> None:
    """Without images there is no pixel, and no name of a file or a patient."""
    results = Results.open(shown)
    assert "data:image/png" in results.report(tmp_path / "as-it-says.html").read_text(encoding="utf-8")
    without = results.report(tmp_path / "without.html", images=False).read_text(encoding="utf-8")
    assert "data:image" not in without
    assert "<img" not in without
    told = without + (tmp_path / "without.md").read_text(encoding="utf-8")
    names = [path.stem for path in (shown.parent / "images").rglob("*.png")]
    assert len(names) == 12
    assert not [name for name in names if re.search(rf"\b{re.escape(name)}\b", told)]
    assert "data:image/png" in results.report(tmp_path / "with.html", images=True).read_text(encoding="utf-8")


def _by_case(results: Results, rows: list[Row]) -> list[Row]:
    """The rows, cases in the order of the plan: that of the panels."""
    order = {case: i for i, case in enumerate(results.panels[0].cases)}
    return sorted(rows, key=lambda row: order[row[0].case])


def test_examples_are_the_cases_they_say_they_are(shown: Path, view: ReportView, rows: list[Row]) -> None:
    expected = _expected(_by_case(Results.open(shown), rows), 4)
    assert [(e.case, e.why) for e in view.examples] == expected
    labels = {trial.case: label for trial, label, *_ in rows}
    assert all(e.label == labels[e.case] for e in view.examples)


def test_answers_are_the_models_own_with_the_span_of_their_reading(view: ReportView, rows: list[Row]) -> None:
    found = {(t.case, t.model, t.prompt.name): (t, response, reading) for t, _, response, reading in rows}
    seen: Counter[Status] = Counter()
    for example in view.examples:
        closed = {(m, p) for (case, m, p), (t, *_) in found.items() if case == example.case and t.prompt.form.closed}
        assert {(a.model, a.prompt) for a in example.answers} == closed
        for a in example.answers:
            trial, response, reading = found[example.case, a.model, a.prompt]
            seen[response.answer.status] += 1
            assert (a.question, a.margin) == (trial.prompt.text, response.answer.margin)
            if response.answer.status is Status.ERROR:
                assert (a.text, a.outcome, a.span) == (f"(no answer: {response.answer.error})", None, None)
                continue
            assert reading is not None
            assert (a.text, a.outcome, a.span) == (response.answer.text, reading.outcome, reading.span)
            if a.span is not None:
                assert 0 <= a.span[0] <= a.span[1] <= len(a.text)
    assert seen[Status.OK] > 0


def test_images_are_shown_where_the_study_asks(view: ReportView) -> None:
    for example in view.examples:
        assert example.png is not None
        assert example.png.startswith(PNG)
        with Image.open(io.BytesIO(example.png)) as picture:
            assert max(picture.size) == LARGEST_SIDE
    assert render_html(view).count("data:image/png;base64,") == len(view.examples)


def test_no_pixel_leaves_the_run_unasked(finished: Path) -> None:
    view = Results.open(finished).view()
    assert view.examples
    assert all(example.png is None for example in view.examples)
    for text in (render_html(view), render_markdown(view)):
        assert "data:image" not in text
        assert "iVBORw0KGgo" not in text  # how every PNG begins in base64


def test_no_file_name_is_in_the_report(shown: Path, view: ReportView) -> None:
    """File names carry patients' numbers: they stay in the run folder's cases.csv."""
    names = [p.stem for p in (shown.parent / "images").rglob("*.png")]
    assert len(names) == 12
    for text in (render_html(view), render_markdown(view)):
        assert not [name for name in names if name in text]


def test_a_lost_image_leaves_its_example_without_a_picture(tmp_path: Path) -> None:
    run(Study.load(write_study(tmp_path, SHOWN)), tmp_path / "run")
    results = Results.open(tmp_path / "run")
    pictures = results._images()["pneumonia_cxr"]
    assert all(_png(case) is not None for case in pictures.values())
    for path in (tmp_path / "images").rglob("*.png"):
        path.unlink()
    assert all(_png(case) is None for case in pictures.values())


def test_the_same_run_gives_the_same_bytes(shown: Path, view: ReportView) -> None:
    again = Results.open(shown).view()
    assert render_html(again) == render_html(view)
    assert render_markdown(again) == render_markdown(view)


def test_a_report_is_light(view: ReportView) -> None:
    assert len(render_html(view).encode("utf-8")) <= 6_000_000


def test_no_examples_where_none_are_wanted(tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY + "\n[report]\nexamples = 0\n")
    run(Study.load(study), tmp_path / "run")
    assert Results.open(tmp_path / "run").view().examples == ()
