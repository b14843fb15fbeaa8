"""Asking: everything once, failures again, nothing twice, and no answer depends on what was answered before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from palpate.errors import RunError
from palpate.executors.local import LocalExecutor
from palpate.nouns import Answer, Block, Status, Tally
from palpate.parts import ModelSpec
from palpate.stages.ask import ask
from palpate.stages.costs import spent
from palpate.stages.plan import Plan, plan
from palpate.store.ledger import Ledger
from palpate.study import Study
from small import STUDY

Edit = Callable[[str, str], Path]
ONE_MODEL = STUDY[: STUDY.index('[[models]]\nname = "tuned"')] + STUDY[STUDY.index("[[tasks]]") : STUDY.index("[[pairs]]")]
TRIALS = 12 * 12


@dataclass
class Recording:
    """An executor that notes every batch and may put its own answers in place of the model's."""

    inner: LocalExecutor
    size: int = 4
    answers: Callable[[str], Answer | None] = lambda key: None
    stop_after: int | None = None

    def __post_init__(self) -> None:
        self.batches: list[list[Block]] = []

    def batch_size(self, model: ModelSpec) -> int:
        return self.size

    def check(self, model: ModelSpec, blocks: list[Block], on_step: Any = None, coming: int = 1) -> dict[str, Any]:
        self.coming = coming
        return {}

    def run(self, model: ModelSpec, batches: Iterable[Any]) -> Iterator[tuple[Any, list[list[Answer]]]]:
        for batch, given in self.inner.run(model, batches):
            if self.stop_after is not None and len(self.batches) == self.stop_after:
                raise KeyboardInterrupt
            self.batches.append(batch)
            yield (
                batch,
                [[self.answers(t.key) or a for t, a in zip(b.trials, g, strict=True)] for b, g in zip(batch, given, strict=True)],
            )

    def observed(self, model: ModelSpec) -> dict[str, Any]:
        return {}

    @property
    def asked(self) -> list[str]:
        return [t.key for batch in self.batches for block in batch for t in block.trials]


def load(folder: Path, text: str = ONE_MODEL) -> Study:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return Study.load(path)


@pytest.fixture
def planned(small_study: Path) -> Plan:
    return plan(load(small_study.parent))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite", create=True) as book:
        yield book


def do(planned: Plan, ledger: Ledger, **more: Any) -> tuple[Tally, Recording]:
    planned.write(ledger)
    executor = Recording(LocalExecutor(1, planned.study.seed), **more)
    return ask(planned, ledger, executor), executor  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "workers", "coming"), [(4, None, 1), (4, 2, 2), (4, 3, 3), (4, 8, 3), (6, 3, 2), (12, 8, 1)])
def test_no_more_workers_load_a_model_than_there_are_batches_left(
    planned: Plan, ledger: Ledger, size: int, workers: int | None, coming: int
) -> None:
    """Twelve images, so many at once: that is known before the model tests itself, and all are asked."""
    study = replace(planned.study, ask=replace(planned.study.ask, workers=workers))
    tally, executor = do(replace(planned, study=study), ledger, size=size)
    assert executor.coming == coming
    assert (tally.done, len(executor.asked)) == (TRIALS, TRIALS)


def test_one_batch_left_is_one_worker(planned: Plan, ledger: Ledger) -> None:
    study = replace(planned.study, ask=replace(planned.study.ask, workers=8))
    wide = replace(planned, study=study)
    with pytest.raises(KeyboardInterrupt):
        do(wide, ledger, stop_after=2)
    _, executor = do(wide, ledger)
    assert executor.coming == len(executor.batches) == 1


def test_whoever_asks_is_told_what_the_machine_that_planned_decided(planned: Plan, ledger: Ledger) -> None:
    """A worker elsewhere would decide for itself, and be another model than the plan's."""
    told: list[ModelSpec] = []

    class Told(LocalExecutor):
        def batch_size(self, model: ModelSpec) -> int:
            told.append(model)
            return super().batch_size(model)

        def check(self, model: ModelSpec, blocks: Any, on_step: Any = None, coming: int = 1) -> Any:
            told.append(model)
            return {}

        def run(self, model: ModelSpec, batches: Any, allowance: Any = None) -> Any:
            told.append(model)
            return super().run(model, batches, allowance)

    base = replace(planned.fingerprints["base"], settled={"blocks_at_once": 3})
    settled = replace(planned, fingerprints={"base": base})
    settled.write(ledger)
    assert ask(settled, ledger, Told(1, planned.study.seed)).done == TRIALS
    assert [spec.options["blocks_at_once"] for spec in told] == [3, 3, 3]
    assert settled.settled(planned.study.models[0]) == told[0]
    assert planned.settled(planned.study.models[0]) is planned.study.models[0]


def test_everything_is_asked_once(planned: Plan, ledger: Ledger) -> None:
    done, executor = do(planned, ledger)
    assert done == Tally(TRIALS, TRIALS, 0, 0, "base")
    assert len(executor.asked) == len(set(executor.asked)) == TRIALS
    assert {key.hex() for key in ledger.attempts()} == set(executor.asked)
    assert set(ledger.attempts().values()) == {(1, False)}


def test_nothing_is_asked_again(planned: Plan, ledger: Ledger) -> None:
    do(planned, ledger)
    before = list(ledger.texts())
    done, executor = do(planned, ledger)
    assert done == Tally(TRIALS, TRIALS, TRIALS, 0, "base")
    assert executor.batches == []
    assert list(ledger.texts()) == before


def test_what_is_answered_is_passed_over_without_its_trials_being_made(planned: Plan, ledger: Ledger, monkeypatch) -> None:
    do(planned, ledger)
    monkeypatch.setattr(Ledger, "attempts", None)  # and without looking up any of it by itself
    monkeypatch.setattr("palpate.stages.plan.Outline.block", None)
    done, executor = do(planned, ledger)
    assert (done.done, done.reused, executor.batches) == (TRIALS, TRIALS, [])


def test_the_second_round_looks_at_what_failed_alone(small_study: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan(load(small_study.parent))
    (first, *_) = (t for block in planned.blocks(planned.study.models[0]) for t in block.trials)
    looked: list[int] = []
    attempts = Ledger.attempts

    def watched(self: Ledger, of: list[bytes]) -> dict[bytes, tuple[int, bool]]:
        looked.append(len(of))
        return attempts(self, of)

    monkeypatch.setattr(Ledger, "attempts", watched)
    done, executor = do(planned, ledger, answers=lambda key: Answer(Status.ERROR, error="x") if key == first.key else None)
    assert looked == [12] * (12 + 2)  # every image once, and the one of the failure in two more rounds
    assert executor.asked.count(first.key) == 3
    assert done.errors == 1


def test_another_study_shares_the_answers(planned: Plan, ledger: Ledger, small_study: Path) -> None:
    do(planned, ledger)
    text = ONE_MODEL.replace('name = "base"', 'name = "alias"').replace(
        'name = "pneumonia_cxr"', 'name = "chest"\ntask = "pneumonia_cxr"'
    )
    done, executor = do(plan(load(small_study.parent, text)), ledger)
    assert (done.reused, executor.asked) == (TRIALS, [])


def test_what_is_new_in_a_study_is_asked_alone(planned: Plan, ledger: Ledger, small_study: Path) -> None:
    do(planned, ledger)
    wider = plan(load(small_study.parent, ONE_MODEL.replace("seed = 3", 'seed = 3\nperturbations = ["none", "blank"]')))
    done, executor = do(wider, ledger)
    assert done == Tally(2 * TRIALS, 2 * TRIALS, TRIALS, 0, "base")
    assert {str(b.perturbation) for batch in executor.batches for b in batch} == {"blank"}


def test_progress_only_grows_and_ends_at_the_total(planned: Plan, ledger: Ledger) -> None:
    planned.write(ledger)
    seen: list[Tally] = []
    ask(planned, ledger, Recording(LocalExecutor()), seen.append)  # type: ignore[arg-type]
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == seen[-1].total == TRIALS
    assert len(seen) > 3


def test_until_the_first_answers_it_is_said_what_is_being_done(planned: Plan, ledger: Ledger) -> None:
    planned.write(ledger)
    seen: list[Tally] = []
    ask(planned, ledger, LocalExecutor(), seen.append)
    assert (seen[0].done, seen[0].model, seen[0].doing) == (0, "base", f"first batch, {TRIALS} questions")
    assert {t.doing for t in seen[1:]} == {""}
    assert seen[1].done > 0
    seen.clear()
    ask(planned, ledger, LocalExecutor(), seen.append)
    assert {t.doing for t in seen} == {""}, "nothing is left to ask: nothing is loaded"


def test_the_first_batch_is_counted_in_questions_whatever_they_show(small_study: Path, ledger: Ledger) -> None:
    """An image under three perturbations is one image, and under ``no_image`` none."""
    planned = plan(load(small_study.parent, ONE_MODEL.replace("seed = 3", 'seed = 3\nperturbations = ["no_image", "blank"]')))
    planned.write(ledger)
    seen: list[Tally] = []
    size = LocalExecutor().batch_size(planned.settled(planned.study.models[0]))
    ask(planned, ledger, LocalExecutor(), seen.append)
    assert seen[0].doing == f"first batch, {12 * min(size, 24)} questions"
    assert seen[0].total == 24 * 12


class Mute(LocalExecutor):
    """Gives nothing back, as where a budget was spent before the first question of a model."""

    def run(self, model: ModelSpec, batches: Any, allowance: Any = None) -> Iterator[Any]:
        yield from ()


def test_a_model_that_gave_no_answer_does_nothing_more_at_the_end(planned: Plan, ledger: Ledger) -> None:
    planned.write(ledger)
    seen: list[Tally] = []
    done = ask(planned, ledger, Mute(), seen.append)
    assert [t.doing for t in seen] == [f"first batch, {TRIALS} questions", ""]
    assert (done.done, done.unasked, done.doing) == (0, TRIALS, "")


# ---------------------------------------------------------------- failures


def fails(rate: float) -> str:
    return ONE_MODEL.replace("refusal_rate = 0.05", f"error_rate = {rate}")


def test_a_failure_is_asked_again_so_often_and_then_reported(small_study: Path, ledger: Ledger) -> None:
    planned = plan(load(small_study.parent, fails(0.3) + "[ask]\nattempts = 4\n"))
    done, executor = do(planned, ledger)
    attempts = ledger.attempts()
    failed = {key for key, (_, error) in attempts.items() if error}
    assert 20 < len(failed) < 70
    assert {attempts[key] for key in failed} == {(4, True)}
    assert {attempts[key] for key in attempts.keys() - failed} == {(1, False)}
    assert (done.done, done.errors) == (TRIALS, len(failed))
    assert len(executor.asked) == TRIALS + 3 * len(failed)
    assert {cause for status, cause in ledger.ended().values() if status is Status.ERROR} == {"planted error"}


def test_another_run_asks_the_failed_ones_alone(small_study: Path, ledger: Ledger) -> None:
    planned = plan(load(small_study.parent, fails(0.3) + "[ask]\nattempts = 1\n"))
    do(planned, ledger)
    failed = {key.hex() for key, (_, error) in ledger.attempts().items() if error}
    done, second = do(planned, ledger, answers=lambda key: Answer(Status.OK, "Yes"))
    assert set(second.asked) == failed
    assert len(second.asked) == len(failed)
    assert (done.done, done.reused, done.errors) == (TRIALS, TRIALS - len(failed), 0)
    assert {ledger.attempts()[bytes.fromhex(key)] for key in failed} == {(2, False)}


def test_an_error_then_an_answer(small_study: Path, ledger: Ledger) -> None:
    planned = plan(load(small_study.parent, fails(0.3).replace("error_rate", "error_attempts = 1\nerror_rate")))
    first: set[str] = set()

    def once(key: str) -> Answer | None:
        if key in first:
            return Answer(Status.OK, "Yes")
        first.add(key)
        return None

    done, _ = do(planned, ledger, answers=once)
    assert done.errors == 0
    assert not any(error for _, error in ledger.attempts().values())
    assert {attempt for attempt, _ in ledger.attempts().values()} == {1, 2}


def test_retries_stop_as_soon_as_nothing_fails(planned: Plan, ledger: Ledger) -> None:
    _, executor = do(replace(planned, study=replace(planned.study, ask=replace(planned.study.ask, attempts=50))), ledger)
    assert len(executor.asked) == TRIALS


def test_an_image_deleted_after_planning_is_an_error_and_the_rest_is_answered(
    planned: Plan, ledger: Ledger, small_study: Path
) -> None:
    gone, changed = sorted((small_study.parent / "images").rglob("*.png"))[:2]
    gone.unlink()
    changed.write_bytes(b"something else")
    done, _ = do(planned, ledger)
    assert (done.done, done.errors) == (TRIALS, 24)
    ended = ledger.ended()
    causes = {cause for status, cause in ended.values() if status is Status.ERROR}
    assert len(ended) == TRIALS
    assert all(cause.startswith("the image cannot be opened") for cause in causes)
    assert not any(gone.name in cause or changed.name in cause for cause in causes)  # a name is an identifier


@pytest.mark.parametrize("status", [Status.OK, Status.TRUNCATED, Status.BLOCKED])
def test_all_but_errors_are_answers(planned: Plan, ledger: Ledger, status: Status) -> None:
    do(planned, ledger, answers=lambda key: Answer(status))
    done, executor = do(planned, ledger)
    assert (done.reused, executor.asked) == (TRIALS, [])


# ---------------------------------------------------------------- duplicates


@pytest.mark.parametrize("ahead", [False, True])
def test_the_same_question_of_the_same_image_is_asked_once(small_study: Path, ledger: Ledger, ahead: bool) -> None:
    images = small_study.parent / "images" / "normal"
    for i in range(3):
        (images / f"copy{i}.png").write_bytes((images / "person1000_0.png").read_bytes())
    planned = plan(load(small_study.parent))
    assert planned.n_trials == 15 * 12

    class Ahead(LocalExecutor):
        """Takes every batch before it gives back the first: workers that run ahead."""

        def run(self, model: ModelSpec, batches: Iterable[Any]) -> Iterator[tuple[Any, list[list[Answer]]]]:
            yield from super().run(model, list(batches))

    planned.write(ledger)
    executor = Recording(Ahead() if ahead else LocalExecutor(), size=1)
    done = ask(planned, ledger, executor)  # type: ignore[arg-type]
    assert len(executor.asked) == len(set(executor.asked)) == TRIALS
    assert set(ledger.attempts().values()) == {(1, False)}
    assert (done.done, done.reused) == (15 * 12, 3 * 12)


# ---------------------------------------------------------------- batches and resuming


def test_batches_do_not_depend_on_what_was_answered(planned: Plan, tmp_path: Path) -> None:
    def cases(executor: Recording) -> list[list[str]]:
        return [[b.case.id for b in batch] for batch in executor.batches]

    with Ledger(tmp_path / "whole.sqlite", create=True) as whole:
        _, uninterrupted = do(planned, whole)
    with Ledger(tmp_path / "cut.sqlite", create=True) as cut:
        with pytest.raises(KeyboardInterrupt):
            do(planned, cut, stop_after=1)
        assert len(cut.attempts()) == 4 * 12  # what was finished is kept
        _, resumed = do(planned, cut)
        assert cases(resumed) == cases(uninterrupted)[1:]
    with Ledger(tmp_path / "whole.sqlite") as whole, Ledger(tmp_path / "cut.sqlite") as cut:
        assert list(whole.texts()) == list(cut.texts())


def test_numbers_are_rounded_and_halves_of_characters_replaced(planned: Plan, ledger: Ledger) -> None:
    given = Answer(Status.OK, "Yes \ud83e and", 1.23456789, 0.98765432)
    _, executor = do(planned, ledger, answers=lambda key: given)
    (response,) = ledger.responses(executor.asked[0])
    assert (response.answer.text, response.answer.margin, response.answer.mass) == ("Yes ? and", 1.2346, 0.9877)


# ---------------------------------------------------------------- stopping and money


def test_stopping_finishes_what_is_under_way(planned: Plan, ledger: Ledger) -> None:
    planned.write(ledger)
    executor = Recording(LocalExecutor(1, planned.study.seed))
    entered: list[str] = []

    @contextmanager
    def stopping() -> Iterator[Callable[[], bool]]:
        entered.append("in")
        yield lambda: bool(executor.batches)
        entered.append("out")

    with pytest.raises(KeyboardInterrupt):
        ask(planned, ledger, executor, stopping=stopping())  # type: ignore[arg-type]
    assert len(ledger.attempts()) == 4 * 12, "the batch is whole"
    assert entered == ["in"]
    done, resumed = do(planned, ledger)
    assert (done.done, done.reused) == (TRIALS, 4 * 12)
    assert not set(resumed.asked) & set(executor.asked)


def test_a_worker_that_ctrl_c_ended_is_no_fault_of_the_run(planned: Plan, ledger: Ledger) -> None:
    class Broken(Recording):
        def run(self, model: ModelSpec, batches: Iterable[Any]) -> Iterator[tuple[Any, list[list[Answer]]]]:
            raise RunError("a worker process ended")
            yield

    planned.write(ledger)
    executor: Any = Broken(LocalExecutor(1, planned.study.seed))
    with pytest.raises(KeyboardInterrupt):
        ask(planned, ledger, executor, stopping=nullcontext(lambda: True))
    with pytest.raises(RunError):
        ask(planned, ledger, executor)


def test_money_is_that_of_every_sitting(ledger: Ledger, small_study: Path) -> None:
    priced = plan(load(small_study.parent, ONE_MODEL + '\n[prices.base]\ninput = 10\noutput = 20\ncurrency = "EUR"\n'))
    with pytest.raises(KeyboardInterrupt):
        do(priced, ledger, stop_after=1)
    tallies: list[Tally] = []
    ask(priced, ledger, Recording(LocalExecutor(1, 0)), tallies.append)  # type: ignore[arg-type]
    (cost,) = spent(priced.study, ledger)
    assert cost.money is not None
    assert tallies[-1].money == (("EUR", pytest.approx(cost.money)),)
    assert 0 < tallies[0].money[0][1] < cost.money


def test_what_has_no_price_is_given_no_money(planned: Plan, ledger: Ledger) -> None:
    assert do(planned, ledger)[0].money == ()
