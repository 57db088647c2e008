"""The page of an explanation in a real browser: on a phone, on a desk, in the dark, printed."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlt_ray.reports.explanation.render import write_explanation
from tests.browser import (
    DESK,
    PHONE,
    check_accessibility,
    check_first_link,
    check_it_opens_and_fits,
    opened,
)
from tests.reports.explanation.made_up import explanation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "explain.html"
    # A name without a place to break it, which must not widen a phone's page.
    write_explanation(replace(explanation(), clip="03-01-03-01-01-01-04" * 3), path)
    return path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK])
def test_it_opens_without_an_error_or_a_request_and_fits(chromium, address, size, scheme) -> None:
    check_it_opens_and_fits(chromium, address, size, scheme)


@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_checker_of_accessibility_has_nothing_to_say(chromium, address, size, scheme) -> None:
    check_accessibility(chromium, address, size, scheme)


@pytest.mark.parametrize(("size", "shown"), [(PHONE, "phone"), (DESK, "desk")])
def test_a_screen_has_the_timeline_of_its_width(chromium, address, size, shown) -> None:
    page, *_ = opened(chromium, address, size)
    for name in ("phone", "desk"):
        assert page.locator(f"figure.{name}").is_visible() == (name == shown)


def test_no_two_figures_share_a_name_that_is_referred_to(chromium, address) -> None:
    """Else a figure could be cut by the frame of another, which is not shown."""
    page, *_ = opened(chromium, address, DESK)
    clips = page.evaluate(
        "[...document.querySelectorAll('figure')].map("
        "f => [...f.querySelectorAll('clipPath')].map(c => c.id))"
    )
    names = [name for figure in clips for name in set(figure)]
    assert len(names) == len(set(names))


def test_the_pictures_follow_the_theme(chromium, address) -> None:
    filters = set()
    for scheme in ("light", "dark"):
        page, *_ = opened(chromium, address, DESK, scheme)
        picture = page.locator("figure.desk svg image").first
        filters.add(picture.evaluate("e => getComputedStyle(e).filter"))
    assert len(filters) == 2


def test_the_recording_can_be_played(chromium, address) -> None:
    page, *_ = opened(chromium, address, DESK)
    page.wait_for_function("document.querySelector('audio').readyState > 0")
    seconds = page.evaluate("document.querySelector('audio').duration")
    assert seconds == pytest.approx(explanation().duration_s, abs=0.01)


def test_the_keyboard_reaches_the_explanation_first(chromium, address) -> None:
    check_first_link(chromium, address, "to the explanation")


def test_it_prints(chromium, address, tmp_path: Path) -> None:
    page, *_ = opened(chromium, address, DESK)
    printed = page.pdf(path=str(tmp_path / "page.pdf"), format="A4")
    assert printed.startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.locator("figure.phone").is_visible()
