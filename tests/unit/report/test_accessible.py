"""The report for everyone: what axe-core, a keyboard, a phone, a dark room and a printer make of it, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from browser import AXE, CHROMIUM
from palpate.report.html import render_html
from palpate.report.view import ReportView
from synthetic_curves import examined_whole, hostile_whole

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE, DESK = 375, 1440
EVERY = [(PHONE, "light"), (PHONE, "dark"), (DESK, "light"), (DESK, "dark")]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.skipif(not AXE, reason="needs axe-playwright-python, which brings axe-core and a way to drive Chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every kind of report as a file: all questions examined, harm in every text, and nothing asked."""
    folder = tmp_path_factory.mktemp("pages")
    shown: dict[str, ReportView] = {"whole": examined_whole(), "hostile": hostile_whole()}
    for name, view in shown.items():
        (folder / f"{name}.html").write_text(render_html(view), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in shown}


class Opened:
    """A page with what it asked of the network and told its console."""

    def __init__(self, browser: Browser, path: Path, width: int, scheme: Any) -> None:
        phone = width < 500
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, is_mobile=phone, has_touch=phone, reduced_motion="reduce"
        )
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.console: list[str] = []
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.page.on("console", lambda m: self.console.append(m.text))
        self.page.on("pageerror", lambda e: self.console.append(str(e)))
        self.page.on("dialog", lambda d: self.console.append(f"dialog {d.message}"))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-charts=drawn]", state="attached", timeout=120_000)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def unfold(self) -> None:
        self.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")


def violations(page: Page) -> list[tuple[str, str, list[str]]]:
    """(rule, how bad, where) of all that axe-core finds. What is inside a chart is part of a picture that has a name."""
    page.evaluate(
        "document.querySelectorAll('table.estimates tbody tr:nth-child(n+4)').forEach((row) => row.remove())"
    )  # all alike
    # What shows that a box scrolls is a picture, on which axe-core judges no colours: without it, it does.
    page.evaluate("document.querySelectorAll('.scroll').forEach((box) => { box.style.backgroundImage = 'none'; })")
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({ exclude: ['.chart svg'] }, { resultTypes: ['violations'] })")["violations"]
    return [(v["id"], v["impact"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found]


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("whole", DESK, "light"), ("whole", PHONE, "dark"), ("hostile", PHONE, "light")]
)
def test_axe_finds_nothing(browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: str) -> None:
    """Colours, names, roles, order, landmarks: no violation of any weight, with everything unfolded."""
    with Opened(browser, pages[name], width, scheme) as opened:
        opened.unfold()
        assert violations(opened.page) == []


def test_axe_is_awake(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    """A fault put in is found: a picture without a name, and grey words on grey."""
    broken = (
        pages["whole"]
        .read_text(encoding="utf-8")
        .replace("</main>", '<img src="data:,"><p style="color:#999">pale words</p></main>')
    )
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    with Opened(browser, tmp_path / "broken.html", DESK, "light") as opened:
        assert {"image-alt", "color-contrast"} <= {rule for rule, *_ in violations(opened.page)}


@pytest.mark.parametrize(("width", "scheme"), EVERY)
@pytest.mark.parametrize("name", ["whole", "hostile"])
def test_nothing_is_fetched_said_or_cut_off(browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: str) -> None:
    with Opened(browser, pages[name], width, scheme) as opened:
        opened.unfold()
        assert [url for url in opened.asked if not url.startswith(("file:", "data:image/png"))] == []
        assert opened.console == []
        assert opened.page.title().startswith("Palpate: ")
        assert opened.page.evaluate("document.querySelectorAll('.example td .words').length") > (500 if name == "hostile" else 0)
        assert opened.page.evaluate("document.querySelectorAll('iframe, object, embed, form, [onload], [onerror]').length") == 0
        size = opened.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert size == [width, width]
        wide = (
            "[...document.querySelectorAll('.chart svg.main-svg')].filter((s) => s.getBoundingClientRect().right > innerWidth + 1)"
        )
        assert opened.page.evaluate(f"{wide}.length") == 0, "a chart reaches beyond the page"


@pytest.mark.parametrize(("scheme", "paper"), [("light", 255), ("dark", 24)])
def test_a_table_shows_on_which_side_more_of_it_is_hidden(
    browser: Browser, pages: dict[str, Path], tmp_path: Path, scheme: Any, paper: int
) -> None:
    """On a phone of 390 pixels, without JavaScript: a shadow where the box can be scrolled to, none where it ends."""
    context = browser.new_context(
        viewport={"width": 390, "height": 900}, color_scheme=scheme, is_mobile=True, has_touch=True, java_script_enabled=False
    )
    page = context.new_page()
    page.goto(pages["whole"].as_uri())
    box = page.locator("section[aria-labelledby=tasks] .scroll")

    def shaded(scrolled: int) -> tuple[bool, bool]:
        """(left, right): whether no point of a line down the side is as the paper is."""
        box.evaluate(f"(box) => {{ box.scrollLeft = {scrolled}; }}")
        box.screenshot(path=tmp_path / "box.png", animations="disabled")
        grey = np.asarray(Image.open(tmp_path / "box.png").convert("L")).astype(int)
        return tuple(bool(np.abs(grey[20:-20, x] - paper).min() > 8) for x in (3, -4))  # type: ignore[return-value]

    try:
        assert [shaded(at) for at in (0, 150, 100_000)] == [(False, True), (True, True), (True, False)]
    finally:
        context.close()


def test_all_is_reached_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    """From link to link and from table to table with the tab key alone; each shows where one is; Enter unfolds."""
    with Opened(browser, pages["whole"], DESK, "light") as opened:
        page = opened.page
        count = page.evaluate("document.querySelectorAll('a[href], summary, .scroll').length")
        reached: dict[str, str] = {}
        for _ in range(count + 20):
            page.keyboard.press("Tab")
            told = page.evaluate(
                "(() => { const e = document.activeElement; const name = e.getAttribute('href') || e.textContent.slice(0, 60);"
                " return [e.tagName + name, getComputedStyle(e).outlineStyle]; })()"
            )
            reached[told[0]] = told[1]
        assert sum(key.startswith("SUMMARY") for key in reached) >= 15
        assert {"A#q1", "A#q7", "A#methods"} <= set(reached)
        assert all(style != "none" for key, style in reached.items() if not key.startswith(("BODY", "HTML")))
        page.focus("section:has(#q5) details summary")
        page.keyboard.press("Enter")
        assert page.evaluate("document.querySelector('section:has(#q5) details').open")


def test_a_charts_link_leads_to_its_numbers(browser: Browser, pages: dict[str, Path]) -> None:
    """The table behind a chart is one step away, and unfolds by itself."""
    with Opened(browser, pages["whole"], DESK, "light") as opened:
        links = opened.page.query_selector_all("figcaption a")
        assert len(links) == opened.page.evaluate("document.querySelectorAll('.chart').length")
        opened.page.click("section:has(#q7) figcaption a >> nth=1")
        assert opened.page.evaluate("document.getElementById('numbers-7').closest('details').open")
        opened.page.wait_for_timeout(1500)
        assert opened.page.evaluate("document.getElementById('numbers-7').getBoundingClientRect().top") < 900


def test_hovering_tells_and_the_legend_hides(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["whole"], DESK, "light") as opened:
        page = opened.page
        chart = page.locator("section:has(#q7) .chart").nth(1)
        chart.scroll_into_view_if_needed()
        chart.locator(".scatterlayer .point").nth(9).hover(force=True)
        page.wait_for_selector(".hoverlayer .hovertext")
        assert "it is surest of" in (page.locator(".hoverlayer").nth(0).text_content() or "") + "".join(
            page.locator(".hoverlayer").all_text_contents()
        )
        before = chart.locator(".scatterlayer .trace .points path").count()
        chart.locator(".legendtoggle").nth(0).click(force=True)
        page.wait_for_timeout(600)
        assert chart.locator(".scatterlayer .trace .points path").count() < before


def test_ink_follows_the_scheme(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["whole"], DESK, "light") as opened:
        fill = "getComputedStyle(document.querySelector('.chart .xtick text')).fill"
        light = opened.page.evaluate(fill)
        opened.page.emulate_media(color_scheme="dark")
        for _ in range(50):
            opened.page.wait_for_timeout(100)
            if opened.page.evaluate(fill) != light:
                break
        assert (light, opened.page.evaluate(fill)) == ("rgb(27, 31, 36)", "rgb(232, 235, 239)")
        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"


def test_it_prints_whole(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    """On A4: no chart wider than the paper, everything short unfolded, and as many pages as a person may print."""
    with Opened(browser, pages["whole"], DESK, "dark") as opened:
        opened.page.pdf(path=tmp_path / "report.pdf", format="A4", print_background=True)
        pages_of = (tmp_path / "report.pdf").read_bytes().count(b"/Type /Page\n")
        assert 10 < pages_of < 90
        opened.page.emulate_media(media="print")
        opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        widths = opened.page.evaluate(
            "[...document.querySelectorAll('.chart svg.main-svg')].map((s) => s.getBoundingClientRect().width)"
        )
        assert max(widths) <= 690
        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
