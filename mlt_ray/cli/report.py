"""The verbs ``report`` and ``sync``, and functions that print results for other verbs."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from mlt_ray.cli.options import DEFAULT_STORE, Out, Store, Studies, TrackingUri

if TYPE_CHECKING:
    from mlt_ray.reports.collect import Table
    from mlt_ray.storage.store import Store as RunStore


def report(studies: Studies, store: Store = DEFAULT_STORE, out: Out = None) -> None:
    """Print the tables of studies, and write them as Markdown, LaTeX, CSV and JSON.

    Exit 2 if one of them was never run in this store; the tables of the others are printed.
    """
    from mlt_ray.reports.collect import collect, never_run
    from mlt_ray.storage.store import Store as RunStore
    from mlt_ray.studies.files import study_name

    runs = RunStore(store)
    given = {study_name(study): study for study in studies}
    here = runs.studies()
    tables = [collect(name, runs.looking()) for name in given if name in here]
    if tables:
        print_tables(tables, runs, out, Console())
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


def print_tables(
    tables: Sequence["Table"], store: "RunStore", out: Path | None, console: Console
) -> None:
    """Print the tables of studies and write their files, by default under the store."""
    from mlt_ray.reports.tables import LEGEND, as_terminal, write_tables
    from mlt_ray.storage.lease import PATIENCE_S, alone

    for table in tables:
        console.print(as_terminal(table))
    for line in LEGEND:
        console.print(line, style="dim", highlight=False)
    name = "-".join(t.study for t in tables)
    folder = out or store.report_dir(name)
    # Else two drivers could leave some files of the one's tables and some of the other's.
    with alone(store, f"reports-{name}", patience_s=PATIENCE_S) if out is None else nullcontext():
        files = write_tables(tables, folder)
        if out is None:
            store.push(folder)
    names = ", ".join(f.name for f in files)
    console.print(f"written: {names} in {folder}", soft_wrap=True, highlight=False)


def print_failures(failures: Sequence[str]) -> None:
    """Name the runs that failed, and exit with code 1 if there are any."""
    if failures:
        runs = "1 run" if len(failures) == 1 else f"{len(failures)} runs"
        print(f"mlt-ray: {runs} failed", file=sys.stderr)
        for reason in failures:
            print(f"  {reason}", file=sys.stderr)
        raise typer.Exit(1)
