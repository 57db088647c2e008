"""Progress bars and durations for a terminal."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

LINE_INTERVAL_S = 10.0
"""Seconds between two lines, at least, if the output is no terminal."""


class Bars:
    """Named progress bars, each shown from its first `show` on; a context manager.

    Where the output is no terminal, lines say meanwhile how far each is. `totals` holds the total
    of each bar by name.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._line_at = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self.totals: dict[str, int] = {}

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Set the bar called `what` to `done` of `total`."""
        self._progress.start()
        self.totals[what] = total
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)
        now = time.monotonic()
        if (
            not self._console.is_terminal
            and 0 < done < total
            and now - self._line_at > LINE_INTERVAL_S
        ):
            self._line_at = now
            self._console.print(f"{what}: {done}/{total}", highlight=False, markup=False)


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show one bar; yields a function that sets how many are done."""
    with Bars(Console()) as bars:
        yield lambda done: bars.show(what, done, total)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, such as 0:04:31."""
    return str(timedelta(seconds=round(seconds)))
