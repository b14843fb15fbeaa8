"""The local page: only with the link, only from this machine, nothing unescaped, nothing lost, nothing kept twice."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from palpate.errors import RunError
from palpate.nouns import Form, Outcome, Polarity, Prompt
from palpate.serve import browser
from palpate.serve.label import LabelPage
from palpate.serve.local import LARGEST_FORM, LocalServer, Reply, Request
from palpate.stages.label import Drawn
from visitor import Client

EVIL = '<script>alert(1)</script> \x1b[31m\u202e & "quoted" </p>'


def drawn(row: int, text: str = "Yes", question: str = "Is it there?") -> Drawn:
    prompt = Prompt("p", question, Form.YES_NO, Polarity.POSITIVE, "target")
    return Drawn((row,), "secret-model | yes-no | positive", "pneumonia", prompt, text)


@pytest.fixture
def kept() -> list[tuple[int, Outcome]]:
    return []


@pytest.fixture
def server(kept: list[tuple[int, Outcome]]) -> Iterator[LocalServer]:
    items = [drawn(1), drawn(2, EVIL, EVIL), drawn(3, "")]
    page = LabelPage(items, 3, lambda d, o: kept.append((d.rows[0], o)), lambda: server.stop())
    with LocalServer(page) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        yield server
        server.stop()
        thread.join(10)


# ---------------------------------------------------------------- who gets in


def test_it_listens_to_this_machine_alone(server: LocalServer) -> None:
    assert server._server.server_address[0] == "127.0.0.1"
    assert server.link == f"http://127.0.0.1:{server.port}/?token={server.token}"
    assert len(server.token) >= 40


def test_without_the_link_there_is_nothing(server: LocalServer) -> None:
    stranger = Client(server)
    for path in ("/", "/style.css", "/?token=", "/?token=x", f"/?token={server.token[:-1]}", f"/?Token={server.token}"):
        status, _, text = stranger.send("GET", path)
        assert status == 403, path
        assert "Is it there" not in text
    assert stranger.post(reading="p", number=1)[0] == 403
    stranger.cookie = f"palpate-{server.port}=wrong"
    assert stranger.send("GET", "/")[0] == 403


def test_the_link_gives_a_cookie_that_scripts_and_other_sites_do_not_have(server: LocalServer) -> None:
    _, headers, text = Client(server).send("GET", f"/?token={server.token}")
    assert {"HttpOnly", "SameSite=Lax"} <= set(re.split(r"; ?", headers["Set-Cookie"]))
    assert text == ""
    assert server.token not in headers["Location"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", "[::1]:80", ""])
def test_another_hosts_name_is_refused(server: LocalServer, host: str) -> None:
    client = Client(server).enter()
    assert client.send("GET", "/", Host=host)[0] == 403
    assert client.send("POST", "/", "reading=p&number=1", Host=host)[0] == 403
    assert client.send("GET", f"/?token={server.token}", Host=host)[0] == 403


def test_localhost_is_this_machine_too(server: LocalServer) -> None:
    assert Client(server).enter().send("GET", "/", Host=f"localhost:{server.port}")[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_form_of_another_page_is_refused(server: LocalServer, kept: list, origin: str) -> None:
    assert Client(server).enter().send("POST", "/", "reading=p&number=1", Origin=origin)[0] == 403
    assert kept == []


def test_too_much_or_nothing_sized_is_refused(server: LocalServer) -> None:
    client = Client(server).enter()
    assert client.send("POST", "/", "x", **{"Content-Length": str(LARGEST_FORM + 1)})[0] == 413
    assert client.send("POST", "/", "", **{"Content-Length": "x"})[0] == 413


def test_every_reply_carries_a_policy_that_allows_no_script(server: LocalServer) -> None:
    client = Client(server)
    for path in ("/", f"/?token={server.token}", "/nowhere"):
        _, headers, _ = client.send("GET", path)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "Python" not in headers["Server"]
        client.enter()


def test_a_port_in_use_is_an_error_that_says_so(server: LocalServer) -> None:
    with pytest.raises(RunError, match=f"port {server.port} cannot be used"):
        LocalServer(lambda request: Reply(), port=server.port)


def test_malformed_requests_do_not_end_it(server: LocalServer) -> None:
    client = Client(server).enter()
    for path in ("/?" + "a=1&" * 100, "/%00", "//evil.example/", "/../../etc/passwd", "/?token=%ff"):
        assert client.send("GET", path)[0] in (200, 403, 404)
    client.cookie += "; \x01=;;;"
    client.send("GET", "/")
    assert Client(server).enter().send("GET", "/")[0] == 200


# ---------------------------------------------------------------- what is shown


def test_the_page_shows_question_answer_and_what_yes_means_and_not_the_model(server: LocalServer) -> None:
    _, _, text = Client(server).enter().send("GET", "/")
    assert "Is it there?" in text
    assert "pneumonia" in text
    assert "says that the condition is present" in text
    assert "secret-model" not in text
    assert "0 of 3 read" in text


def test_text_of_a_model_is_escaped_and_made_plain(server: LocalServer) -> None:
    client = Client(server).enter()
    client.post(reading="p", number=1)
    _, _, text = client.send("GET", "/")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_an_empty_answer_is_said_to_be_empty(server: LocalServer) -> None:
    client = Client(server).enter()
    for number in (1, 2):
        client.post(reading="u", number=number)
    assert "(nothing)" in client.send("GET", "/")[2]


# ---------------------------------------------------------------- what is kept


def test_readings_are_kept_in_order_and_then_it_thanks(server: LocalServer, kept: list) -> None:
    client = Client(server).enter()
    for number, key in ((1, "p"), (2, "n"), (3, "c")):
        status, headers, _ = client.post(reading=key, number=number)
        assert (status, headers["Location"]) == (303, "/")
    assert kept == [(1, Outcome.POSITIVE), (2, Outcome.NEGATIVE), (3, Outcome.REFUSE_CAPABILITY)]
    assert "Thank you" in client.send("GET", "/")[2]
    assert client.post(reading="p", number=3)[0] == 303
    assert len(kept) == 3


def test_a_form_sent_twice_is_one_reading(server: LocalServer, kept: list) -> None:
    client = Client(server).enter()
    for _ in range(3):
        client.post(reading="p", number=1)
    assert kept == [(1, Outcome.POSITIVE)]


def test_later_comes_back_and_nonsense_is_nothing(server: LocalServer, kept: list) -> None:
    client = Client(server).enter()
    client.post(reading="skip", number=1)
    client.post(reading="zzz", number=2)
    client.post(number=2)
    client.post(reading="n", number=2)
    client.post(reading="n", number=3)
    client.post(reading="h", number=1)
    assert kept == [(2, Outcome.NEGATIVE), (3, Outcome.NEGATIVE), (1, Outcome.HEDGE)]


def test_what_cannot_be_kept_is_said_and_stays() -> None:
    def fails(d: Drawn, o: Outcome) -> None:
        raise RunError("another run is writing <here>")

    page = LabelPage([drawn(1)], 1, fails, lambda: None)
    reply = page(Request("POST", "/", {"reading": "p", "number": "1"}))
    assert reply.status == 503
    assert b"another run is writing &lt;here&gt;" in reply.body
    assert b"Is it there?" in page(Request("GET", "/")).body


def test_stopping_ends_the_server(server: LocalServer) -> None:
    client = Client(server).enter()
    assert client.send("GET", "/end")[0] == 404
    assert "Thank you." in client.post("/end")[2]


def test_the_verb_serves_a_run_and_keeps_what_is_read(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli) -> None:
    shutil.copytree(finished, tmp_path / "run")

    def one_visit(server: LocalServer) -> None:
        thread = threading.Thread(target=server._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        client = Client(server).enter()
        number = re.search(r'name="number" value="(\d+)"', client.send("GET", "/")[2])
        assert number is not None
        client.post(reading="p", number=number[1])
        client.post("/end")
        thread.join(10)

    monkeypatch.setattr(LocalServer, "serve", one_visit)
    done = cli("label", tmp_path / "run", "--no-browser", "-n", "12")
    assert "http://127.0.0.1:" in done.output
    assert re.search(r"^1 of \d+ read by reader-1", done.output, re.MULTILINE)


# ---------------------------------------------------------------- the browser


def test_the_browser_is_shown_a_file_of_this_user_alone_and_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(browser, "has_screen", lambda: True)
    monkeypatch.setattr("webbrowser.open", lambda url: asked.append(url) or True)
    link = 'http://127.0.0.1:1/?token=SECRET&a="'
    with browser.opened(link) as was:
        assert was
        assert asked[0].startswith("file://")
        assert "SECRET" not in asked[0]
        page = Path(unquote(urlsplit(asked[0]).path))
        assert page.stat().st_mode & 0o077 == 0
        assert page.parent.stat().st_mode & 0o077 == 0
        assert f'<a href="{escape(link, quote=True)}">' in page.read_text(encoding="utf-8")
    assert not page.parent.exists()


@pytest.mark.parametrize(("platform", "display", "there"), [("linux", "", False), ("linux", ":0", True), ("darwin", "", True)])
def test_without_a_screen_no_browser_takes_the_terminal_over(
    monkeypatch: pytest.MonkeyPatch, platform: str, display: str, there: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: asked.append(url) or True)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    with browser.opened("http://127.0.0.1:1/") as was:
        assert was is there
    assert bool(asked) is there
