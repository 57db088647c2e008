"""A real `mlflow ui` in a real browser: what one sees of a study."""

from collections.abc import Iterator

import pytest

from mlt_ray.storage.store import Store
from mlt_ray.tracking.location import database, default_uri
from mlt_ray.tracking.presentation import runs_page
from mlt_ray.tracking.tracker import Tracker
from tests.browser import browser
from tests.crashes.servers import server as mlflow_server
from tests.ports import free_port
from tests.reports.made_up import fill

pytestmark = pytest.mark.slow

PATIENCE_MS = 120_000
"""How long a page may take: other tests may run beside."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of MLflow's pages of a study of two rows, good and poor."""
    store = Store(tmp_path_factory.mktemp("mlflow") / "store")
    results = fill(store, {"good": 0.8, "poor": 0.3})
    tracker = Tracker(store, default_uri(store), results.records)
    tracker.sync()
    assert not tracker.broken
    port = free_port()
    with mlflow_server(database(store), port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def page(server: str) -> Iterator:
    with browser() as chromium:
        context = chromium.new_context(viewport={"width": 1600, "height": 1000})
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield page


def cells(page, row: str) -> dict[str, str]:
    """The cells of the table of runs that are on the screen, by their column, of one row."""
    line = page.locator(".ag-row").filter(has=page.get_by_role("link", name=row, exact=True))
    index = line.first.get_attribute("row-index")
    found = page.locator(f'.ag-row[row-index="{index}"] .ag-cell')
    return {
        found.nth(n).get_attribute("col-id"): found.nth(n).inner_text()
        for n in range(found.count())
    }


def test_the_first_screen_shows_rows_with_their_scores(page, server: str) -> None:
    page.goto(f"{server}/{runs_page('1')}")
    page.get_by_role("link", name="good", exact=True).first.wait_for()
    page.get_by_text("test_ua_mean", exact=True).first.wait_for()
    good, poor = cells(page, "good"), cells(page, "poor")
    for score in ("metrics.`test_wa_mean`", "metrics.`test_ua_mean`"):
        assert float(good[score].rstrip("…")) > float(poor[score].rstrip("…")) > 0
    assert good["metrics.`published_ua`"] == "0.71"
    # Folds and seeds are folded away beneath their rows.
    assert page.get_by_role("link", name="good, fold 1, seed 1").count() == 0


def test_the_description_leads_there_from_wherever_mlflow_opens(page, server: str) -> None:
    page.goto(f"{server}/#/experiments/1")
    # Not by its role: a window of MLflow's own lies above the page.
    link = page.locator("a", has_text="Rows with scores").first
    link.wait_for()
    assert link.get_attribute("href") == runs_page("1")


def test_two_rows_compare_with_charts(page, server: str) -> None:
    page.goto(f"{server}/{runs_page('1')}")
    for name in ("good", "poor"):
        link = page.get_by_role("link", name=name, exact=True)
        row = page.locator(".ag-row").filter(has=link).first
        row.locator(".ag-selection-checkbox input").first.click()
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("Comparing 2 Runs").first.wait_for()
    page.locator(".js-plotly-plot").first.wait_for()


def test_a_row_shows_its_confusion_matrix(page, server: str) -> None:
    page.goto(f"{server}/{runs_page('1')}")
    page.get_by_role("link", name="good", exact=True).first.click()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("confusion_matrix.png").first.click()
    picture = page.locator("img[src*='confusion_matrix'], img[src^='blob:']").first
    picture.wait_for()
    assert picture.evaluate("e => e.complete && e.naturalWidth > 200")
