"""The configurations of a search as a table and as files: dev scores only."""

import csv
import io
import json
from pathlib import Path

from rich.table import Table
from rich.text import Text

from mlt_ray.search.configuration import State
from mlt_ray.search.cross_validation import CrossValidationSearch
from mlt_ray.storage.files import write_bytes


def search_table(search: CrossValidationSearch) -> Table:
    """All configurations for a terminal: dev scores only."""
    table = Table(title=f"{search.space.title} (dev scores)", box=None, padding=(0, 1))
    table.add_column("#", justify="right")
    for parameter in search.space.parameters:
        table.add_column(parameter.key.rpartition(".")[2].replace("_", "\n"), justify="right")
    table.add_column("cells", justify="right")
    for objective in search.space.objectives:
        table.add_column(objective.replace("_", "\n"), justify="right")
    table.add_column("state")
    best = search.best()
    for c in search.configurations:
        values = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in c.values.values()]
        means = [c.means.get(o) for o in search.space.objectives]
        shown = ["" if m is None else f"{m:.4g}" for m in means]
        state = f"{c.state}: {c.reason}" if c.reason else str(c.state)
        if c in best:
            state += f", best {best.index(c) + 1}"
        cells = f"{len(c.found)}/{len(c.cells)}"
        table.add_row(str(c.number), *values, cells, *shown, Text(state, style=STYLES[c.state]))
    return table


def write_search(search: CrossValidationSearch, folder: Path) -> str:
    """Write the configurations as CSV and JSON; returns the files' names and their folder."""
    keys = [p.key for p in search.space.parameters]
    rows = [
        {
            "number": c.number,
            **{key: c.values[key] for key in keys},
            "state": str(c.state),
            "reason": c.reason,
            "cells_done": len(c.found),
            "cells_planned": len(c.cells),
            **{objective: c.means.get(objective) for objective in search.space.objectives},
        }
        for c in search.configurations
    ]
    output = io.StringIO()
    if rows:
        writer = csv.DictWriter(output, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    values = {"search": search.space.name, "title": search.space.title, "configurations": rows}
    write_bytes(folder / "search.csv", output.getvalue().encode())
    write_bytes(folder / "search.json", (json.dumps(values, indent=1) + "\n").encode())
    return f"search.csv, search.json in {folder}"


STYLES = {
    State.RUNNING: "yellow",
    State.COMPLETE: "green",
    State.PRUNED: "dim",
    State.FAILED: "red",
}
