"""The images of a run's cases, as its study opens them: by the case's name in the ledger, never by a path."""

from __future__ import annotations

import io
import threading

from palpate.errors import PalpateError
from palpate.executors import present
from palpate.nouns import Block, Case, Perturbation
from palpate.registry import part
from palpate.stages.plan import by_content_alone, draw_cases
from palpate.store import keys
from palpate.store.shown import ShownCase
from palpate.study import Study
from palpate.task import Task

LARGEST_SIDE = 640  # pixels
OPENING = "The study's images are being looked through; look again in a moment."
FAILED = "The study's images cannot be opened now; the terminal says why."


class Pictures:
    """Draws each task's cases once, beside the server, when one of them is first looked at."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._tasks = {task.name: task for task in study.tasks}
        self._drawn: dict[str, dict[str, Case] | str] = {}  # task → its cases by name, or why there are none
        self._drawing: dict[str, threading.Thread] = {}

    def find(self, shown: ShownCase, patience: float = 0.1) -> tuple[Case | None, str]:
        """(the case with its image, or None; why there is none). Waits so many seconds at the most.

        Only the image that the models were asked about is given: its content and decode settings are compared.
        """
        task = self._tasks.get(shown.task)
        if task is None or task.source is None:
            return None, "The study has no such task any more, so its images are not known."
        if shown.task not in self._drawing:
            self._drawing[shown.task] = threading.Thread(target=self._draw, args=(task,), daemon=True)
            self._drawing[shown.task].start()
        self._drawing[shown.task].join(patience)
        # A source with a fault of its own ends the thread with nothing drawn: waiting would not help.
        drawn = self._drawn.get(shown.task, OPENING if self._drawing[shown.task].is_alive() else FAILED)
        if isinstance(drawn, str):
            return None, drawn
        case = drawn.get(shown.name)
        if case is None:
            return None, "The study's source has no such case any more."
        if keys.image_digest(case) != shown.image:
            return None, "The study's source has another image under this name than the one asked about."
        return case, ""

    def can_make(self, perturbation: Perturbation, digest: str) -> bool:
        """Whether that perturbation, as asked about, is what this Palpate and this study's seed make."""
        try:
            version = part("perturbations", perturbation.name).version
        except PalpateError:
            return False
        return keys.perturbation_digest(perturbation, version, self._study.seed) == digest

    def png(self, case: Case, perturbation: Perturbation) -> bytes | None:
        """The image under that perturbation as the model was shown it, made small; None where it was shown none.

        Raises OSError or ValueError where it cannot be opened.
        """
        image = present(Block("", "", case, perturbation, ()), self._study.seed).image
        if image is None:
            return None
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()

    def _draw(self, task: Task) -> None:
        try:
            self._drawn[task.name] = {case.id: case for case in draw_cases(by_content_alone(task), self._study).cases}
        except PalpateError as fault:
            self._drawn[task.name] = f"The study's images cannot be opened now: {fault.problem}."
        except (OSError, ValueError) as fault:
            self._drawn[task.name] = f"The study's images cannot be opened now: {type(fault).__name__}."
