"""The tables of studies, shown and written as files."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from mlt_ray.reports.collect import Table
from mlt_ray.reports.tables import LEGEND, as_terminal, write_tables
from mlt_ray.storage.lease import PATIENCE_S, alone
from mlt_ray.storage.store import Store


def show_tables(tables: Sequence[Table], store: Store, out: Path | None, console: Console) -> None:
    """Print the tables of studies and write their files, by default under the store."""
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
