"""Reading: every answer once by each method; errors are never read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from palpate import registry
from palpate.executors.local import LocalExecutor
from palpate.nouns import Answer, Outcome, Prompt, Status
from palpate.parts import ReadText, Rubric
from palpate.stages import read as reading
from palpate.stages.ask import ask
from palpate.stages.plan import plan
from palpate.stages.read import read
from palpate.store.ledger import Ledger
from palpate.study import Study

TRIALS = 2 * 12 * 12


class Always:
    """A second method, that notes what it was shown."""

    name: ClassVar[str] = "always"
    by: ClassVar[str] = "always@7"

    def __init__(self) -> None:
        self.shown: list[tuple[str, Prompt, Rubric]] = []

    def read(self, text: str, prompt: Prompt, rubric: Rubric) -> ReadText:
        self.shown.append((text, prompt, rubric))
        return ReadText(Outcome.HEDGE, (0, 1), "always")


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> Always:
    """The second method, registered."""
    method, known = Always(), registry.parts
    monkeypatch.setattr(registry, "parts", lambda folder: {**known(folder), **({"always": method} if folder == "readings" else {})})
    return method


@pytest.fixture
def study(small_study: Path) -> Study:
    return Study.load(small_study)


@pytest.fixture
def ledger(study: Study, tmp_path: Path) -> Iterator[Ledger]:
    """Everything asked, nothing read."""
    with Ledger(tmp_path / "ledger.sqlite", create=True) as book:
        planned = plan(study)
        planned.write(book)
        ask(planned, book, LocalExecutor(1, study.seed))
        yield book


def test_everything_is_read_once(study: Study, ledger: Ledger) -> None:
    assert read(study, ledger) == TRIALS
    assert read(study, ledger) == 0
    assert (ledger.answers(study.reading_by()).outcome >= 0).all()


def test_pages_do_not_matter(study: Study, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH", 7)
    assert read(study, ledger) == TRIALS
    assert read(study, ledger) == 0


def test_a_second_method_adds_readings_and_the_first_stay(study: Study, ledger: Ledger, always: Always) -> None:
    read(study, ledger)
    before = ledger.answers(study.reading_by()).outcome.tolist()
    assert read(replace(study, reading="always"), ledger) == TRIALS
    assert ledger.answers(study.reading_by()).outcome.tolist() == before
    key = next(ledger.texts())[0]
    assert [(r.by, r.span, r.rule) for r in ledger.readings(key) if r.by.startswith("always@7+")] == [
        (replace(study, reading="always").reading_by(), (0, 1), "always")
    ]
    assert len(ledger.readings(key)) == 2


def test_a_changed_rubric_reads_everything_anew_and_the_old_readings_stay(study: Study, ledger: Ledger) -> None:
    read(study, ledger)
    (task,) = study.tasks
    other = replace(study, tasks=(replace(task, rubric=replace(task.rubric, positive=("haziness",))),))
    assert other.reading_by() != study.reading_by()
    assert read(other, ledger) == TRIALS
    assert (ledger.answers(study.reading_by()).outcome >= 0).all()
    assert (ledger.answers(other.reading_by()).outcome >= 0).all()
    assert read(other, ledger) == read(study, ledger) == 0


def test_a_method_is_shown_text_prompt_and_rubric(study: Study, ledger: Ledger, always: Always) -> None:
    read(replace(study, reading="always"), ledger)
    (task,) = study.tasks
    assert {p for _, p, _ in always.shown} == set(task.prompts)
    assert {id(r) for _, _, r in always.shown} == {id(task.rubric)}
    assert {t for t, _, _ in always.shown} == {text for _, _, _, text in ledger.texts()}


def test_the_same_short_answer_to_the_same_prompt_is_read_once(study: Study, ledger: Ledger, always: Always) -> None:
    shown = [(p.name, t) for t, p, _ in _read_by(always, study, ledger)]
    assert len(set(shown)) == len(shown) < TRIALS


def test_what_is_remembered_is_bounded(study: Study, ledger: Ledger, always: Always, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palpate.stages.read.REMEMBERED", 1)
    shown = [(p.name, t) for t, p, _ in _read_by(always, study, ledger)]
    assert len(set(shown)) < len(shown) <= TRIALS


def test_a_long_answer_is_read_each_time(study: Study, ledger: Ledger, always: Always, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palpate.stages.read.SHORT", 0)
    assert len(_read_by(always, study, ledger)) == TRIALS


def _read_by(method: Always, study: Study, ledger: Ledger):
    assert read(replace(study, reading="always"), ledger) == TRIALS
    return method.shown


def statuses(study: Study, tmp_path: Path, status: Status, text: str) -> Ledger:
    """A ledger in which every trial of the first model ended so."""

    class Says(LocalExecutor):
        def run(self, model, batches):
            for batch in batches:
                yield (
                    batch,
                    [[Answer(status, text, error="x" if status is Status.ERROR else None) for _ in b.trials] for b in batch],
                )

    book = Ledger(tmp_path / f"{status}.sqlite", create=True)
    planned = plan(replace(study, models=study.models[:1], lineages=()))
    planned.write(book)
    ask(planned, book, Says())
    return book


@pytest.mark.parametrize(
    ("status", "text", "count", "outcome"),
    [
        (Status.BLOCKED, "", 144, Outcome.REFUSE_POLICY),
        (Status.BLOCKED, "Yes", 144, Outcome.REFUSE_POLICY),
        (Status.OK, "", 144, Outcome.UNPARSED),  # an empty text is an answer
        (Status.ERROR, "", 0, None),
    ],
)
def test_how_it_ended_decides_what_is_read(
    study: Study, tmp_path: Path, status: Status, text: str, count: int, outcome: Outcome | None
) -> None:
    with statuses(study, tmp_path, status, text) as book:
        assert read(study, book) == count
        found = {r.outcome for key, *_ in book.texts() for r in book.readings(key)}
        assert found == ({outcome} if outcome else set())


def test_a_truncated_answer_is_read(study: Study, tmp_path: Path) -> None:
    with statuses(study, tmp_path, Status.TRUNCATED, "No, this image is") as book:
        read(study, book)
        by_prompt = {t.prompt.name: book.readings(t.key)[0].outcome for b in plan(study).blocks(study.models[0]) for t in b.trials}
    assert by_prompt["target.none"] is Outcome.NEGATIVE
    assert by_prompt["normal.none"] is Outcome.POSITIVE


def test_answers_first_asked_under_another_task_are_read(study: Study, ledger: Ledger) -> None:
    """The run was stopped before reading, and its task renamed meanwhile: the answers are shared, so they must be read."""
    renamed = replace(study, tasks=(replace(study.tasks[0], name="chest"),))
    planned = plan(renamed)
    planned.write(ledger)
    done = ask(planned, ledger, LocalExecutor(1, study.seed))
    assert done.reused == done.total
    assert read(renamed, ledger) == TRIALS


def test_reading_ahead_says_what_reading_will_say_and_writes_nothing(study: Study, ledger: Ledger) -> None:
    ahead, found, after = reading.Ahead(study), {}, 0
    while some := ahead.read(ledger, after, 50):
        assert len(some) <= 50
        found.update(some)
        after = some[-1][0]
    assert list(ledger._select("SELECT count(*) FROM reading")) == [(0,)]
    read(study, ledger)
    by = study.reading_by(ledger)
    kept = ledger._select("SELECT response, method, outcome, low, high, rule FROM reading")
    told = [(row, r.by, r.outcome, *(r.span or (None, None)), r.rule) for row, r in found.items() if r is not None]
    assert sorted(kept) == sorted(told)
    assert {r.by for r in found.values() if r is not None} == {by}
    assert ahead.read(ledger, 0, 50) == []


def test_reading_goes_on_where_it_was_interrupted(study: Study, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BATCH", 50)
    pages: list[int] = []
    append: Callable[..., None] = Ledger.append_readings

    def interrupted(self: Ledger, readings: list[object]) -> None:
        if len(pages) == 2:
            raise KeyboardInterrupt
        pages.append(len(readings))
        append(self, readings)

    monkeypatch.setattr(Ledger, "append_readings", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(study, ledger)
    monkeypatch.setattr(Ledger, "append_readings", append)
    assert read(study, ledger) == TRIALS - 100
