"""The page on which a person reads answers: one at a time, with the question, blind to the model and to what a machine read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader

from palpate.errors import PalpateError
from palpate.nouns import Outcome
from palpate.report.words import plain
from palpate.serve.local import Reply, Request
from palpate.stages.label import CHOICES, Drawn, means

Keep = Callable[[Drawn, Outcome], None]


class LabelPage:
    """An application for ``LocalServer``: shows what is left of the sample, keeps what the person reads.

    ``base``: the path under which it is served, where the server shows other pages too; then ``run`` is the run's folder.
    """

    def __init__(
        self, waiting: list[Drawn], total: int, keep: Keep, finished: Callable[[], None], *, base: str = "", run: str = "RUN"
    ) -> None:
        self._waiting, self._total, self._keep, self._finished = list(waiting), total, keep, finished
        self._base, self._run = base, run
        self._skipped = 0

    def __call__(self, request: Request) -> Reply:
        """GET / shows, POST / keeps or skips, POST /end ends."""
        path = request.path.removeprefix(self._base) or "/"
        if path == "/style.css":
            return Reply(_text("label.css").encode(), "text/css; charset=utf-8")
        if path == "/end" and request.method == "POST":
            self._finished()
            return self._show(ended=True)
        if path != "/":
            return Reply(b"There is no such page.", "text/plain; charset=utf-8", 404)
        if request.method == "POST":
            return self._kept(request)
        return self._show()

    def _kept(self, request: Request) -> Reply:
        chosen = {key: outcome for key, outcome, _ in CHOICES}.get(request.fields.get("reading", ""))
        # The number says which answer was shown: a form sent twice, or an old page sent again, is not a reading of the next one.
        if self._waiting and request.fields.get("number") == str(self._waiting[0].rows[0]):
            if chosen is not None:
                try:
                    self._keep(self._waiting[0], chosen)
                except PalpateError as fault:
                    return self._show(problem=str(fault), status=503)
                self._waiting.pop(0)
            elif request.fields.get("reading") == "skip":
                self._waiting.append(self._waiting.pop(0))
                self._skipped += 1
        return Reply(status=303, to=self._base or "/")

    def _show(self, *, problem: str = "", ended: bool = False, status: int = 200) -> Reply:
        now = self._waiting[0] if self._waiting and not ended else None
        shown = (
            _templates()
            .get_template("label.html.j2")
            .render(
                now=now,
                question=plain(now.prompt.text) if now else "",
                answer=plain(now.text) if now else "",
                condition=plain(now.condition) if now else "",
                means=plain(means(now.prompt)) if now else "",
                choices=CHOICES,
                left=len(self._waiting),
                done=self._total - len(self._waiting),
                total=self._total,
                problem=plain(problem),
                ended=ended,
                base=self._base,
                run=self._run,
            )
        )
        return Reply(shown.encode("utf-8", "replace"), status=status)


@cache
def _templates() -> Environment:
    return Environment(autoescape=True, loader=FunctionLoader(_text), trim_blocks=True, lstrip_blocks=True)


def _text(name: str) -> str:
    return files("palpate.serve").joinpath("templates", name).read_text("utf-8")
