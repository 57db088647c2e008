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
