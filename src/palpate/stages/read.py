"""read: Responses → Readings. Needs no model and no image; a changed method reads everything anew, the old readings stay."""

from __future__ import annotations

from palpate.nouns import Outcome, Reading, Status
from palpate.parts import ReadingMethod, ReadText, Rubric
from palpate.registry import part
from palpate.store import keys
from palpate.store.ledger import Ledger, Unread
from palpate.study import Study

BATCH = 10_000


def read(study: Study, ledger: Ledger) -> int:
    """Read every response to the study's tasks that its method has not read by the tasks' words. Returns how many were read."""
    method: ReadingMethod = part("readings", study.reading)
    rubrics = {task.name: task.rubric for task in study.tasks}
    # An answer is shared by all who ask the same; first asked under another task's name, it is known by its question.
    by_question = {keys.prompt_digest(p): task.rubric for task in study.tasks for p in task.prompts}
    by = study.reading_by
    count = after = 0
    while batch := ledger.unread(by, after, BATCH):
        after = batch[-1].row
        readings = []
        for unread in batch:
            rubric = rubrics.get(unread.task) or by_question.get(keys.prompt_digest(unread.prompt))
            if rubric is not None:
                readings.append((unread.row, _reading(unread, method, rubric, by)))
        ledger.append_readings(readings)
        count += len(readings)
    return count


def _reading(unread: Unread, method: ReadingMethod, rubric: Rubric, by: str) -> Reading:
    response = unread.response
    if response.answer.status is Status.BLOCKED:
        found = ReadText(Outcome.REFUSE_POLICY, rule="blocked by the provider")
    else:
        found = method.read(response.answer.text, unread.prompt, rubric)
    return Reading(response.key, response.attempt, by, found.outcome, found.span, found.rule)
