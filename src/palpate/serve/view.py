"""The pages to look inside a run: answers to filter, a case with everything said about it. Without scripts.

They only show; what a person reads at the desk (``/label``) is the one thing that is kept.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlencode

from palpate.errors import PalpateError
from palpate.nouns import Outcome, Prompt, Reading, Status
from palpate.report.view import ExampleAnswer
from palpate.report.words import FORMS, TONES, judged, plain, signed, whole_words
from palpate.results import Results, methods
from palpate.serve.desk import BASE, Desk
from palpate.serve.local import Reply, Request
from palpate.serve.pages import compiled, file, page, said, style
from palpate.serve.pictures import OPENING, Pictures
from palpate.stages.read import Ahead
from palpate.store import shown
from palpate.store.browsing import Columns, Wanted
from palpate.store.ledger import Ledger
from palpate.store.shown import ShownAnswer, ShownCase

SIZE = 50  # answers a page
MOST = 400  # answers on the page of a case
LETTERS = 240  # of an answer in the list
WHOLE = 20_000  # of an answer on the page of a case
AHEAD = 500  # unread answers read at once: some 25 ms
OPENING_SECONDS = 2.0  # spent on unread answers before the first page
SPARE = 0.06  # seconds a page may spend on what a run has written meanwhile
FLAGS = ("flips", "disagree")
MARGIN_OF_SCALE = 1.0  # the strip reaches so far at the least
NUMBER = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Dot:
    """One margin on the strip: where, from −1 to 1; its tone; and its words."""

    x: float
    tone: str
    about: str


class ViewPage:
    """An application for ``LocalServer``: looks into one run, finished or still being written."""

    def __init__(self, results: Results) -> None:
        self._folder, self._study = results.folder, results.study
        self._columns, self._pictures = Columns(), Pictures(results.study)
        self._desk, self._ahead, self._ahead_to = Desk(results), Ahead(results.study), 0
        compiled("view_list.html.j2", "view_case.html.j2")  # now, so that the first page need not wait
        with self._folder.ledger() as ledger:
            self._columns.catch_up(ledger, methods(self._study, ledger))
            self._read_ahead(ledger, OPENING_SECONDS)
        self._columns.flips()  # the slowest condition, worked out before someone waits for it

    def __call__(self, request: Request) -> Reply:
        """/ lists, /case shows a case, /image its image, below /label a person reads answers; nothing else is there."""
        if request.path == BASE or request.path.startswith(f"{BASE}/"):
            return self._desk(request)
        if request.method != "GET":
            return said("This page only shows.", 405)
        if request.path == "/style.css":
            return Reply(style().encode(), "text/css; charset=utf-8")
        if request.path == "/icon.svg":
            return Reply(file("icon.svg").encode(), "image/svg+xml")
        shows = {"/": self._list, "/case": self._case, "/image": self._image}.get(request.path)
        if shows is None:
            return said("There is no such page.", 404)
        try:
            with self._folder.ledger() as ledger:
                whole = self._columns.catch_up(ledger, methods(self._study, ledger), seconds=SPARE)
                whole = self._read_ahead(ledger, SPARE) and whole
                return shows(request.fields, ledger, whole)
        except PalpateError as fault:
            return said(plain(fault), 503)

    def _read_ahead(self, ledger: Ledger, seconds: float) -> bool:
        """Of a run that is still being asked: what its answers will be read as. False where some are left for the next page."""
        deadline = time.monotonic() + seconds
        while (row := self._columns.unread_after(self._ahead_to)) is not None:
            if time.monotonic() > deadline:
                return False
            found = self._ahead.read(ledger, row - 1, AHEAD)
            self._columns.foretell({row: reading.outcome for row, reading in found if reading is not None})
            self._ahead_to = found[-1][0] if found else int(self._columns.rows.values[-1])
        return True

    def _reading(self, answer: ShownAnswer, ledger: Ledger) -> tuple[Reading | None, bool]:
        """(what the primary reading makes of an answer, whether that was foretold)."""
        primary = self._columns.methods[0]
        kept = next((reading for reading in answer.readings if reading.by == primary), None)
        if kept is not None or answer.status is Status.ERROR:
            return kept, False
        found = self._ahead.read(ledger, answer.row - 1, 1)
        return (found[0][1], True) if found and found[0][0] == answer.row and found[0][1] else (None, False)

    # ------------------------------------------------------------ the list

    def _list(self, given: Mapping[str, str], ledger: Ledger, whole: bool) -> Reply:
        flags = {name: bool(given.get(name)) for name in FLAGS}
        texts = {f.name: given.get(f.name, "") for f in fields(Wanted) if f.name not in FLAGS}
        wanted = Wanted(**texts, **flags)  # type: ignore[arg-type]
        newest = given.get("order") == "newest"
        found = self._columns.page(
            wanted, SIZE, after=_whole(given.get("after")), before=_whole(given.get("before")), newest=newest
        )
        query = {name: value for name, value in asdict(wanted).items() if value} | ({"order": "newest"} if newest else {})
        query = {name: "1" if value is True else value for name, value in query.items()}
        rows = [self._row(answer, ledger) for answer in shown.answers(ledger, found.rows, LETTERS)]
        return page(
            "view_list.html.j2",
            study=self._study.name,
            run=str(self._folder.path),
            wanted=wanted,
            newest=newest,
            choices=self._choices(),
            rows=rows,
            foretold=any(row["foretold"] for row in rows),
            page=found,
            everything=int(self._columns.page(Wanted(), 1).total),
            whole=whole,
            filtered=wanted != Wanted(),
            later=_link("/", query, after=found.after),
            earlier=_link("/", query, before=found.before),
            again=_link("/", {k: v for k, v in given.items() if k in {*query, "after", "before"}}),
        )

    def _row(self, answer: ShownAnswer, ledger: Ledger) -> dict[str, Any]:
        return {"answer": answer, "link": _link("/case", {"id": str(answer.case_row)}), **self._read(answer, ledger)}

    def _read(self, answer: ShownAnswer, ledger: Ledger) -> dict[str, Any]:
        """What the primary reading made of an answer, in a symbol and a word, and where in the text."""
        primary, *others = self._columns.methods
        by = {reading.by: reading for reading in answer.readings}
        reading, foretold = self._reading(answer, ledger)
        label = self._columns.label(answer.case_row)
        symbol, word = _judged(answer, reading, label)
        text, cut = answer.text, answer.length > len(answer.text)
        low, high = whole_words(text, reading.span if reading else None)
        readings = [(name, by[name].outcome, by[name].rule) for name in (primary, *others) if name in by]
        readings += [(name, outcome, "") for name, outcome in self._columns.people(answer.row).items()]
        return {
            "symbol": symbol,
            "tone": TONES.get(symbol, "open"),
            "word": word,
            "outcome": reading.outcome if reading else "",
            "parts": (text[:low], text[low:high], text[high:]),
            "cut": cut,
            "readings": readings,
            "foretold": foretold,
            "disagree": len({outcome for _, outcome, _ in readings}) > 1,
        }

    def _choices(self) -> dict[str, list[tuple[str, str]]]:
        """Field of the form → (value, words) to choose among."""
        prompts = [prompt for _, prompt in self._columns.prompts.values()]
        same = {
            "model": sorted(set(self._columns.models.values())),
            "task": self._columns.tasks,
            "perturbation": list(dict.fromkeys(map(str, self._columns.perturbations.values()))),
            "cell": sorted({p.cell for p in prompts}),
            "prompt": sorted({p.name for p in prompts}),
            "factor": sorted({f"{name}={value}" for p in prompts for name, value in p.factors.items()}),
            "status": list(map(str, Status)),
            "outcome": ["right", "wrong", *map(str, Outcome), "unread"],
        }
        choices = {name: [(value, value) for value in values] for name, values in same.items()}
        choices["form"] = [(form, FORMS[form]) for form in FORMS if any(p.form is form for p in prompts)]
        choices["label"] = [("1", "present"), ("0", "absent")]
        return choices

    # ------------------------------------------------------------ a case

    def _case(self, given: Mapping[str, str], ledger: Ledger, whole: bool) -> Reply:
        named = given.get("name", "").strip()
        row = shown.case_named(ledger, named) if named else _whole(given.get("id"))
        case = shown.case(ledger, row, self._columns.label_row(row)) if row is not None else None
        if case is None:
            return said("There is no such case in this run.", 404)
        changes = self._columns.perturbations_of(case.row)
        names = {at: self._columns.perturbations[at] for at in changes}
        unchanged = next((at for at, p in names.items() if p.name == "none"), changes[0] if changes else None)
        chosen = _whole(given.get("perturbation"))
        chosen = chosen if chosen in names else unchanged
        models = tuple(dict.fromkeys(m for m in (given.get("a", ""), given.get("b", "")) if m in self._columns.models.values()))
        rows = self._columns.of_case(case.row, chosen, models)
        found = shown.answers(ledger, rows[:MOST], WHOLE)
        found.sort(key=lambda answer: models.index(answer.model) if models else 0)  # the one chosen first stands to the left
        before, after = self._columns.neighbours(case.row)
        picture, why = self._pictures.find(case)
        keep = {name: value for name, value in given.items() if name in ("a", "b")}
        return page(
            "view_case.html.j2",
            study=self._study.name,
            run=str(self._folder.path),
            case=case,
            chosen=chosen,
            gallery=[self._version(case, at, keep, ledger) for at in sorted(names, key=lambda at: at != unchanged)],
            has_image=picture is not None,
            why=why,
            opening=why == OPENING,
            again=_link("/case", keep, id=case.row, perturbation=chosen),
            models=sorted(set(self._columns.models.values())),
            a=given.get("a", ""),
            b=given.get("b", ""),
            strips=_strips(found, lambda answer: self._read(answer, ledger)),
            wordings=self._wordings(found, ledger),
            n_more=len(rows) - len(found),
            before=_link("/case", keep, id=before),
            after=_link("/case", keep, id=after),
            whole=whole,
        )

    def _version(self, case: ShownCase, at: int, keep: Mapping[str, str], ledger: Ledger) -> dict[str, Any]:
        perturbation, digest = shown.perturbation(ledger, at) or (self._columns.perturbations[at], "")
        return {
            "row": at,
            "name": "the image as it is" if perturbation.name == "none" else str(perturbation),
            "link": _link("/case", keep, id=case.row, perturbation=at),
            "image": _link("/image", {}, case=case.row, perturbation=at) if self._pictures.can_make(perturbation, digest) else "",
            "none": perturbation.name == "no_image",
        }

    def _wordings(
        self, found: Sequence[ShownAnswer], ledger: Ledger
    ) -> list[tuple[Prompt, str, list[tuple[str, list[dict[str, Any]]]]]]:
        """(wording, how it was made, [(model, its answers)]), in the order first asked."""
        grouped: dict[str, tuple[Prompt, dict[str, list[dict[str, Any]]]]] = {}
        names = list(dict.fromkeys(answer.model for answer in found))
        for answer in found:
            _, by_model = grouped.setdefault(repr(answer.prompt), (answer.prompt, {name: [] for name in names}))
            by_model[answer.model].append({"answer": answer, **self._read(answer, ledger)})
        return [(prompt, _made(prompt), list(by_model.items())) for prompt, by_model in grouped.values()]

    # ------------------------------------------------------------ an image

    def _image(self, given: Mapping[str, str], ledger: Ledger, whole: bool) -> Reply:
        """The image of a case the ledger names, under a perturbation it was asked about."""
        row, at = _whole(given.get("case")), _whole(given.get("perturbation"))
        case = shown.case(ledger, row, 0) if row is not None else None
        change = shown.perturbation(ledger, at) if at is not None else None
        if case is None or change is None or at not in self._columns.perturbations_of(case.row):
            return said("There is no such image in this run.", 404)
        picture, why = self._pictures.find(case)
        if picture is None or not self._pictures.can_make(*change):
            return said(why or "This version of Palpate makes that perturbation otherwise.", 404)
        try:
            png = self._pictures.png(picture, change[0])
        except (OSError, ValueError) as fault:
            return said(f"The image cannot be opened: {type(fault).__name__}.", 404)
        return said("The model was shown no image.", 404) if png is None else Reply(png, "image/png")


def _judged(answer: ShownAnswer, reading: Reading | None, label: int) -> tuple[str, str]:
    if answer.status is Status.ERROR:
        return "?", "error"
    outcome = reading.outcome if reading else None
    return judged(ExampleAnswer(answer.model, answer.prompt.name, "", "", outcome), label)


def _made(prompt: Prompt) -> str:
    factors = "".join(f"; {name}: {value}" for name, value in prompt.factors.items())
    return f"{prompt.name}; {FORMS[prompt.form]}; asserts {prompt.polarity}; cell {prompt.cell}{factors}"


def _strips(found: Sequence[ShownAnswer], read: Any) -> list[tuple[str, float, list[Dot]]]:
    """(model, how far its strip reaches either way, its dots): the margins of all its answers shown. One scale for all models."""
    margins = [(a, a.margin) for a in found if a.margin is not None]
    scale = max([MARGIN_OF_SCALE, *(abs(m) for _, m in margins)])
    strips: dict[str, list[Dot]] = {}
    for answer, margin in margins:
        is_read = read(answer)
        about = f"{answer.prompt.name}: {signed(margin)}, {is_read['word']}"
        strips.setdefault(answer.model, []).append(Dot(margin / scale, is_read["tone"], about))
    return [(model, scale, dots) for model, dots in strips.items()]


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and NUMBER.fullmatch(text) else None


def _link(path: str, query: Mapping[str, str], **more: int | None) -> str:
    """An address on this server; empty where one of ``more`` is None."""
    if None in more.values():
        return ""
    fields_ = {**query, **{name: str(value) for name, value in more.items()}}
    return f"{path}?{urlencode(fields_, errors='replace')}" if fields_ else path
