"""read: Responses → Readings. Needs no image; a changed method reads everything anew, the old readings stay."""

from __future__ import annotations

from collections.abc import Callable

from palpate.nouns import Outcome, Reading, Status, Tally
from palpate.parts import ReadingMethod, ReadingSpec, ReadText, Rubric
from palpate.registry import part
from palpate.stages._judging import Judging
from palpate.store import keys
from palpate.store.ledger import Ledger, Unread
from palpate.study import Study

BATCH = 2_000  # answers held at once: memory does not grow with their number

SHORT, REMEMBERED = 200, 50_000  # characters of an answer, and how many such are remembered: some 10 MB

_Seen = dict[tuple[int, int, str], ReadText]
RubricOf = Callable[[Unread], Rubric | None]


def read(study: Study, ledger: Ledger, on_progress: Callable[[Tally], None] | None = None) -> int:
    """Read every response to the study's tasks that its readings have not read by the tasks' words: the primary reading, then the
    others. Returns how many readings were made.

    A reading that asks a model leaves an answer unread where the model could not be asked; the next call asks again. Raises
    ModelError where it cannot work at all: the readings made by then are kept.
    """
    rubric_of = _rubrics(study)
    count = 0
    for spec in study.all_readings:
        if spec.model is None:
            count += _by_rule(study, spec, ledger, rubric_of)
        else:
            judging = Judging(study, spec, ledger, rubric_of)
            try:
                count += judging.read(on_progress)
            finally:
                judging.close()
    return count


class Ahead:
    """What the study's primary reading, where it is by rule, makes of answers that are not read yet. Nothing is written.

    A run reads when all is asked; whoever looks into it before that sees by this what its answers will be read as.
    """

    def __init__(self, study: Study) -> None:
        self._study, self._rubric_of = study, _rubrics(study)
        self._spec = study.all_readings[0]
        self._seen: _Seen = {}

    def read(self, ledger: Ledger, after: int, limit: int) -> list[tuple[int, Reading | None]]:
        """(row, reading) of the next ``limit`` unread responses past row ``after``, errors apart; None where no task has words for
        it. Empty where the primary reading asks a model."""
        if self._spec.model is not None:
            return []
        method: ReadingMethod = part("readings", self._spec.method)
        by = self._study.reading_by(ledger, self._spec.name)
        found: list[tuple[int, Reading | None]] = []
        for unread in ledger.unread(by, after, limit):
            rubric = self._rubric_of(unread)
            found.append((unread.row, None if rubric is None else _reading(unread, method, rubric, by, self._seen)))
        self._seen.clear()  # it knows prompts by their place in memory, and the ledger that held them is closed
        return found


def _rubrics(study: Study) -> RubricOf:
    rubrics = {task.name: task.rubric for task in study.tasks}
    # An answer is shared by all who ask the same; first asked under another task's name, it is known by its question.
    by_question = {keys.prompt_digest(p): task.rubric for task in study.tasks for p in task.prompts}
    return lambda unread: rubrics.get(unread.task) or by_question.get(keys.prompt_digest(unread.prompt))


def _by_rule(study: Study, spec: ReadingSpec, ledger: Ledger, rubric_of: RubricOf) -> int:
    method: ReadingMethod = part("readings", spec.method)
    by = study.reading_by(ledger, spec.name)
    count = after = 0
    seen: _Seen = {}
    while batch := ledger.unread(by, after, BATCH):
        after = batch[-1].row
        known = ((unread, rubric_of(unread)) for unread in batch)
        readings = [(unread.row, _reading(unread, method, rubric, by, seen)) for unread, rubric in known if rubric is not None]
        ledger.append_readings(readings)
        count += len(readings)
    return count


def _reading(unread: Unread, method: ReadingMethod, rubric: Rubric, by: str, seen: _Seen) -> Reading:
    response = unread.response
    if response.answer.status is Status.BLOCKED:
        found = ReadText(Outcome.REFUSE_POLICY, rule="blocked by the provider")
    else:
        found = _read(response.answer.text, unread, method, rubric, seen)
    return Reading(response.key, response.attempt, by, found.outcome, found.span, found.rule)


def _read(text: str, unread: Unread, method: ReadingMethod, rubric: Rubric, seen: _Seen) -> ReadText:
    """What the method finds; the same short answer to the same prompt is read once."""
    if len(text) > SHORT:
        return method.read(text, unread.prompt, rubric)
    place = (id(unread.prompt), id(rubric), text)  # both are held as long as ``seen``
    found = seen.get(place)
    if found is None:
        if len(seen) >= REMEMBERED:
            seen.clear()
        found = seen[place] = method.read(text, unread.prompt, rubric)
    return found
