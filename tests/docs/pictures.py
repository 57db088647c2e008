"""Makes the pictures of the docs from a finished demo: ``python -m tests.docs.pictures demo``."""

import sys
import time
from pathlib import Path

from mlt_ray.storage.store import PAGE, Store
from mlt_ray.tracking.location import database
from mlt_ray.tracking.presentation import runs_page
from tests.browser import browser
from tests.crashes.servers import server
from tests.docs.pages import DOCS
from tests.ports import free_port


def main(store: Store) -> None:
    """Photograph the report page and MLflow's table of rows."""
    folder = DOCS / "images"
    with browser() as chromium:
        page = chromium.new_context(viewport={"width": 1200, "height": 900}).new_page()
        page.goto((store.report_dir("demo") / PAGE).resolve().as_uri())
        page.screenshot(path=folder / "report.png")
        port = free_port()
        with server(database(store), port):
            page = chromium.new_context(viewport={"width": 1700, "height": 560}).new_page()
            page.set_default_timeout(120_000)
            page.goto(f"http://127.0.0.1:{port}/{runs_page('1')}")
            page.get_by_text("test_ua_mean", exact=True).first.wait_for()
            page.get_by_role("link", name="highway network", exact=True).first.wait_for()
            # MLflow's own window on the right takes a third of the page.
            close = page.get_by_role("button", name="Close")
            if close.count():
                close.last.click()
            time.sleep(2)
            page.screenshot(path=folder / "mlflow.png")


if __name__ == "__main__":
    main(Store(Path(sys.argv[1])))
