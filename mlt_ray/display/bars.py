"""Progress bars, plain lines in their place, and durations."""

import contextlib
import math
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
from mlt_ray.display.waiting import waiting

LINE_INTERVAL_S = 10.0
"""Seconds between two lines, at least, if the output is no terminal."""

REDRAW_S = 0.05
"""Seconds between two states of a bar, at least: to draw each of many files would take longer than
to read it."""


READING = "reading the corpus"


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
    of each bar by name. `is_transient` ones are gone when they end.
    """

    def __init__(self, console: Console, *, is_transient: bool = False) -> None:
        self._lines = Lines(console)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=is_transient,
        )
        self._drawn: dict[str, float] = {}
        self._undrawn: dict[str, tuple[int, int]] = {}
        self._tasks: dict[str, TaskID] = {}
        self.totals: dict[str, int] = {}

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the bars as they are, for what is printed below them."""
        for what, (done, total) in self._undrawn.items():
            self._draw(what, done, total)
        self._undrawn.clear()
        if self._progress.live.is_started:
            self._progress.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Set the bar called `what` to `done` of `total`."""
        self.totals[what] = total
        if 0 < done < total:
            self._lines.tell(f"{what}: {done}/{total}")
        now = time.monotonic()
        if done < total and now - self._drawn.get(what, -math.inf) < REDRAW_S:
            self._undrawn[what] = done, total
            return
        self._drawn[what] = now
        self._undrawn.pop(what, None)
        self._draw(what, done, total)

    def _draw(self, what: str, done: int, total: int) -> None:
        self._progress.start()
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show one bar; yields a function that sets how many are done."""
    with Bars(Console()) as bars:
        yield lambda done: bars.show(what, done, total)


@contextlib.contextmanager
def reading(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show how many recordings of a corpus are read; yields what is told of each.

    A bar in a terminal, which is gone at the end; else lines, if it takes long.
    """
    if console.is_terminal:
        with Bars(console, is_transient=True) as bars:
            yield lambda done, total: bars.show("recordings", done, total)
        return
    lines = Lines(console)

    def tell(done: int, total: int) -> None:
        if done < total:
            lines.tell(f"recordings: {done}/{total}")

    with waiting(console, READING):
        yield tell


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, such as 0:04:31."""
    return str(timedelta(seconds=round(seconds)))
