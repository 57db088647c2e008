"""The verbs ``report`` and ``sync``, and how a verb tells that runs failed."""

import sys
from collections.abc import Sequence

import typer
from rich.console import Console

from mlt_ray.cli.options import DEFAULT_STORE, Out, Store, Studies, TrackingUri
from mlt_ray.display.waiting import waiting
from mlt_ray.errors import RunsFailed


def report(studies: Studies, store: Store = DEFAULT_STORE, out: Out = None) -> None:
    """Print the tables of studies, and write them with a page of figures and statistics.

    Files: report.html, tables as Markdown, LaTeX, CSV and JSON, figures as PDF and SVG.

    Exit 2 if one of them was never run in this store; the tables of the others are printed.
    """
    from mlt_ray.reports.collect import find_record, never_run
    from mlt_ray.reports.results import results_of
    from mlt_ray.storage.files import check_writable
    from mlt_ray.storage.store import Store as RunStore
    from mlt_ray.studies.files import study_name
    from mlt_ray.workflows.report import show_results

    runs = RunStore(store)
    if out is not None:
        check_writable(out, "--out")
    given = {study_name(study): study for study in studies}
    here = runs.studies()
    records = [find_record(name, runs.looking()) for name in given if name in here]
    console = Console()
    if records:
        if out is None:
            runs.check_writable()
        with waiting(console, "reading the store"):
            found = results_of(records, runs.looking())
        show_results(found, runs, out, console, with_figures=True)
    for name, study in given.items():
        if name not in here:
            raise never_run(study, runs)


def sync(store: Store = DEFAULT_STORE, tracking_uri: TrackingUri = None) -> None:
    """Write to MLflow whatever finished runs it lacks, with their original times."""
    from mlt_ray.storage.store import Store as RunStore
    from mlt_ray.workflows.sync import sync_store

    synced = sync_store(RunStore(store), tracking_uri)
    if not synced:
        raise typer.Exit(1)
    print(f"MLflow has all finished runs of: {', '.join(synced)}")


def print_failures(failures: Sequence[str]) -> None:
    """Name the runs that failed, and exit with code 1 if there are any."""
    if failures:
        print(f"mlt-ray: {RunsFailed(tuple(failures))}", file=sys.stderr)
        raise typer.Exit(1)
