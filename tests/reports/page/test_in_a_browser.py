"""The report page in a real browser: on a phone, on a desk, in the dark, printed, by keyboard."""

from pathlib import Path

import pytest

from mlt_ray.reports.page.content import contents_of
from mlt_ray.reports.page.render import write_page
from mlt_ray.storage.store import Store
from tests.browser import (
    DESK,
    PHONE,
    check_accessibility,
    check_first_link,
    check_it_opens_and_fits,
    opened,
)
from tests.reports.made_up import fill

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    results = fill(Store(folder / "store"))
    return write_page(contents_of(results), folder, ["made: good, fold 1: killed"]).path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK])
def test_it_opens_without_an_error_or_a_request_and_fits(chromium, address, size, scheme) -> None:
    check_it_opens_and_fits(chromium, address, size, scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_checker_of_accessibility_has_nothing_to_say(chromium, address, scheme) -> None:
    check_accessibility(chromium, address, DESK, scheme)


def test_the_themes_differ_and_figures_follow_them(chromium, address) -> None:
    colours = set()
    for scheme in ("light", "dark"):
        page, *_ = opened(chromium, address, DESK, scheme)
        script = "e => getComputedStyle(e).{}"
        text = page.locator("svg text").first
        colours.add(
            (
                page.locator("body").evaluate(script.format("backgroundColor")),
                text.evaluate(script.format("fill")),
            )
        )
    assert len({paper for paper, _ in colours}) == len({ink for _, ink in colours}) == 2


def test_the_names_of_rows_stay_in_view_on_a_phone(chromium, address) -> None:
    page, *_ = opened(chromium, address, PHONE)
    region = page.get_by_role("region", name="Results of Made <up>")
    name = region.locator("tbody th").first
    before = name.bounding_box()
    region.evaluate("e => { e.scrollLeft = 300 }")
    assert name.bounding_box()["x"] == before["x"]


def test_the_keyboard_reaches_the_results_first(chromium, address) -> None:
    check_first_link(chromium, address, "to the results")


def test_it_prints(chromium, address, tmp_path: Path) -> None:
    page, *_ = opened(chromium, address, DESK)
    printed = page.pdf(path=str(tmp_path / "page.pdf"), format="A4")
    assert printed.startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
