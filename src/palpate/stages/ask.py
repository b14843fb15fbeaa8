"""ask: Trials → Responses. Asks what the ledger does not answer yet, and writes each finished batch in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from palpate.errors import ModelError, RunError
from palpate.executors import Executor
from palpate.nouns import Answer, Block, Perturbation, Price, Response, Status, Tally, Trial
from palpate.parts import BUDGET_SPENT, ModelSpec
from palpate.stages.capture import Capture
from palpate.stages.checks import checked
from palpate.stages.costs import allowance, check_prices, spent
from palpate.stages.plan import Outline, Plan, known
from palpate.stages.resume import over_sittings
from palpate.store.columns import KeyIndex
from palpate.store.earlier import environments
from palpate.store.ledger import Ledger

DECIMALS = 4  # of margin and mass: finer digits are the float noise of batch shapes and thread counts
Stopping = AbstractContextManager[Callable[[], bool]]
"""Entered while questions are asked; what it gives says whether no more are to be begun."""

Place = tuple[str, str, Perturbation]
Waiting = dict[bytes, int]
"""Key → attempts before this one, of what was handed out in this round and has no answer: as much as is under way, and failed."""


def ask(
    plan: Plan,
    ledger: Ledger,
    executor: Executor,
    on_progress: Callable[[Tally], None] | None = None,
    stopping: Stopping | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Tally:
    """Answer every trial of the plan that has no answer. Failed ones are asked again, ``study.ask.attempts`` times in all.

    Inner states, where the study wants them, are kept beside the ledger on the way. Returns the final tally. What is already
    answered is never asked again, under whatever study it was asked. Where the study's budget is spent the rest stays unasked.
    Raises ModelError where a model cannot go on; what it answered is kept. Where ``stopping`` says so, what is under way is
    finished and kept, and KeyboardInterrupt is raised. ``on_note`` is told what a model's self-test found that must be known.
    """
    check_prices(plan.study)
    with stopping or nullcontext(lambda: False) as stop:
        try:
            return _ask(plan, ledger, executor, _Count(plan.n_trials, on_progress, stop), on_note)
        except RunError:
            if stop():  # the terminal's Ctrl-C reached a worker that was not yet prepared for it
                raise KeyboardInterrupt from None
            raise


def _ask(plan: Plan, ledger: Ledger, executor: Executor, tally: _Count, on_note: Callable[[str], None] | None) -> Tally:
    capture = Capture(plan, ledger.path.parent)
    if plan.study.prices:
        tally.pay(*((c.currency, c.money) for c in spent(plan.study, ledger)))
    asking = _Asking(ledger, executor, tally, ledger.answered(), on_note)
    for model in plan.study.models:
        tally.model, tally.stopped, tally.doing, tally.price = model.name, "", "", plan.study.prices.get(model.name)
        tally.due += sum(plan.trials_by_task().values())
        plan = asking.rounds(plan, model, capture)
        tally.put_aside()
    tally.report()
    return tally.progress()


@dataclass(frozen=True)
class _Asking:
    """What asking one model after another needs. ``answered``: the keys of earlier sittings."""

    ledger: Ledger
    executor: Executor
    tally: _Count
    answered: KeyIndex
    on_note: Callable[[str], None] | None

    def rounds(self, plan: Plan, model: ModelSpec, capture: Capture, *, tested: bool = False) -> Plan:
        """Ask one model, ``study.ask.attempts`` times what fails. Returns the plan as it was asked: where its self-test made
        another model of it, that one's."""
        tally, counted = self.tally, (self.tally.done, self.tally.reused)
        size = self.executor.batch_size(plan.settled(model))
        for round_ in range(plan.study.ask.attempts):
            again, tally.failed_now = round_ > 0, 0
            passed = _Passed(self.answered, tally.failed_at if again else None)
            waiting: Waiting = {}
            tally.failed_at = set()
            batches = _pending(plan, model, self.ledger, waiting, size, tally, passed, capture)
            if not (again or tested):
                first = list(islice(batches, plan.study.ask.workers or 1))  # whatever is left for each to begin with
                batches, before = chain(first, batches), plan
                plan = self._tested(plan, model, first)
                if plan.model_digests[model.name] != before.model_digests[model.name]:
                    tally.done, tally.reused = counted  # what was passed over are another model's answers now
                    return self.rounds(plan, model, Capture(plan, self.ledger.path.parent), tested=True)
            self._put(plan, model, capture, batches, waiting, again)
            if tally.stop():
                raise KeyboardInterrupt
            if tally.stopped not in ("", BUDGET_SPENT):
                hint = "what was answered is kept: run the same command again to go on"
                raise ModelError(tally.stopped, where=f"model {model.name!r}", hint=hint)
            if tally.stopped or not tally.failed_now:
                break
        return plan

    def _tested(self, plan: Plan, model: ModelSpec, first: Sequence[Sequence[Block]]) -> Plan:
        """The plan after the model's self-test; a model of which nothing is left to ask is not loaded for it."""
        left = any(b.trials for batch in first for b in batch) or (first and _anything_left(plan, model, self.ledger))
        if not left:
            return plan
        plan = checked(plan, model, self.ledger, self.executor, self.on_note, self.tally.at, len(first))
        questions = sum(len(block.trials) for block in first[0])  # none: images that are only looked at
        self.tally.at("first batch" + (f", {questions:,} question{'' if questions == 1 else 's'}" if questions else ""))
        return plan

    def _put(
        self, plan: Plan, model: ModelSpec, capture: Capture, batches: Iterator[list[Block]], waiting: Waiting, again: bool
    ) -> None:
        """Put the batches to the model and keep what it answers."""
        limit = {} if plan.study.budget is None else {"allowance": allowance(plan.study, self.ledger, model)}
        try:
            for batch, answers in capture.run(self.executor, plan.settled(model), _Batches(batches, self.tally), **limit):
                _store(self.ledger, waiting, batch, answers, self.tally, again)
        finally:
            _record_observed(plan, self.ledger, model, self.executor.observed(model))


def _record_observed(plan: Plan, ledger: Ledger, model: ModelSpec, observed: Mapping[str, Any]) -> None:
    """What was found out about a server on the way stands beside what was known before; the identity is as it was.

    What answered in earlier sittings counts: a server that changed between two of them is said like one that changed in between.
    """
    if observed:
        planned, digest = plan.fingerprints[model.name], plan.model_digests[model.name]
        found = over_sittings(environments(ledger, model.name, digest), {**planned.environment, **observed})
        ledger.add_model(model.name, planned.identity, found)


@dataclass
class _Count:
    total: int
    on_progress: Callable[[Tally], None] | None
    stop: Callable[[], bool] = lambda: False
    due: int = 0  # of the models asked so far
    done: int = 0
    reused: int = 0
    errors: int = 0
    failed_now: int = 0
    failed_at: set[Place] = field(default_factory=set)
    model: str = ""
    stopped: str = ""  # why this model is asked no more
    unasked: int = 0
    price: Price | None = None
    money: dict[str, float] = field(default_factory=dict)
    doing: str = ""  # until the first answers of this model are there

    def progress(self) -> Tally:
        money = tuple(self.money.items())
        return Tally(self.done, self.total, self.reused, self.errors, self.model, self.unasked, money, self.doing)

    def at(self, doing: str) -> None:
        """Say what the model is doing, for it may take a minute."""
        self.doing = doing
        self.report()

    def pay(self, *costs: tuple[str, float | None]) -> None:
        for currency, amount in costs:
            if amount is not None:
                self.money[currency] = self.money.get(currency, 0.0) + amount

    def put_aside(self) -> None:
        """Of a model that was stopped, what is not done by now stays unasked; whether it gave an answer or not, it does no more."""
        self.unasked, self.doing = self.due - self.done, ""

    def report(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.progress())


@dataclass(frozen=True)
class _Batches:
    """What is left to ask, batch by batch; ``over`` for an executor that takes some ahead."""

    rest: Iterator[list[Block]]
    tally: _Count

    def __iter__(self) -> Iterator[list[Block]]:
        return self.rest

    def over(self) -> bool:
        """Whether no more are to be begun: the run is to stop, or this model is asked no more."""
        return self.tally.stop() or bool(self.tally.stopped)


@dataclass(frozen=True)
class _Passed:
    """What needs no second look: in the first round what was answered before; later all but what ``failed`` in the last."""

    answered: KeyIndex
    failed: Set[Place] | None

    def over(self, batch: Sequence[Outline]) -> list[bool]:
        """Of each Block, whether it is to be passed over."""
        if self.failed is None:
            return known(batch, self.answered)
        return [outline.place not in self.failed for outline in batch]


def _pending(
    plan: Plan, model: ModelSpec, ledger: Ledger, waiting: Waiting, size: int, tally: _Count, passed: _Passed, capture: Capture
) -> Iterator[list[Block]]:
    """Batches of Blocks with something left to ask, or an image to look at.

    The cut into batches depends on the plan alone, never on what was
    already answered: a resumed run shows the model the very batches an uninterrupted one does."""
    outlines, watched = plan.outlines(model), capture.watches(model)
    while not tally.stop() and (batch := list(islice(outlines, size))):
        left = []
        for outline, over in zip(batch, passed.over(batch), strict=True):
            trials: tuple[Trial, ...] = ()
            if watched or not over:
                block = outline.block()
                before = ledger.attempts(outline.keys)
                trials = tuple(t for t in block.trials if _unanswered(t, before, waiting))
                if trials or capture.wants(block):
                    left.append(replace(block, trials=trials))
            if passed.failed is None:
                reused = len(outline.asked) - len(trials)
                tally.done += reused
                tally.reused += reused
        if left and not tally.stopped:  # else only counted
            yield left


def _anything_left(plan: Plan, model: ModelSpec, ledger: Ledger) -> bool:
    for outline in plan.outlines(model):
        before = ledger.attempts(outline.keys)
        if any(_unanswered(trial, before, {}) for trial in outline.block().trials):
            return True
    return False


def _unanswered(trial: Trial, attempts: Mapping[bytes, tuple[int, bool]], waiting: Waiting) -> bool:
    """Two tasks or cases may ask the very same thing of the very same image: it is asked once, however far workers run ahead."""
    key = bytes.fromhex(trial.key)
    before, open_ = attempts.get(key, (0, True))
    if not open_ or key in waiting:
        return False
    waiting[key] = before
    return True


def _store(
    ledger: Ledger, waiting: Waiting, batch: Sequence[Block], answers: list[list[Answer]], tally: _Count, again: bool
) -> None:
    answered: list[tuple[Trial, Response]] = []
    for block, given in zip(batch, answers, strict=True):
        for trial, answer in zip(block.trials, given, strict=True):
            if not answer.asked:
                tally.stopped = tally.stopped or answer.error or ""
                continue
            attempt = waiting[bytes.fromhex(trial.key)] + 1
            answered.append((trial, Response(trial.key, attempt, _storable(answer))))
            if answer.status is Status.ERROR:
                tally.failed_at.add((block.task, block.case.id, block.perturbation))
            if tally.price is not None:
                tally.pay((tally.price.currency, tally.price.of(answer.tokens_in or 0, answer.tokens_out or 0)))
    ledger.append(answered)
    failed = 0
    for trial, response in answered:
        if response.answer.status is Status.ERROR:
            failed += 1  # and still waiting: not asked again before the next round
        else:
            del waiting[bytes.fromhex(trial.key)]
    tally.failed_now += failed
    tally.doing = ""
    tally.errors += failed if not again else failed - len(answered)
    tally.done += 0 if again else len(answered)
    tally.report()


def _storable(answer: Answer) -> Answer:
    margin = None if answer.margin is None else round(answer.margin, DECIMALS)
    mass = None if answer.mass is None else round(answer.mass, DECIMALS)
    # Half of a surrogate pair, as a cut-off text may end in, is no Unicode and could not be written.
    text = answer.text if answer.text.isascii() else answer.text.encode("utf-8", "replace").decode("utf-8")
    return Answer(
        answer.status, text, margin, mass, answer.tokens_in, answer.tokens_out, answer.seconds, answer.error, answer.asked
    )
