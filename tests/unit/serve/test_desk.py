"""The labelling page under the view: the same server and link, the sample of `palpate label`, kept in the run, blind."""

from __future__ import annotations

import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from hostile_run import EVIL
from palpate.errors import LedgerError
from palpate.results import Results
from palpate.serve.desk import Desk
from palpate.serve.local import LocalServer, Request
from palpate.serve.view import ViewPage
from palpate.stages.label import Drawn, draw, waiting
from palpate.store.ledger import Ledger
from palpate.store.people import People
from small import Cli
from visitor import Client


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def client(run: Path) -> Iterator[Client]:
    with LocalServer(ViewPage(Results.open(run))) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        yield Client(server).enter()
        server.stop()
        thread.join(10)


def begin(client: Client, alias: str = "ana", count: int = 30) -> str:
    """The first answer to read, once the sample is drawn."""
    status, _, page = client.post("/label/start", alias=alias, count=count)
    for _ in range(200):
        if status == 200 and "is being drawn" not in page:
            return page
        status, _, page = client.send("GET", "/label")
        time.sleep(0.02)
    raise AssertionError(page)


def number(page: str) -> str:
    found = re.search(r'name="number" value="(\d+)"', page)
    assert found is not None, page
    return found[1]


def kept(run: Path, alias: str = "ana") -> int:
    with Ledger(run / "ledger.sqlite") as ledger:
        return len(People(ledger).by_row(alias))


def test_every_page_of_the_view_leads_there(client: Client) -> None:
    for address in ("/", "/case?id=1"):
        assert '<a href="/label">' in client.send("GET", address)[2]
    form = client.send("GET", "/label")[2]
    assert 'action="/label/start"' in form
    assert 'href="/style.css"' in form


def test_only_with_the_link(client: Client) -> None:
    stranger = Client(client.server)
    assert stranger.send("GET", "/label")[0] == 403
    assert stranger.post("/label/start", alias="x", count=10)[0] == 403
    assert client.send("POST", "/label/start", "alias=x&count=10", Origin="https://evil.example")[0] == 403


def test_what_is_read_is_kept_as_by_the_verb_and_goes_on_another_day(client: Client, run: Path) -> None:
    page = begin(client)
    results = Results.open(run)
    with results.folder.ledger() as ledger:
        sample = draw(results.study, ledger, 30)
    assert f"0 of {len(sample)} read" in page
    assert number(page) == str(sample[0].rows[0])
    assert unescape(sample[0].prompt.text).splitlines()[0] in unescape(page)
    status, headers, _ = client.post("/label", number=number(page), reading="p")
    assert (status, headers["Location"]) == (303, "/label")
    page = client.send("GET", "/label")[2]
    assert f"1 of {len(sample)} read" in page
    ended = client.post("/label/end")[2]
    assert "Thank you" in ended
    assert '<a href="/">' in ended
    assert f"palpate measure {run} reading_quality" in unescape(ended)
    again = client.send("GET", "/label")[2]
    assert 'value="ana"' in again, "who read before is proposed"
    assert f"1 of {len(sample)} read" in begin(client)
    with results.folder.ledger() as ledger:
        assert len(waiting(sample, ledger, "ana")) == len(sample) - 1
    assert kept(run) == len(sample[0].rows)


def test_it_is_blind(client: Client) -> None:
    page = begin(client)
    for told in ("tuned", "base", "first-word", "rules", "right", "wrong"):
        assert told not in re.sub(r"not whether it is right|<a [^>]*>", "", page), told


def test_the_view_shows_what_a_person_read(client: Client, run: Path) -> None:
    page = begin(client)
    client.post("/label", number=number(page), reading="o")
    assert re.search(r"<b>[1-9]\d*</b> of", client.send("GET", "/?disagree=1")[2])


@pytest.mark.parametrize("alias", ["", "a b", "<script>", "x" * 33])
def test_an_alias_that_is_none_is_asked_for_again(client: Client, run: Path, alias: str) -> None:
    status, _, page = client.post("/label/start", alias=alias, count=10)
    assert status == 400
    assert "is no alias" in page
    assert "<script>" not in page
    assert kept(run) == 0


@pytest.mark.parametrize("count", ["", "0", "-3", "1e3", "10001", "9" * 400])
def test_a_number_that_is_none_is_asked_for_again(client: Client, count: str) -> None:
    status, _, page = client.post("/label/start", alias="ana", count=count)
    assert status == 400
    assert "is no number of answers" in page


def test_addresses_out_of_order_lead_to_the_form(client: Client) -> None:
    for method, path in (("POST", "/label"), ("POST", "/label/end"), ("GET", "/label/nowhere"), ("GET", "/label/start")):
        status, headers, _ = client.send(method, path)
        assert (status, headers["Location"]) == (303, "/label"), path
    status, headers, style = client.send("GET", "/label/style.css")
    assert (status, headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert "fieldset" in style
    assert client.send("GET", "/labels")[0] == 404


def test_nothing_is_lost_where_it_cannot_be_kept(client: Client, run: Path) -> None:
    """While a run is being asked its ledger has one writer."""
    page = begin(client)
    results = Results.open(run)
    with results.folder.writing(results.study.name, results.study.to_toml()):
        status, _, told = client.post("/label", number=number(page), reading="p")
    assert status == 503
    assert "Not kept" in told
    assert number(told) == number(page)
    assert client.post("/label", number=number(page), reading="p")[0] == 303
    assert kept(run) > 0


def test_a_run_that_is_not_read_yet_says_so(cli: Cli, small_study: Path, tmp_path: Path) -> None:
    cli("ask", small_study, "--out", tmp_path / "asked", "--quiet")
    desk = Desk(Results.open(tmp_path / "asked"))
    assert "is no alias" in unescape(said(desk, "POST", "/label/start", alias="?", count="10"))
    told = said(desk, "POST", "/label/start", alias="ana", count="10")
    while "is being drawn" in told:
        told = said(desk, "GET", "/label")
    assert "palpate read" in unescape(told)
    assert 'value="ana"' in told


def said(desk: Desk, method: str, path: str, **fields: str) -> str:
    return desk(Request(method, path, fields)).body.decode()


def test_other_pages_do_not_wait_for_the_sample(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large run takes seconds to draw from: that goes on beside the server."""
    go = threading.Event()

    def slowly(*args: object) -> list[Drawn]:
        assert go.wait(20)
        return draw(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("palpate.serve.desk.draw", slowly)
    desk = Desk(Results.open(run))
    waiting = said(desk, "POST", "/label/start", alias="ana", count="10")
    assert "is being drawn" in waiting
    assert '<meta http-equiv="refresh" content="1;url=/label">' in waiting
    assert "is being drawn" in said(desk, "GET", "/label")
    go.set()
    while "is being drawn" in (told := said(desk, "GET", "/label")):
        pass
    assert told == "" or "What does the answer say?" in told
    assert "What does the answer say?" in said(desk, "GET", "/label")


def test_a_fault_while_drawing_is_said_and_begun_anew(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> list[Drawn]:
        raise LedgerError("the ledger is damaged")

    monkeypatch.setattr("palpate.serve.desk.draw", broken)
    desk = Desk(Results.open(run))
    told = said(desk, "POST", "/label/start", alias="ana", count="10")
    while "is being drawn" in told:
        told = said(desk, "GET", "/label")
    assert "the ledger is damaged" in told
    monkeypatch.undo()
    said(desk, "POST", "/label/start", alias="ana", count="10")
    for _ in range(200):
        if "What does the answer say?" in said(desk, "GET", "/label"):
            return
        time.sleep(0.02)
    raise AssertionError


def test_hostile_answers_are_escaped(run: Path) -> None:
    with sqlite3.connect(run / "ledger.sqlite") as db:
        db.executemany("UPDATE response SET text = ? WHERE id % 10 = ?", [(text, n) for n, text in enumerate(EVIL)])
    db.close()
    with LocalServer(ViewPage(Results.open(run))) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        client = Client(server).enter()
        page, seen = begin(client, count=400), 0
        for _ in range(60):
            if 'name="number"' not in page:
                break
            assert not re.search(r"<(script|img|svg|iframe|a href=.javascript)", page)
            seen += "&lt;" in page
            client.post("/label", number=number(page), reading="u")
            page = client.send("GET", "/label")[2]
        server.stop()
        thread.join(10)
    assert seen > 0
