"""The configurations of a search as a table and as files: dev scores only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from mlt_ray.storage.files import json_bytes, write_bytes
from mlt_ray.storage.spreadsheet import csv_text
from mlt_ray.studies.space import MAXIMISED, SearchSpace

STYLES = {"running": "yellow", "complete": "green", "pruned": "dim", "failed": "red"}
"""Colour of each state of a configuration."""


@dataclass(frozen=True, kw_only=True)
class ConfigurationResult:
    """How far one configuration of a search has come.

    `means` are those of the objectives over the finished runs, if there are any. `place` counts
    from 1 among the best configurations; None for the others.
    """

    number: int
    values: Mapping[str, Any]
    state: str
    reason: str
    runs_done: int
    runs_planned: int
    means: Mapping[str, float]
    place: int | None


def search_table(
    space: SearchSpace, results: Sequence[ConfigurationResult], notes: Sequence[str] = ()
) -> Table:
    """All configurations for a terminal; `notes` stand below them."""
    table = Table(
        title=f"{space.title} (dev scores)",
        caption=Text("; ".join(notes)),
        box=None,
        padding=(0, 1),
    )
    table.add_column("#", justify="right")
    for parameter in space.parameters:
        table.add_column(parameter.key.rpartition(".")[2].replace("_", "\n"), justify="right")
    table.add_column("cells", justify="right")
    for objective in space.objectives:
        table.add_column(objective.replace("_", "\n"), justify="right")
    table.add_column("state")
    for result in results:
        values = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in result.values.values()]
        means = [result.means.get(objective) for objective in space.objectives]
        shown = ["" if mean is None else f"{mean:.4g}" for mean in means]
        state = f"{result.state}: {result.reason}" if result.reason else result.state
        if result.place is not None:
            state += f", best {result.place}"
        cells = f"{result.runs_done}/{result.runs_planned}"
        styled = Text(state, style=STYLES[result.state])
        table.add_row(str(result.number), *values, cells, *shown, styled)
    return table


def write_search(
    space: SearchSpace,
    results: Sequence[ConfigurationResult],
    folder: Path,
    notes: Sequence[str] = (),
    importances: Mapping[str, float] | None = None,
) -> str:
    """Write the configurations as CSV and JSON; returns the files' names and their folder.

    A cell is a run: one fold and seed of a configuration. `notes` and the `importances` of the
    parameters stand in the JSON.
    """
    keys = [parameter.key for parameter in space.parameters]
    rows = [
        {
            "number": result.number,
            **{key: result.values[key] for key in keys},
            "state": result.state,
            "place": result.place,
            "reason": result.reason,
            "cells_done": result.runs_done,
            "cells_planned": result.runs_planned,
            **{objective: result.means.get(objective) for objective in space.objectives},
        }
        for result in results
    ]
    text = csv_text(list(rows[0]), [list(row.values()) for row in rows]) if rows else ""
    values = {
        "search": space.name,
        "title": space.title,
        "parameters": keys,
        "objectives": {name: "max" if name in MAXIMISED else "min" for name in space.objectives},
        "importances": dict(importances or {}),
        "configurations": rows,
        "notes": list(notes),
    }
    write_bytes(folder / "search.csv", text.encode())
    write_bytes(folder / "search.json", json_bytes(values))
    return f"search.csv, search.json in {folder}"
