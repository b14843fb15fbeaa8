"""The pages to look inside a run: what they show, that nothing in it acts, that nothing else is served, while it is written."""

from __future__ import annotations

import io
import re
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from PIL import Image

from hostile_run import EVIL, hostile
from palpate import pipeline
from palpate.nouns import Outcome, Perturbation
from palpate.report.words import whole_words
from palpate.results import Results
from palpate.serve import view
from palpate.serve.local import LocalServer, Reply, Request
from palpate.serve.pictures import OPENING, Pictures
from palpate.serve.view import ViewPage
from palpate.stages.plan import plan
from palpate.store import shown
from palpate.store.folder import RunFolder
from palpate.store.ledger import Ledger
from palpate.store.people import People
from palpate.study import Study
from small import STUDY, write_study
from visitor import Client


def get(page: ViewPage, address: str) -> Reply:
    url = urlsplit(address)
    return page(Request("GET", url.path, dict(parse_qsl(url.query, keep_blank_values=True))))


def text(page: ViewPage, address: str) -> str:
    reply = get(page, address)
    assert reply.status == 200, reply.body
    return reply.body.decode()


def patiently(page: ViewPage, address: str) -> str:
    """Once the images were looked through."""
    for _ in range(200):
        found = text(page, address)
        if OPENING not in unescape(found):
            return found
        time.sleep(0.05)
    raise AssertionError("the images were never looked through")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run under three perturbations, one of which shows nothing. Read it, never change it."""
    folder = tmp_path_factory.mktemp("viewed")
    study = STUDY.replace('prompts = "reference"', 'prompts = "reference"\nperturbations = ["none", "noise", "no_image"]')
    pipeline.run(Study.load(write_study(folder, study, per_class=3)), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def page(run: Path) -> ViewPage:
    return ViewPage(Results.open(run))


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


class Tags(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


# ---------------------------------------------------------------- the list


def test_the_list_shows_answers_with_their_reading_and_counts_them(page: ViewPage) -> None:
    first = text(page, "/")
    assert "<b>432</b> of 432 answers; here 1 to 50" in first
    assert len(re.findall(r'<th scope="row">', first)) == 50
    assert "<mark>" in first
    assert re.search(r'aria-hidden="true">✓</span>right', first)


def test_links_lead_through_all_answers_and_back(page: ViewPage) -> None:
    address, seen, before = "/?outcome=right&model=tuned", [], []
    while True:
        found = text(page, address)
        seen += re.findall(r'<th scope="row"><a href="[^"]*">([^<]*)', found)
        back = re.search(r'rel="prev" href="([^"]*)"', found)
        before.append(unescape(back[1]) if back else "")
        onward = re.search(r'rel="next" href="([^"]*)"', found)
        if onward is None:
            break
        address = unescape(onward[1])
    total = re.search(r"<b>(\d+)</b> of 432", found)
    assert total is not None
    assert len(seen) == int(total[1]) > 100
    assert before[0] == ""
    assert f"here {50 * (len(before) - 2) + 1} to" in text(page, before[-1])


def test_a_filter_stays_chosen_and_can_be_taken_back(page: ViewPage) -> None:
    found = text(page, "/?model=tuned&label=0&flips=1&order=newest")
    assert '<option value="tuned" selected>' in found
    assert '<option value="0" selected>' in found
    assert re.search(r'name="flips" value="1" checked', found)
    assert '<a href="/">All answers</a>' in found


@pytest.mark.parametrize("query", ["model=no", "outcome=%27%3B--", "status=<x>", "factor==", "task=../..", "after=99999999999999"])
def test_what_is_not_there_is_an_empty_list(page: ViewPage, query: str) -> None:
    found = text(page, f"/?{query}")
    assert "No answer is like that" in found or "<b>432</b>" in found
    assert '<th scope="row">' not in found


@pytest.mark.parametrize("query", ["after=x", "after=-1", "before=1e9", "after=" + "9" * 400, "order=sideways", "a%00b=1"])
def test_nonsense_is_passed_over(page: ViewPage, query: str) -> None:
    assert "<b>432</b> of 432" in text(page, f"/?{query}")


# ---------------------------------------------------------------- a case


def test_what_is_asked_and_not_read_yet_can_be_chosen_by_what_it_will_be_read_as(run: Path, tmp_path: Path) -> None:
    """While a run is being asked it has no reading: the pages work them out, show the same, and write nothing."""
    study = Study.load(run / "study.toml")
    asked = RunFolder(tmp_path / "run")
    pipeline.ask(plan(study), asked)
    live, later = ViewPage(Results.open(asked.path)), ViewPage(Results.open(run))
    for query in ("outcome=right", "outcome=wrong&model=tuned", "outcome=refuse-policy", "flips=1", "outcome=unread", "label=1"):
        seen = [
            re.findall(r"<b>[\d,]+</b> of 432|<mark>[^<]*|aria-hidden=\"true\">.</span>[\w-]+", text(p, f"/?{query}"))
            for p in (live, later)
        ]
        assert seen[0] == seen[1], query
    note = "The run has not read these answers yet"
    assert note in text(live, "/")
    assert note not in text(later, "/")
    assert re.findall("<mark>[^<]*", text(live, "/case?id=2")) == re.findall("<mark>[^<]*", text(later, "/case?id=2"))
    with asked.ledger() as ledger:
        assert list(ledger._select("SELECT count(*) FROM reading")) == [(0,)]
    Results.open(asked.path).read()
    assert note not in text(live, "/")
    assert text(live, "/?outcome=right").count("<mark>") == text(later, "/?outcome=right").count("<mark>")


def test_answers_that_a_model_reads_wait_for_it(tmp_path: Path) -> None:
    """Where the primary reading asks a model nothing is foretold: looking costs nothing."""
    judge = '\n[[readings]]\nname = "judge"\nmethod = "judge"\nmodel = { name = "j", kind = "scripted_judge" }\n'
    write_study(tmp_path, STUDY.replace('prompts = "reference"', 'prompts = "reference"\nreading = "judge"') + judge, per_class=2)
    asked = RunFolder(tmp_path / "run")
    pipeline.ask(plan(Study.load(tmp_path / "study.toml")), asked)
    live = ViewPage(Results.open(asked.path))
    assert "<b>96</b> of 96" in text(live, "/?outcome=unread")
    assert "has not read these answers" not in text(live, "/")


@pytest.mark.parametrize(("a", "b"), [("base", "tuned"), ("tuned", "base")])
def test_of_two_models_the_one_chosen_first_stands_to_the_left(page: ViewPage, a: str, b: str) -> None:
    found = re.findall(r"<h4>([^<]+)</h4>", text(page, f"/case?id=2&a={a}&b={b}"))
    assert found[:4] == [a, b, a, b]
    assert re.findall(r'<div class="strip"><span>([^<]+)', text(page, f"/case?id=2&a={a}&b={b}")) == [a, b]


def test_a_case_is_found_by_the_name_that_the_report_has(page: ViewPage) -> None:
    name = re.search(r"<h1>(c-[0-9a-f]{12})</h1>", text(page, "/case?id=3"))
    assert name is not None
    assert text(page, f"/case?name=+{name[1]}+") == text(page, "/case?id=3")
    assert '<form class="filter" method="get" action="/case"' in text(page, "/")
    for wrong in ("c-000000000000", "%27--", "x" * 500):
        assert get(page, f"/case?name={wrong}&id=3").status == 404


@pytest.mark.parametrize(
    ("given", "low", "high", "marked"),
    [
        ("I cannot provide", 0, 10, "I cannot provide"),
        ("Yes, it is", 0, 3, "Yes"),
        ("A) No", 0, 1, "A"),
        ("(unclear)", 2, 5, "unclear"),
        ("short", 2, 99, "short"),
        ("none", 0, 0, ""),
        ("", 3, 5, ""),
    ],
)
def test_no_word_is_marked_in_part(given: str, low: int, high: int, marked: str) -> None:
    start, end = whole_words(given, (low, high))
    assert given[start:end] == marked


def test_a_case_shows_every_wording_and_every_models_answer(page: ViewPage, run: Path) -> None:
    found = unescape(text(page, "/case?id=2"))
    with Ledger(run / "ledger.sqlite") as ledger:
        case = shown.case(ledger, 2, 2)
        prompts = Results.open(run).study.tasks[0].prompts
        rows = list(ledger._select("SELECT text FROM response WHERE case_ = 2 AND perturbation = 1"))
    assert case is not None
    assert f"<h1>{case.name}</h1>" in found
    assert f"the condition is <b>{'present' if case.label else 'absent'}</b>" in found
    for prompt in prompts:
        assert prompt.text.split("\n")[0] in found
    assert found.count('<div class="said">') == len(rows) == 2 * len(prompts)
    assert found.count("<circle") == sum(1 for _ in rows) - found.count("margin –")
    assert found.count("<summary>Readings</summary>") == len(rows)
    assert "palpate show" in found


def test_two_models_stand_beside_each_other_or_one_alone(page: ViewPage) -> None:
    both, one = text(page, "/case?id=1&a=base&b=tuned"), text(page, "/case?id=1&a=tuned")
    assert both.count("<h4>base</h4>") == both.count("<h4>tuned</h4>") > 0
    assert "<h4>base</h4>" not in one
    assert one.count("<h4>tuned</h4>") == both.count("<h4>tuned</h4>")
    assert "a=base&amp;b=tuned" in both.split("Case after")[0]


def test_the_perturbed_versions_stand_beside_the_image_and_lead_to_their_answers(page: ViewPage) -> None:
    found = patiently(page, "/case?id=1")
    sources = [unescape(a["src"] or "") for tag, a in Tags(found).found if tag == "img"]
    assert sources == ["/image?case=1&perturbation=1", "/image?case=1&perturbation=2"]
    assert ">no image</div>" in found
    links = [unescape(a) for a in re.findall(r'href="(/case\?id=1&amp;perturbation=\d)"', found)]
    assert len(set(links)) == 3
    noisy = text(page, "/case?id=1&perturbation=2")
    assert re.search(r'aria-current="true">noise', noisy)
    assert noisy != found


def test_images_are_those_the_models_were_shown(page: ViewPage, run: Path) -> None:
    patiently(page, "/case?id=1")
    study = Results.open(run).study
    pictures = Pictures(study)
    with Ledger(run / "ledger.sqlite") as ledger:
        case = shown.case(ledger, 1, 1)
    assert case is not None
    found, why = pictures.find(case, 30)
    assert found is not None, why
    plain = get(page, "/image?case=1&perturbation=1")
    assert (plain.status, plain.kind) == (200, "image/png")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(plain.body))), np.asarray(found.image.open()))
    noisy = get(page, "/image?case=1&perturbation=2")
    assert noisy.body == pictures.png(found, Perturbation("noise")) != plain.body
    assert get(page, "/image?case=1&perturbation=3").status == 404  # no image was shown


@pytest.mark.parametrize(
    "address",
    [
        *("/case", "/case?id=0", "/case?id=999", "/case?id=-1", "/case?id=1;2", "/case?id=../../etc/passwd"),
        *("/image", "/image?case=1", "/image?case=1&perturbation=9", "/image?case=99&perturbation=1"),
        *("/image?case=/etc/passwd&perturbation=1", "/image?path=/etc/passwd&case=1", "/image/../study.toml", "/study.toml"),
        *("/ledger.sqlite", "/cases.csv", "/../cases.csv", "/%2e%2e/cases.csv", "/static/style.css", "/case/1", "//case"),
    ],
)
def test_nothing_is_served_but_what_the_run_names(page: ViewPage, address: str) -> None:
    reply = get(page, address)
    assert reply.status == 404
    assert b"root:" not in reply.body
    assert len(reply.body) < 100


def test_an_image_that_changed_or_is_gone_is_not_shown(copied: Path, run: Path) -> None:
    with Ledger(copied / "ledger.sqlite") as ledger:
        case = shown.case(ledger, 1, 1)
    assert case is not None
    study = Results.open(copied).study
    assert Pictures(study).find(replace(case, image="0" * 64), 30)[1].endswith("than the one asked about.")
    assert Pictures(study).find(replace(case, name="no such"), 30)[1].endswith("no such case any more.")
    assert Pictures(study).find(replace(case, task="gone"), 30)[1].startswith("The study has no such task")
    assert not Pictures(study).can_make(Perturbation("noise"), "another seed's")
    text_ = (copied / "study.toml").read_text(encoding="utf-8")
    (copied / "study.toml").write_text(text_.replace(str(run.parent / "images"), str(copied / "nowhere")), encoding="utf-8")
    found = patiently(ViewPage(Results.open(copied)), "/case?id=1")
    assert "No image is shown. The study&#39;s images cannot be opened now" in found
    assert "<img" not in found


# ---------------------------------------------------------------- what means harm


def test_hostile_texts_are_shown_and_do_nothing(copied: Path) -> None:
    assert hostile(copied) == 2 * len(EVIL)
    page = ViewPage(Results.open(copied))
    for address in ("/?order=newest", "/case?id=1", "/case?id=2", "/?model=%3Cscript%3E", "/case?id=1&a=%22%3E%3Cscript%3E"):
        found = text(page, address)
        for tag, attributes in Tags(found).found:
            assert tag not in ("script", "iframe", "object", "embed", "base", "style"), address
            assert not [a for a in attributes if a.startswith("on") or a == "style"], (address, tag)
            for name in ("href", "src", "action"):
                assert (attributes.get(name) or "/").startswith("/"), (address, tag)
        assert not set(found) & set("\x1b\x00\u202e\u2066")
    newest = text(page, "/?order=newest")
    shown_ = newest.replace("<mark>", "").replace("</mark>", "")
    assert "&lt;script&gt;document.title=&#39;owned&#39;&lt;/script&gt;" in shown_
    assert "{{ 7*7 }}{% raw %}" in shown_
    assert "\ufffd[31m\ufffdevil\ufffd" in shown_


def test_a_very_long_answer_is_cut_and_said_to_be(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "WHOLE", 1)
    monkeypatch.setattr(view, "LETTERS", 1)
    page = ViewPage(Results.open(copied))
    assert re.search(r"… \d+ characters in all", text(page, "/case?id=1"))
    assert '<span class="soft">…</span>' in text(page, "/")


def test_a_case_with_very_many_answers_says_what_is_left(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "MOST", 5)
    assert "19 further answers are not shown" in text(ViewPage(Results.open(run)), "/case?id=1")


def test_readings_that_disagree_are_said_to(copied: Path) -> None:
    page = ViewPage(Results.open(copied))
    assert "No answer is like that" in text(page, "/?disagree=1")
    with Ledger(copied / "ledger.sqlite") as ledger:
        People(ledger).append([(1, "reader-1", Outcome.OFF_TOPIC, "s")])
    assert "<b>1</b> of 432" in text(page, "/?disagree=1")
    assert "readings disagree" in text(page, "/?disagree=1").split("<tbody>")[1]
    case = text(page, "/case?id=1")
    assert "person reader-1: <b>off-topic</b>" in case
    assert "<details open><summary>Readings disagree" in case


# ---------------------------------------------------------------- served


@pytest.fixture
def server(page: ViewPage) -> Iterator[LocalServer]:
    with LocalServer(page) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        yield server
        server.stop()
        thread.join(10)


def test_it_needs_the_link_and_this_host_and_only_shows(server: LocalServer) -> None:
    stranger = Client(server)
    for path in ("/", "/case?id=1", "/image?case=1&perturbation=1", "/style.css"):
        assert stranger.send("GET", path)[0] == 403, path
        assert Client(server).enter().send("GET", path, Host="evil.example")[0] == 403
    client = Client(server).enter()
    assert client.post("/", model="base")[0] == 405
    assert client.post("/case", id=1)[0] == 405
    status, headers, found = client.send("GET", "/case?id=1")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert "<script" not in found
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert client.send("GET", "/style.css")[1]["Content-Type"].startswith("text/css")
    assert client.send("GET", "/icon.svg")[1]["Content-Type"] == "image/svg+xml"


def test_the_link_may_lead_to_a_case(server: LocalServer) -> None:
    status, headers, _ = Client(server).send("GET", f"/case?id=2&a=base&token={server.token}")
    assert (status, headers["Location"]) == (303, "/case?id=2&a=base")
    status, headers, _ = Client(server).send("GET", f"//evil.example/?token={server.token}&x=%0d%0aSet-Cookie:%20a=b")
    assert (status, headers["Location"]) == (303, "/evil.example/?x=%0D%0ASet-Cookie%3A+a%3Db")


def test_a_run_that_is_being_written_is_followed(small_study: Path, tmp_path: Path) -> None:
    """Opened when nothing was answered; every page whole while another thread asks and reads; at the end, all is there."""
    study = Study.load(small_study)
    planned = pipeline.plan(study)
    folder = tmp_path / "run"
    begun, faults = threading.Event(), []

    def asks() -> None:
        try:
            pipeline.run(study, folder)
        except Exception as fault:
            faults.append(fault)
            raise

    thread = threading.Thread(target=asks)
    thread.start()
    for _ in range(400):
        if (folder / "study.toml").exists():
            with Ledger(folder / "ledger.sqlite") as ledger:
                begun.set() if ledger.plan() else None
        if begun.is_set():
            break
        time.sleep(0.02)
    page = ViewPage(Results.open(folder))
    seen = []
    while thread.is_alive():
        found = re.search(r"<b>([\d,]+)</b> of", text(page, "/?order=newest"))
        assert found is not None
        seen.append(int(found[1]))
        get(page, "/case?id=1")
    thread.join()
    assert faults == []
    assert seen == sorted(seen)
    assert f"<b>{planned.n_trials}</b> of {planned.n_trials}" in text(page, "/")
    assert text(page, "/") == text(ViewPage(Results.open(folder)), "/")


def test_the_verb_serves_a_run(run: Path, monkeypatch: pytest.MonkeyPatch, cli) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("palpate.serve.browser.has_screen", lambda: True)
    visits: list[str] = []

    def one_visit(server: LocalServer) -> None:
        thread = threading.Thread(target=server._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        visits.append(Client(server).enter().send("GET", "/")[2])
        server.stop()
        thread.join(10)

    monkeypatch.setattr(LocalServer, "serve", one_visit)
    assert "look here, Ctrl-C ends: http://127.0.0.1:" in cli("view", run).output
    assert "of 432 answers" in visits[0]
    assert len(opened) == 1
    assert opened[0].startswith("file://")  # and not the link: other users see command lines
    cli("view", run, "--no-browser")
    assert len(opened) == 1
    assert "no such run folder" in cli("view", run / "nowhere", exit_code=2).stderr
