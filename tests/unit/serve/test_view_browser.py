"""The pages of ``palpate view`` in a real browser: nothing executed, no error, nothing fetched elsewhere, no sideways scrolling."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import AXE, CHROMIUM
from hostile_run import hostile
from palpate.results import Results
from palpate.serve.local import LocalServer, Request
from palpate.serve.view import ViewPage

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars"),
    *("--enable-logging=stderr", "--virtual-time-budget=10000"),
)
PAGES = ("/", "/?order=newest", "/?flips=1&model=base", "/case?id=1", "/case?id=2&a=base&b=tuned", "/label")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


def dump(address: str, profile: Path, *flags: str) -> tuple[str, str]:
    """(the document after it was loaded, the console)."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags, "--dump-dom", address]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ran.stdout, "\n".join(line for line in ran.stderr.splitlines() if "CONSOLE" in line)


@pytest.fixture
def page(finished: Path, tmp_path: Path) -> ViewPage:
    """A run with five hundred answers more that mean harm."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    assert hostile(run, times=25) == 500
    return ViewPage(Results.open(run))


@pytest.fixture
def server(page: ViewPage) -> Iterator[LocalServer]:
    with LocalServer(page) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        yield server
        server.stop()
        thread.join(10)


def test_hostile_answers_execute_nothing_and_the_console_is_silent(server: LocalServer, tmp_path: Path) -> None:
    for address in PAGES:
        start = f"http://127.0.0.1:{server.port}{address}{'&' if '?' in address else '?'}token={server.token}"
        document, console = dump(start, tmp_path / "profile")
        title = re.search("<title>(.*?)</title>", document)
        assert title is not None
        assert title[1].endswith("Palpate"), address
        assert "<iframe" not in document
        assert "<script" not in document
        assert console == "", address


def alone(page: ViewPage, address: str) -> str:
    """A page with its style inside, everything unfolded: to be opened from a file, and in a frame, which the pages refuse."""
    path, _, query = address.partition("?")
    fields = dict(pair.split("=") for pair in query.split("&")) if query else {}
    html = page(Request("GET", path, fields)).body.decode()
    links = re.findall(r'<link rel="stylesheet" href="([^"]*)">', html)
    assert links
    for link in links:
        style = page(Request("GET", link)).body.decode()
        html = html.replace(f'<link rel="stylesheet" href="{link}">', f"<style>{style}</style>")
    return html.replace("<details>", "<details open>")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.skipif(not AXE, reason="needs axe-playwright-python, which brings axe-core")
def test_axe_finds_nothing(page: ViewPage, tmp_path: Path, scheme: str) -> None:
    """Colours, names, order, landmarks: no violation of any weight, on the labelling pages too."""
    page(Request("POST", "/label/start", {"alias": "ana", "count": "30"}))
    while page(Request("GET", "/label")).status != 200 or b"drawn" in page(Request("GET", "/label")).body:
        pass
    assert "What does the answer say?" in alone(page, "/label")
    shutil.copy(AXE, tmp_path / "axe.min.js")
    told = "axe.run().then(r => document.title = 'axe: ' + JSON.stringify(r.violations.map(v => [v.id, v.nodes.length])))"
    flags = ("--allow-file-access-from-files", f"--blink-settings=preferredColorScheme={int(scheme == 'light')}")
    for i, address in enumerate(PAGES):
        html = alone(page, address).replace("</body>", f'<script src="axe.min.js"></script><script>{told}</script></body>')
        (tmp_path / f"{i}.html").write_text(html, encoding="utf-8")
        document, _ = dump((tmp_path / f"{i}.html").as_uri(), tmp_path / "profile", *flags)
        assert "<title>axe: []</title>" in document, (address, re.findall("<title>.*?</title>", document))


@pytest.mark.parametrize("width", [375, 768, 1440])
def test_no_sideways_scrolling(page: ViewPage, tmp_path: Path, width: int) -> None:
    """The pages refuse to stand in a frame of another: measured are copies with the style inside."""
    for i, address in enumerate(PAGES):
        (tmp_path / f"{i}.html").write_text(alone(page, address), encoding="utf-8")
        frame = tmp_path / f"frame{i}.html"
        frame.write_text(
            f'<title>waiting</title><iframe src="{i}.html" style="width:{width}px;height:900px;border:0"></iframe>'
            "<script>onload = () => { const d = document.querySelector('iframe').contentDocument.documentElement;"
            " document.title = d.scrollWidth + ' of ' + d.clientWidth; };</script>"
        )
        flags = ("--disable-web-security", "--allow-file-access-from-files", "--window-size=1600,1000")
        document, _ = dump(frame.as_uri(), tmp_path / "profile", *flags)
        assert f"<title>{width} of {width}</title>" in document, address
