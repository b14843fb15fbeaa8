"""ask: Trials → Responses. Asks what the ledger does not answer yet, and writes each finished batch in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from palpate.executors.local import LocalExecutor
from palpate.nouns import Answer, Block, Response, Status, Tally, Trial
from palpate.parts import ModelSpec
from palpate.stages.plan import Plan
from palpate.store.ledger import Ledger

DECIMALS = 4  # of margin and mass: finer digits are the float noise of batch shapes and thread counts


Attempts = dict[bytes, tuple[int, bool]]


def ask(plan: Plan, ledger: Ledger, executor: LocalExecutor, on_progress: Callable[[Tally], None] | None = None) -> Tally:
    """Answer every trial of the plan that has no answer. Failed ones are asked again, ``study.ask.attempts`` times in all.

    Returns the final tally. What is already answered is never asked again, under whatever study it was asked.
    """
    seen = ledger.attempts()
    tally = _Count(plan.n_trials, on_progress)
    for model in plan.study.models:
        size = executor.batch_size(model)
        tally.model = model.name
        for round_ in range(plan.study.ask.attempts):
            again, tally.failed_now = round_ > 0, 0
            batches = _pending(plan, model, seen, size, tally, again)
            for batch, answers in executor.run(model, batches):
                _store(ledger, seen, batch, answers, tally, again)
            if not tally.failed_now:
                break
    tally.report()
    return tally.progress()


@dataclass
class _Count:
    total: int
    on_progress: Callable[[Tally], None] | None
    done: int = 0
    reused: int = 0
    errors: int = 0
    failed_now: int = 0
    model: str = ""

    def progress(self) -> Tally:
        return Tally(self.done, self.total, self.reused, self.errors, self.model)

    def report(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.progress())


def _pending(plan: Plan, model: ModelSpec, seen: Attempts, size: int, tally: _Count, again: bool) -> Iterator[list[Block]]:
    """Batches of Blocks with something left to ask. The cut into batches depends on the plan alone, never on what was
    already answered: a resumed run shows the model the very batches an uninterrupted one does."""
    blocks = plan.blocks(model)
    # Two tasks or cases may ask the very same thing of the very same image: it is asked once, however far workers run ahead.
    taken: set[bytes] = set()
    while batch := list(islice(blocks, size)):
        left = []
        for block in batch:
            trials = tuple(t for t in block.trials if _unanswered(t, seen, taken))
            if not again:
                reused = len(block.trials) - len(trials)
                tally.done += reused
                tally.reused += reused
            if trials:
                left.append(replace(block, trials=trials))
        if left:
            yield left


def _unanswered(trial: Trial, seen: Attempts, taken: set[bytes]) -> bool:
    key = bytes.fromhex(trial.key)
    attempt = seen.get(key)
    if (attempt is not None and not attempt[1]) or key in taken:
        return False
    taken.add(key)
    return True


def _store(ledger: Ledger, seen: Attempts, batch: Sequence[Block], answers: list[list[Answer]], tally: _Count, again: bool) -> None:
    answered: list[tuple[Trial, Response]] = []
    for block, given in zip(batch, answers, strict=True):
        for trial, answer in zip(block.trials, given, strict=True):
            attempt = seen.get(bytes.fromhex(trial.key), (0, False))[0] + 1
            answered.append((trial, Response(trial.key, attempt, _storable(answer))))
    ledger.append(answered)
    failed = 0
    for trial, response in answered:
        error = response.answer.status is Status.ERROR
        failed += error
        seen[bytes.fromhex(trial.key)] = (response.attempt, error)
    tally.failed_now += failed
    tally.errors += failed if not again else failed - len(answered)
    tally.done += 0 if again else sum(len(b.trials) for b in batch)
    tally.report()


def _storable(answer: Answer) -> Answer:
    margin = None if answer.margin is None else round(answer.margin, DECIMALS)
    mass = None if answer.mass is None else round(answer.mass, DECIMALS)
    # Half of a surrogate pair, as a cut-off text may end in, is no Unicode and could not be written.
    text = answer.text.encode("utf-8", "replace").decode("utf-8")
    return replace(answer, text=text, margin=margin, mass=mass)
