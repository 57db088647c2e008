"""A browser for the tests of pages."""

from collections.abc import Iterator

import pytest

from tests.browser import browser


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    with browser() as found:
        yield found
