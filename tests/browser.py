"""A real browser without a window, for tests of pages. They are skipped where there is none."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""Programs that will do; Debian and Ubuntu have `apt-get install chromium`."""

PHONE, DESK = (375, 740), (1280, 900)
"""Sizes of a window, in pixels."""


@contextlib.contextmanager
def browser() -> Iterator:
    """Chromium as playwright drives it; skips the test where one of them is absent."""
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}")
    with sync.sync_playwright() as playwright:
        # Its sandbox needs rights that containers lack; only our own pages are opened.
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


def opened(chromium, address: str, size: tuple[int, int], scheme: str = "light"):
    """The page, with what the browser said of it and asked for."""
    context = chromium.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
    )
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    return page, said, [url for url in asked if not url.startswith("data:")]


def check_it_opens_and_fits(chromium, address: str, size: tuple[int, int], scheme: str) -> None:
    """It opens without an error, asks for nothing but itself, and is as wide as the window."""
    page, said, asked = opened(chromium, address, size, scheme)
    assert said == []
    assert asked == [address]
    inner, outer = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert inner == outer


def check_accessibility(chromium, address: str, size: tuple[int, int], scheme: str) -> None:
    """axe finds nothing, neither in what is folded away."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page, *_ = opened(chromium, address, size, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = axe.Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found] == []


def check_first_link(chromium, address: str, text: str) -> None:
    """The first key reaches a link of that text, which leads to the page's main part."""
    page, *_ = opened(chromium, address, DESK)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == text
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}#main")
