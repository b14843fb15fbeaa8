"""Reading by asking a model: each question once, whatever answers raise it; a failed one is asked again, and is never a reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from palpate.errors import PalpateError
from palpate.nouns import Answer, Block, Case, Outcome, Perturbation, Prompt, Reading, Status, Stimulus, Tally, Trial
from palpate.parts import AskingMethod, Model, ReadingMethod, ReadingSpec, ReadsDescriptions, ReadText, Rubric, ServedModel
from palpate.registry import part
from palpate.store import keys
from palpate.store.judgements import Judgements
from palpate.store.ledger import Ledger, Unread
from palpate.store.selection import selection
from palpate.study import Study

T = TypeVar("T")

PAGE = 2_000  # answers looked at together
BLOCK = 16  # questions that go to the model as one block
NOT_AS_ASKED = "the reply is in no form that was asked for"

RubricOf = Callable[[Unread], Rubric | None]


class _NoImage:
    """In place of an image: the question goes without one."""

    def open(self) -> Any:
        """Raises OSError."""
        raise OSError("a question about an answer has no image")


TEXT = Case("text", 0, "text", "no image", _NoImage())
"""The case of every question about an answer: no image, and nothing of the label of the case that was asked about."""


@dataclass
class _Question:
    """A question to the model, its trial, and the answers it is about."""

    trial: Trial
    attempt: int
    about: list[Unread] = field(default_factory=list)


class Judging:
    """Reads what one asking reading of a study has not read yet."""

    def __init__(self, study: Study, spec: ReadingSpec, ledger: Ledger, rubric_of: RubricOf) -> None:
        assert spec.model is not None
        self._study, self._spec, self._ledger, self._rubric_of = study, spec, ledger, rubric_of
        self._method: AskingMethod = part("readings", spec.method)
        self._first: ReadingMethod | None = part("readings", spec.after) if spec.after else None
        self._replies = Judgements(ledger)
        self._selected = selection(spec)
        self._where = f"{study.origin}: reading {spec.name!r}" if study.origin else f"reading {spec.name!r}"
        try:
            self._model: Model = part("models", spec.model.kind).build(spec.model)
            fingerprint = self._model.fingerprint()
        except PalpateError as fault:
            raise fault.at(self._where) from None
        self._identity = keys.model_digest(fingerprint.identity)
        described = study.reading_digest(spec)
        told = [described, self._identity, *self._truth(study)]
        self.by = f"{self._method.by}@{spec.model.name}+{keys.digest(told)[:8]}"
        record = {"reading": spec.name, "identity": fingerprint.identity, "environment": fingerprint.environment}
        ledger.add_reader(described, self.by, record)
        self.failed = 0

    def _truth(self, study: Study) -> list[Any]:
        """What is known of the cases, where that is what is read: a corrected label is another reading."""
        if not self._oracle:
            return []
        known = {task.name: self._ledger.cases(task.name) for task in study.tasks}
        return [[task, name, label, facts] for task, cases in known.items() for name, (_, label, _, facts) in sorted(cases.items())]

    def close(self) -> None:
        """Let go of the model."""
        self._model.close()

    def read(self, on_progress: Callable[[Tally], None] | None = None) -> int:
        """Read page by page; returns how many answers were read. ``failed`` is how many the model could not be asked about."""
        total, count, after = self._ledger.n_unread(self.by, self._selected), 0, 0
        while page := self._ledger.unread(self.by, after, PAGE, self._selected):
            after = page[-1].row
            count += self._page(page)
            if on_progress is not None:
                on_progress(Tally(min(count + self.failed, total), total, 0, self.failed, self._spec.name))
        return count

    def _page(self, page: Sequence[Unread]) -> int:
        known: list[tuple[int, Reading]] = []
        waiting: dict[str, _Question] = {}
        cases = self._replies.cases([u.row for u in page]) if self._oracle else {}
        for unread in page:
            rubric = self._rubric_of(unread)
            if rubric is None:
                continue
            read = self._without_asking(unread, rubric)
            if read is None:
                text = unread.response.answer.text
                if unread.row in cases and isinstance(self._method, ReadsDescriptions):
                    text = self._method.oracle(*cases[unread.row], rubric)
                question = self._method.question(text, unread.prompt, rubric, self._spec.options)
                read = None if question is None else self._told(unread, rubric, question, waiting)
            if read is not None:
                known.append((unread.row, self._reading(unread, read)))
        self._ledger.append_readings(known)
        return len(known) + self._ask(waiting)

    @property
    def _oracle(self) -> bool:
        """True where the method reads what is known of the case in place of what the model said of it."""
        return isinstance(self._method, ReadsDescriptions) and self._spec.options.get("input") == ORACLE

    def _without_asking(self, unread: Unread, rubric: Rubric) -> ReadText | None:
        """What needs no model: a blocked answer, an empty one, and what the method before this one could read."""
        if unread.response.answer.status is Status.BLOCKED:
            return ReadText(Outcome.REFUSE_POLICY, rule="blocked by the provider")
        if not unread.response.answer.text.strip():
            return ReadText(Outcome.UNPARSED, rule="empty")
        if self._first is not None:
            found = self._first.read(unread.response.answer.text, unread.prompt, rubric)
            if found.outcome is not Outcome.UNPARSED:
                return replace(found, rule=f"{self._spec.after}: {found.rule}")
        return None

    def _told(self, unread: Unread, rubric: Rubric, question: Prompt, waiting: dict[str, _Question]) -> ReadText | None:
        """What the model has already said to this question; else the question waits to be asked."""
        key = question_key(self._identity, question)
        if key not in waiting:
            last = self._replies.last(key)
            if last is not None and (read := self._said(last[1], unread, rubric)) is not None:
                return read
            trial = Trial(key, self._spec.name, unread.task, TEXT.id, Perturbation(), question)
            waiting[key] = _Question(trial, 0 if last is None else last[0])
        waiting[key].about.append(unread)
        return None

    def _said(self, reply: Answer, unread: Unread, rubric: Rubric) -> ReadText | None:
        if reply.status not in (Status.OK, Status.TRUNCATED):
            return None
        return self._method.outcome(reply, unread.response.answer.text, unread.prompt, rubric, self._spec.options)

    def _ask(self, waiting: dict[str, _Question]) -> int:
        """Ask, ``study.ask.attempts`` times at most; a batch of replies is one transaction, and its readings another."""
        count = 0
        for _ in range(self._study.ask.attempts):
            left: dict[str, _Question] = {}
            for batch in self._batches(list(waiting.values())):
                readings, replies = [], []
                for question, reply in batch:
                    if not reply.asked:  # the server has gone: no attempt, and still to be asked
                        left[question.trial.key] = question
                        continue
                    question.attempt += 1
                    read = [(u, self._said(reply, u, self._rubric(u))) for u in question.about]
                    if any(found is None for _, found in read):
                        left[question.trial.key] = question
                        reply = _as_error(reply)
                    replies.append((question.trial.key, question.attempt, _storable(reply)))
                    readings += [(u.row, self._reading(u, found)) for u, found in read if found is not None]
                self._replies.append(replies)
                self._ledger.append_readings(readings)
                count += len(readings)
            waiting = left
            if not waiting:
                break
        self.failed += sum(len(q.about) for q in waiting.values())
        return count

    def _rubric(self, unread: Unread) -> Rubric:
        rubric = self._rubric_of(unread)
        assert rubric is not None  # what has none is not asked about
        return rubric

    def _batches(self, questions: list[_Question]) -> Iterator[list[tuple[_Question, Answer]]]:
        # What is served takes many questions at once: as many as it would be asked by threads side by side.
        many = self._model.asks_at_once if isinstance(self._model, ServedModel) else 1
        for batch in _cut(questions, BLOCK * max(1, self._model.blocks_at_once) * many):
            trials = [q.trial for q in batch]
            blocks = [Block(self._spec.name, "", TEXT, Perturbation(), tuple(block)) for block in _cut(trials, BLOCK)]
            try:
                replies = [r for given in self._model.ask([Stimulus(block, None) for block in blocks]) for r in given]
            except PalpateError as fault:
                raise fault.at(self._where) from None
            yield list(zip(batch, replies, strict=True))

    def _reading(self, unread: Unread, found: ReadText) -> Reading:
        response = unread.response
        return Reading(response.key, response.attempt, self.by, found.outcome, found.span, found.rule)


NOTHING_CHANGED = keys.perturbation_digest(Perturbation(), 0, 0)
ORACLE = "oracle"


def question_key(identity: str, question: Prompt) -> str:
    """The key of a question to a model that reads; ``identity``: digest of what the model is."""
    return keys.scattered_key(identity, keys.image_digest(TEXT), NOTHING_CHANGED, keys.prompt_digest(question), 0)


def _as_error(reply: Answer) -> Answer:
    """The reply as what it is, an error: its text is kept to be looked at, and is no judgement."""
    if reply.status is Status.ERROR:
        return reply
    cause = "blocked by the provider" if reply.status is Status.BLOCKED else NOT_AS_ASKED
    return replace(reply, status=Status.ERROR, error=cause)


def _storable(reply: Answer) -> Answer:
    """Half of a surrogate pair, as a cut-off text may end in, is no Unicode and could not be written."""
    return replace(reply, text=reply.text.encode("utf-8", "replace").decode("utf-8"))


def _cut(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
