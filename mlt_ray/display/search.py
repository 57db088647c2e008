"""Shows the configurations of a search and their runs while it runs."""

import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mlt_ray.display.bars import Lines, duration
from mlt_ray.display.run import MARKS
from mlt_ray.reports.search import STYLES
from mlt_ray.search.configuration import Configuration
from mlt_ray.search.cross_validation import CrossValidationSearch
from mlt_ray.spec import Run
from mlt_ray.storage.report import Epoch

SHOWN = 20
"""Number of configurations on the screen; the newest are shown."""


class SearchDisplay:
    """Shows the configurations of a search; a context manager and Observer."""

    def __init__(self, search: CrossValidationSearch, console: Console) -> None:
        self.search = search
        self.console = console
        self.num_computed = 0
        self._ended: set[int] = {c.number for c in search.configurations if not c.is_running}
        self._began = time.monotonic()
        self._lines = Lines(console)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=2)

    def __enter__(self) -> "SearchDisplay":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._print_lines()
        if self.console.is_terminal:
            self._live.stop()

    def started(self, run: Run) -> None:
        """Print the lines that are due; the search itself knows which runs are under way."""
        self._print_lines()

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """Nothing to show."""

    def finished(self, run: Run) -> None:
        """Count the run."""
        self.num_computed += 1
        self._print_lines()

    def failed(self, run: Run, reason: str) -> None:
        """Print why."""
        self.console.print(f"[red]failed[/red] {escape(reason)}", highlight=False)

    def stopped(self, run: Run) -> None:
        """Print the lines that are due; the configuration's state says why it stopped."""
        self._print_lines()

    def _print_lines(self) -> None:
        """Print a line for each configuration that has ended, if the output is no terminal."""
        known = self.search.configurations
        ended = [c for c in known if not c.is_running and not c.under_way]
        for configuration in ended:
            if configuration.number not in self._ended:
                self._ended.add(configuration.number)
                if not self.console.is_terminal:
                    self.console.print(_line(self.search, configuration), highlight=False)
        self._lines.tell(self._summary())

    def _summary(self) -> str:
        search, elapsed = self.search, time.monotonic() - self._began
        return (
            f"{len(self._ended)}/{search.space.search.trials} configurations ended, "
            f"{self.num_computed} cells computed in {duration(elapsed)}"
        )

    def _render(self) -> Group:
        table = Table(box=None, show_header=False, padding=(0, 1))
        for configuration in self.search.configurations[-SHOWN:]:
            marks = Text()
            for run in configuration.runs:
                state = "waiting"
                if run.digest in configuration.found:
                    state = "done"
                elif run.digest in configuration.under_way:
                    state = "running"
                marks.append(*(MARKS[state]))
            shown = Text(str(configuration.state), style=STYLES[str(configuration.state)])
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
