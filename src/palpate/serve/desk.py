"""Where a person reads answers beside the view of a run: who reads is asked first, then it is the labelling page."""

from __future__ import annotations

import threading

from palpate.errors import PalpateError
from palpate.nouns import Outcome
from palpate.results import Results
from palpate.serve.label import LabelPage
from palpate.serve.local import Reply, Request
from palpate.serve.pages import page
from palpate.stages.label import Drawn, check_alias, draw, record, waiting
from palpate.store.people import People

BASE = "/label"
COUNT = 200  # answers in the sample
MOST = 10_000


PATIENCE = 0.03  # seconds a request waits for the sample to be drawn


class Desk:
    """Under ``/label``: a form for the alias, then one answer at a time, blind. The sample is that of ``palpate label``.

    Of a large run the sample is drawn beside the server, some seconds, so that the other pages need not wait.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        self._page: LabelPage | None = None
        self._alias = ""
        self._drawing: threading.Thread | None = None
        self._problem = ""

    def __call__(self, request: Request) -> Reply:
        """GET /label asks who reads, or goes on; POST /label/start begins; the rest is the labelling page's."""
        if request.path == f"{BASE}/style.css":
            return self._made([], 0)(request)
        if self._drawing is not None:
            return self._wait()
        if self._page is not None:
            return self._page(request)
        if request.path == f"{BASE}/start" and request.method == "POST":
            return self._begin(request.fields.get("alias", "").strip(), request.fields.get("count", ""))
        return self._ask() if request.path == BASE and request.method == "GET" else Reply(status=303, to=BASE)

    def _begin(self, alias: str, count: str) -> Reply:
        self._alias = alias
        n = int(count) if count.isdecimal() and len(count) < 6 else 0
        if not 1 <= n <= MOST:
            return self._ask(f"{count!r} is no number of answers from 1 to {MOST:,}.", 400)
        try:
            check_alias(alias)
        except PalpateError as fault:
            return self._ask(str(fault), 400)
        self._drawing = threading.Thread(target=self._draw, args=(alias, n), daemon=True)
        self._drawing.start()
        return self._wait()

    def _draw(self, alias: str, count: int) -> None:
        try:
            with self._results.folder.ledger() as ledger:
                sample = draw(self._results.study, ledger, count)
                self._page = self._made(waiting(sample, ledger, alias), len(sample))
        except PalpateError as fault:
            self._problem = str(fault)
        except Exception:
            self._problem = "The sample cannot be drawn; the terminal says why."
            raise

    def _wait(self) -> Reply:
        assert self._drawing is not None
        self._drawing.join(PATIENCE)
        if self._drawing.is_alive():
            return page("label_wait.html.j2", study=self._results.study.name)
        self._drawing, problem, self._problem = None, self._problem, ""
        return self._ask(problem, 400) if problem else Reply(status=303, to=BASE)

    def _made(self, left: list[Drawn], total: int) -> LabelPage:
        return LabelPage(left, total, self._keep, self._end, base=BASE, run=str(self._results.folder.path))

    def _keep(self, drawn: Drawn, outcome: Outcome) -> None:
        with self._results.folder.writing(self._results.study.name, self._results.study.to_toml()) as book:
            record(book, self._alias, drawn, outcome)

    def _end(self) -> None:
        self._page = None

    def _ask(self, problem: str = "", status: int = 200) -> Reply:
        with self._results.folder.ledger() as ledger:
            known = People(ledger).annotators()
        return page(
            "label_start.html.j2",
            status=status,
            study=self._results.study.name,
            run=str(self._results.folder.path),
            alias=self._alias or next(iter(known), "reader-1"),
            count=COUNT,
            most=MOST,
            known=known,
            problem=problem,
        )
