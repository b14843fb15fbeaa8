"""read: Responses → Readings. Needs no model and no image; a changed method reads everything anew, the old readings stay."""

from __future__ import annotations

from palpate.nouns import Outcome, Reading, Status
from palpate.parts import ReadingMethod, ReadText, Rubric
from palpate.registry import part
from palpate.store.ledger import Ledger, Unread
from palpate.study import Study

BATCH = 10_000


def read(study: Study, ledger: Ledger) -> int:
    """Read every response to the study's tasks that its reading method has not read. Returns how many were read now."""
    method: ReadingMethod = part("readings", study.reading)
    rubrics = {task.name: task.rubric for task in study.tasks}
    count = after = 0
    while batch := ledger.unread(method.by, after, BATCH):
        after = batch[-1].row
        readings = [(u.row, _reading(u, method, rubrics[u.task])) for u in batch if u.task in rubrics]
        ledger.append_readings(readings)
        count += len(readings)
    return count


def _reading(unread: Unread, method: ReadingMethod, rubric: Rubric) -> Reading:
    response = unread.response
    if response.answer.status is Status.BLOCKED:
        found = ReadText(Outcome.REFUSE_POLICY, rule="blocked by the provider")
    else:
        found = method.read(response.answer.text, unread.prompt, rubric)
    return Reading(response.key, response.attempt, method.by, found.outcome, found.span, found.rule)
