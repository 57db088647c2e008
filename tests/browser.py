"""A real browser without a window, for tests of pages. They are skipped where there is none."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""Programs that will do; Debian and Ubuntu have `apt-get install chromium`."""


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
