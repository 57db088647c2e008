"""What a search shows: its configurations with their cells while it runs, and as a table after."""

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mlt_ray.display import duration
from mlt_ray.orchestration.progress import LINE_INTERVAL_S, MARKS
from mlt_ray.orchestration.search import Configuration, CrossValidationSearch, State
from mlt_ray.spec import Run
from mlt_ray.storage.files import write_bytes, write_json
from mlt_ray.storage.report import Epoch

if TYPE_CHECKING:
    from mlt_ray.orchestration.tracking import Tracker

STYLES = {
    State.RUNNING: "yellow",
    State.COMPLETE: "green",
    State.PRUNED: "dim",
    State.FAILED: "red",
}

SHOWN = 20
"""Configurations that are on the screen while a search runs, the newest ones."""


class SearchDisplay:
    """Shows the configurations of a search; a context manager and Observer."""

    def __init__(self, search: CrossValidationSearch, tracker: "Tracker", console: Console) -> None:
        self.search = search
        self.tracker = tracker
        self.console = console
        self.cells = 0
        self._ended: set[int] = {
            c.number for c in search.configurations if c.state is not State.RUNNING
        }
        self._began = self._line_at = time.monotonic()
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=2)

    def __enter__(self) -> "SearchDisplay":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._note()
        if self.console.is_terminal:
            self._live.stop()

    def started(self, run: Run) -> None:
        """Nothing to do: the search itself knows which cells are under way."""
        self._note()

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """Nothing to show."""

    def finished(self, run: Run) -> None:
        """Count the cell."""
        self.cells += 1
        self._note()

    def failed(self, run: Run, reason: str) -> None:
        """Say why."""
        self.console.print(f"[red]failed[/red] {escape(reason)}", highlight=False)

    def stopped(self, run: Run) -> None:
        """Nothing to show: the configuration's state says why."""
        self._note()

    def _note(self) -> None:
        """Tell MLflow and a plain console of configurations that have ended."""
        known = self.search.configurations
        ended = [c for c in known if c.state is not State.RUNNING and not c.under_way]
        for configuration in ended:
            if configuration.number not in self._ended:
                self._ended.add(configuration.number)
                tags = {"state": str(configuration.state), "reason": configuration.reason}
                self.tracker.note(f"{self.search.space.name} search", configuration.name, tags)
                if not self.console.is_terminal:
                    self.console.print(_line(self.search, configuration), highlight=False)
        now = time.monotonic()
        if not self.console.is_terminal and now - self._line_at > LINE_INTERVAL_S:
            self._line_at = now
            self.console.print(self._summary(), highlight=False)

    def _summary(self) -> str:
        search, elapsed = self.search, time.monotonic() - self._began
        return (
            f"{len(self._ended)}/{search.space.search.trials} configurations ended, "
            f"{self.cells} cells computed in {duration(elapsed)}"
        )

    def _render(self) -> Group:
        table = Table(box=None, show_header=False, padding=(0, 1))
        for configuration in self.search.configurations[-SHOWN:]:
            marks = Text()
            for cell in configuration.cells:
                state = "waiting"
                if cell.digest in configuration.found:
                    state = "done"
                elif cell.digest in configuration.under_way:
                    state = "running"
                marks.append(*(MARKS[state]))
            shown = Text(str(configuration.state), style=STYLES[configuration.state])
            table.add_row(
                escape(configuration.name), marks, _mean(self.search, configuration), shown
            )
        return Group(table, Text(self._summary()))


def _mean(search: CrossValidationSearch, configuration: Configuration) -> str:
    mean = configuration.means.get(search.space.objectives[0])
    return "" if mean is None else f"{mean:.4g}"


def _line(search: CrossValidationSearch, configuration: Configuration) -> str:
    text = f"{escape(configuration.name)}: {configuration.state}"
    if mean := _mean(search, configuration):
        text += f", {search.space.objectives[0]} {mean}"
    return text


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
    write_json(folder / "search.json", values)
    return f"search.csv, search.json in {folder}"
