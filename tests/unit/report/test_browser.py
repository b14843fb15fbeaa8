"""The report in a real browser: charts drawn, nothing executed, nothing fetched, no sideways scrolling."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from browser import CHROMIUM
from palpate.report.html import render_html
from palpate.report.view import ReportView

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars"),
    *("--enable-logging=stderr", "--virtual-time-budget=10000"),
)
ONE_ORIGIN = ("--disable-web-security", "--allow-file-access-from-files", "--window-size=1600,1000")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]


def dump(page: Path, profile: Path, *flags: str) -> tuple[str, str]:
    """(the document after its scripts ran, the console)."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags, "--dump-dom", page.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ran.stdout, "\n".join(line for line in ran.stderr.splitlines() if "CONSOLE" in line)


def test_charts_are_drawn_and_the_console_is_silent(view: ReportView, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_html(view), encoding="utf-8")
    document, console = dump(page, tmp_path / "profile")
    assert 'data-charts="drawn"' in document
    assert document.count('class="main-svg"') >= 11
    assert "The chart needs JavaScript" not in document.split('id="charts"')[0]
    assert console == ""


def test_hostile_answers_execute_nothing(hostile: ReportView, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_html(hostile), encoding="utf-8")
    document, console = dump(page, tmp_path / "profile")
    assert 'data-charts="drawn"' in document
    title = re.search("<title>(.*?)</title>", document)
    assert title is not None
    assert title[1].startswith("Palpate: ")
    assert "<iframe" not in document
    assert "<img src=x" not in document
    assert console == ""


def test_the_policy_stops_a_script_that_is_not_ours(view: ReportView, tmp_path: Path) -> None:
    """Escaping is the first wall; this is the second."""
    html = render_html(view)
    for bad in ("<script>document.title='owned'</script>", "<img src='data:,x' onerror=\"document.title='owned'\">"):
        page = tmp_path / "report.html"
        page.write_text(html.replace("</main>", f"{bad}</main>"), encoding="utf-8")
        document, console = dump(page, tmp_path / "profile")
        assert "<title>Palpate: " in document
        assert "Content Security Policy" in console


def test_the_library_runs_only_as_it_was_packed(view: ReportView, tmp_path: Path) -> None:
    """A page whose library was exchanged draws nothing."""
    import base64
    import gzip

    other = base64.b64encode(gzip.compress(b"document.title='owned'")).decode()
    page = tmp_path / "report.html"
    packed = re.sub(r'(id="library">)[^<]*', lambda found: found[1] + other, render_html(view))
    page.write_text(packed, encoding="utf-8")
    document, _ = dump(page, tmp_path / "profile")
    assert "<title>Palpate: " in document
    assert 'data-charts="drawn"' not in document


@pytest.mark.parametrize("width", [375, 768, 1440])
def test_no_sideways_scrolling(view: ReportView, hostile: ReportView, tmp_path: Path, width: int) -> None:
    for name, shown in (("view", view), ("hostile", hostile)):
        (tmp_path / f"{name}.html").write_text(render_html(shown), encoding="utf-8")
        frame = tmp_path / f"frame-{name}.html"
        frame.write_text(
            f'<title>waiting</title><iframe src="{name}.html" style="width:{width}px;height:900px;border:0"></iframe>'
            "<script>setInterval(() => { const d = document.querySelector('iframe').contentDocument.documentElement;"
            " if (d.dataset.charts) { d.querySelectorAll('details').forEach((x) => { x.open = true; });"
            " document.title = d.scrollWidth + ' of ' + d.clientWidth; } }, 200);</script>"
        )
        document, _ = dump(frame, tmp_path / "profile", *ONE_ORIGIN)
        assert f"<title>{width} of {width}</title>" in document


def test_the_first_tables_are_seen_whole_on_a_wide_screen(view: ReportView, tmp_path: Path) -> None:
    """A box that scrolls hides its last column from who prints or glances: the first tables need no scrolling."""
    (tmp_path / "view.html").write_text(render_html(view), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        '<title>waiting</title><iframe src="view.html" style="width:1440px;height:900px;border:0"></iframe>'
        "<script>setInterval(() => { const d = document.querySelector('iframe').contentDocument;"
        " if (d.documentElement.dataset.charts) { const boxes = [...d.querySelectorAll('table.matrix')]"
        ".map((t) => t.parentElement);"
        " document.title = boxes.length + ' ' + Math.max(...boxes.map((b) => b.scrollWidth - b.clientWidth)); } }, 200);</script>"
    )
    flags = ("--disable-web-security", "--allow-file-access-from-files", "--window-size=1600,1000")
    document, _ = dump(frame, tmp_path / "profile", *flags)
    assert "<title>2 0</title>" in document
