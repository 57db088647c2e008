"""The results of studies: tables shown and written as files, and the page."""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from mlt_ray.display.lines import say
from mlt_ray.display.waiting import waiting
from mlt_ray.reports.reference import comparisons_csv
from mlt_ray.reports.results import Results
from mlt_ray.reports.tables import as_terminal, legend, write_tables
from mlt_ray.storage.files import write_bytes
from mlt_ray.storage.lease import PATIENCE_S, alone
from mlt_ray.storage.store import Store

if TYPE_CHECKING:
    from mlt_ray.tracking.tracker import Tracker

COMPARISONS = "comparisons.csv"


def show_results(
    results: Results,
    store: Store,
    out: Path | None,
    console: Console,
    failures: Sequence[str] = (),
    tracker: "Tracker | None" = None,
    *,
    with_figures: bool = False,
) -> None:
    """Print tables and verdicts of studies; write their files and the page, below the store.

    `failures` say why runs of this call have failed. `tracker` records the page. `with_figures`:
    the page's figures as files, too, which takes longer.
    """
    tables = results.tables
    for table in tables:
        console.print(as_terminal(table))
    for line in legend(tables):
        console.print(line, style="dim", highlight=False)
    name = "-".join(t.study for t in tables)
    folder = out or store.report_dir(name)
    # Else two drivers could leave some files of the one's tables and some of the other's.
    with alone(store, f"reports-{name}", patience_s=PATIENCE_S) if out is None else nullcontext():
        # First what needs the runs' reports alone: predictions may be missing.
        files = write_tables(tables, folder)
        with waiting(console, "comparing rows"):
            # Not at the top: matplotlib takes a second to import.
            from mlt_ray.reports.page.content import contents_of
            from mlt_ray.reports.page.render import FIGURES, write_page

            contents = contents_of(results)
        found = ((c.record.study, one) for c in contents for one in c.comparisons.values())
        write_bytes(folder / COMPARISONS, comparisons_csv(found).encode())
        if with_figures and out is None:
            shutil.rmtree(folder / FIGURES, ignore_errors=True)  # also of rows that are no more
        with waiting(console, "drawing the report page"):
            page = write_page(contents, folder, failures, with_figures=with_figures)
        if out is None:
            store.push(folder)
    for content in contents:
        if verdicts := content.verdicts:
            say(console, verdicts)
    if tracker is not None:
        for content in contents:
            study = content.record.study
            tracker.page(study, page.path, page.rows.get(study))
    names = ", ".join(f.name for f in (*files, folder / COMPARISONS, *page.written))
    console.print(f"written: {names} in {folder}", soft_wrap=True, highlight=False)
    if tracker is not None and not tracker.broken:
        say(console, f"MLflow: {tracker.address()}")
