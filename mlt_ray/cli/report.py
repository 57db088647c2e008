"""The verbs ``report`` and ``sync``, and functions that print results for other verbs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from mlt_ray.cli.options import DEFAULT_STORE, Out, Store, Studies, TrackingUri

if TYPE_CHECKING:
    from mlt_ray.storage.store import Store as RunStore


def report(studies: Studies, store: Store = DEFAULT_STORE, out: Out = None) -> None:
    """Print the tables of studies, and write them as Markdown, LaTeX, CSV and JSON.

    Exit 2 if one of them was never run in this store; the tables of the others are printed.
    """
    from mlt_ray.reports.collect import never_run
    from mlt_ray.storage.store import Store as RunStore

    runs = RunStore(store)
    names = dict.fromkeys(Path(s).stem if s.endswith((".yaml", ".yml")) else s for s in studies)
    here = runs.studies()
    found = [name for name in names if name in here]
    if found:
        print_tables(found, runs, out, Console())
    for name in names:
        if name not in here:
            raise never_run(name, runs)


def sync(store: Store = DEFAULT_STORE, tracking_uri: TrackingUri = None) -> None:
    """Write to MLflow whatever finished runs it lacks, with their original times."""
    from mlt_ray.storage.store import Store as RunStore
    from mlt_ray.workflows.sync import sync_store

    synced = sync_store(RunStore(store), tracking_uri)
    if not synced:
        raise typer.Exit(1)
    print(f"MLflow has all finished runs of: {', '.join(synced)}")


def print_tables(studies: list[str], store: "RunStore", out: Path | None, console: Console) -> None:
    """Print the tables of studies and write their files, by default under the store."""
    from mlt_ray.reports.collect import collect
    from mlt_ray.reports.tables import LEGEND, as_terminal, write_tables

    tables = [collect(name, store) for name in studies]
    for table in tables:
        console.print(as_terminal(table))
    for line in LEGEND:
        console.print(line, style="dim", highlight=False)
    folder = out or store.report_dir("-".join(t.study for t in tables))
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
