"""Studies with made-up finished runs, for MLflow."""

from dataclasses import replace

from mlt_ray.labels import NAMED
from mlt_ray.planning.plan import PlannedRow
from mlt_ray.spec import Run
from mlt_ray.storage.store import Store
from tests.stored import report_of, write_report


def planned(name: str, runs: tuple[Run, ...]) -> PlannedRow:
    """A planned row of these runs."""
    labels = NAMED["four"]
    return PlannedRow(name=name, published=None, labels=labels, changes=(), runs=runs, asked=runs)


def finish(store: Store, run: Run) -> None:
    """Write a report of the run whose scores and times follow from its fold."""
    ua = 0.5 + run.fold / 10
    report = replace(report_of(run, dev_ua=ua, test_ua=ua), ended_ms=100 * run.fold)
    write_report(store, report)
