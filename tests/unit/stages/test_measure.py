"""Measuring: the panels are the ledger's answers, joined by brute force in the test."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from palpate.errors import RunError, UnknownName
from palpate.executors.local import LocalExecutor
from palpate.nouns import OUTCOME_CODE, OUTCOMES, Outcome, Panel
from palpate.registry import parts
from palpate.stages.ask import ask
from palpate.stages.measure import choose, measure, panels
from palpate.stages.plan import plan
from palpate.stages.read import read
from palpate.store.ledger import Ledger
from palpate.study import Study
from small import STUDY, write_study

TEXT = STUDY.replace(
    'prompts = "reference"', 'prompts = "reference"\ndescribe = true\nrepeats = 2\nperturbations = ["none", "gaussian_noise-1"]'
).replace("accuracy = 0.9", "accuracy = 0.9\nerror_rate = 0.2")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study.load(write_study(tmp_path_factory.mktemp("study"), TEXT))


@pytest.fixture(scope="module")
def ledger(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite", create=True) as book:
        planned = plan(study)
        planned.write(book)
        ask(planned, book, LocalExecutor(1, study.seed))
        read(study, book)
        yield book


@pytest.fixture(scope="module")
def found(study: Study, ledger: Ledger) -> list[Panel]:
    return list(panels(study, ledger))


def test_measures_calculate_on_one_thread_and_leave_the_others_as_they_were(
    study: Study, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two threads, which a product of matrices this small is shared out to, one would wait for the other."""
    seen: list[set[int]] = []

    def threads() -> set[int]:
        return {int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"}

    class Looking:
        def measure(self, table: list[Panel], settings: object) -> list[object]:
            seen.append(threads())
            return []

    monkeypatch.setattr("palpate.stages.measure.choose", lambda names: ([Looking()], set()))
    with threadpool_limits(2):
        measure(study, ledger)
        seen.append(threads())
    assert seen == [{1}, {2}]


def test_one_panel_per_task_model_and_perturbation(found: list[Panel]) -> None:
    assert [(p.task, p.model, str(p.perturbation)) for p in found] == [
        ("pneumonia_cxr", model, perturbation) for model in ("base", "tuned") for perturbation in ("none", "gaussian_noise-1")
    ]
    assert {p.outcome.shape for p in found} == {(12, 12, 2)}  # the two descriptions are no closed prompts


def test_arrays_are_those_of_a_join_by_hand(study: Study, ledger: Ledger, found: list[Panel]) -> None:
    """Each answer looked up one by one, in the database itself, by what it was asked as."""
    db = sqlite3.connect(ledger.path)
    query = (
        "SELECT r.status, r.margin, r.mass, (SELECT outcome FROM reading WHERE response = r.id AND method LIKE 'rules@2+%')"
        " FROM response r"
        " JOIN model m ON m.id = r.model JOIN case_ c ON c.id = r.case_ JOIN perturbation v ON v.id = r.perturbation"
        " JOIN prompt p ON p.id = r.prompt WHERE m.name=? AND c.name=? AND v.name=? AND v.severity=?"
        " AND json_extract(p.record, '$.name')=? AND r.repeat=? ORDER BY r.attempt DESC"
    )
    for panel in found:
        errors = 0
        for i, case in enumerate(panel.cases):
            for j, prompt in enumerate(panel.prompts):
                for k in range(2):
                    place = (panel.model, case, panel.perturbation.name, panel.perturbation.severity, prompt.name, k)
                    status, margin, mass, outcome = db.execute(query, place).fetchone()
                    errors += status == "error"
                    assert panel.outcome[i, j, k] == (-1 if outcome is None else OUTCOME_CODE[Outcome(outcome)])
                    assert (outcome is None) == (status == "error")
                    np.testing.assert_equal(panel.margin[i, j, k], np.nan if margin is None else margin)
                    np.testing.assert_equal(panel.mass[i, j, k], np.nan if mass is None else mass)
        assert panel.n_errors == errors == (panel.outcome == -1).sum()
        assert (errors > 0) == (panel.model == "tuned")
    db.close()


def test_labels_and_clusters_are_the_cases(study: Study, found: list[Panel]) -> None:
    cases = plan(study).cases["pneumonia_cxr"].cases
    for panel in found:
        assert panel.cases == tuple(c.id for c in cases)
        assert panel.label.tolist() == [c.label for c in cases]
        together = [[a.group == b.group for b in cases] for a in cases]
        assert (panel.cluster[:, None] == panel.cluster[None, :]).tolist() == together
        assert sorted(set(panel.cluster.tolist())) == list(range(6))


def test_the_model_is_as_right_as_planted(found: list[Panel]) -> None:
    tuned = found[2]
    codes = tuned.outcome
    right = np.where(
        tuned.label[:, None, None] == 1, codes == OUTCOME_CODE[Outcome.POSITIVE], codes == OUTCOME_CODE[Outcome.NEGATIVE]
    )
    assert right[codes >= 0].mean() > 0.75
    assert set(np.unique(codes)) <= set(range(-1, len(OUTCOMES)))


def test_measuring_twice_gives_the_same(study: Study, ledger: Ledger) -> None:
    assert measure(study, ledger) == measure(study, ledger)


def test_a_corrected_label_needs_neither_model_nor_reading(study: Study, ledger: Ledger, tmp_path: Path) -> None:
    copy = tmp_path / "ledger.sqlite"
    with sqlite3.connect(ledger.path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
    cases = plan(study).cases["pneumonia_cxr"].cases
    with Ledger(copy) as book:
        book.add_cases("pneumonia_cxr", [replace(cases[0], label=1 - cases[0].label)])
        (before, after) = (next(iter(panels(study, b))) for b in (ledger, book))
    assert (before.label != after.label).tolist() == [True] + [False] * 11
    np.testing.assert_array_equal(before.outcome, after.outcome)


def test_an_unread_ledger_has_no_outcomes(study: Study, ledger: Ledger, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite", create=True) as book:
        plan(study).write(book)
        (panel, *_) = panels(study, book)
        assert (panel.outcome == -1).all()
        assert panel.n_errors == 0  # never asked is no error
        estimates = measure(study, book)
    assert estimates
    assert all(e.value is None and e.reason for e in estimates if e.measure.startswith("ba_"))


def test_an_empty_ledger_says_what_to_do(study: Study, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite", create=True) as book, pytest.raises(RunError, match="nothing was asked") as fault:
        measure(study, book)
    assert "palpate run" in fault.value.hint


def test_a_measure_or_an_estimate_is_chosen_by_name(study: Study, ledger: Ledger) -> None:
    every = measure(study, ledger)
    for name, part in parts("measures").items():
        assert measure(study, ledger, [name]) == [e for e in every if e.measure in part.estimates]
    assert measure(study, ledger, ["ba_all"]) == [e for e in every if e.measure == "ba_all"] != []
    assert {e.measure for e in measure(study, ledger, ["ba_all", "refusal_rate"])} == {"ba_all", "refusal_rate"}


def test_an_unknown_measure_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'ba_all'"):
        choose(["ba_al"])
    measures, wanted = choose([])
    assert len(measures) == len(parts("measures"))
    assert wanted == set()
