"""Progress bars, plain lines in their place, and durations."""

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

from mlt_ray.display.lines import say

LINE_INTERVAL_S = 10.0
"""Seconds between two lines, at least, if the output is no terminal."""


class Lines:
    """Plain lines that say how far work is, now and then, where the output is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_at = time.monotonic()

    def tell(self, text: str, *, is_last: bool = False) -> None:
        """Print the line, if none was printed for `LINE_INTERVAL_S`, or if it is the last."""
        now = time.monotonic()
        is_due = is_last or now - self._told_at > LINE_INTERVAL_S
        if is_due and not self._console.is_terminal:
            self._told_at = now
            say(self._console, text)


class Bars:
    """Named progress bars, each shown from its first `show` on; a context manager.

    Where the output is no terminal, lines say meanwhile how far each is. `totals` holds the total
    of each bar by name.
    """

    def __init__(self, console: Console) -> None:
        self._lines = Lines(console)
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
        self.stop()

    def stop(self) -> None:
        """Leave the bars as they are, for what is printed below them."""
        if self._progress.live.is_started:
            self._progress.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Set the bar called `what` to `done` of `total`."""
        self._progress.start()
        self.totals[what] = total
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)
        if 0 < done < total:
            self._lines.tell(f"{what}: {done}/{total}")


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show one bar; yields a function that sets how many are done."""
    with Bars(Console()) as bars:
        yield lambda done: bars.show(what, done, total)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, such as 0:04:31."""
    return str(timedelta(seconds=round(seconds)))
