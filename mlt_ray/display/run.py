"""Shows how far runs have come: a table of rows in a terminal, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mlt_ray.display.bars import Lines, duration
from mlt_ray.display.lines import say
from mlt_ray.logs import are_logs_shown
from mlt_ray.planning.backlog import Backlog
from mlt_ray.planning.plan import PlannedRow
from mlt_ray.spec import Run
from mlt_ray.storage.report import Epoch

MARKS = {
    "done": ("●", "green"),
    "running": ("◐", "yellow"),
    "failed": ("✗", "red"),
    "waiting": ("·", "dim"),
}
URGENT = ("running", "failed", "waiting", "done")
"""States in the order in which their rows are shown, if not all rows fit into the terminal."""

MOST_MARKS = 50
"""Rows of up to so many runs show a mark for each run, longer ones a count for each state."""

RUNS_BEFORE_ESTIMATE = 4
"""Runs that must have ended before the time left is estimated, since workers start slowly."""


class RunDisplay:
    """Shows which runs of a backlog are done, running, failed; a context manager and Observer."""

    def __init__(self, backlog: Backlog, console: Console) -> None:
        self.plans = backlog.plans
        self.console = console
        self.left = len(backlog.left)
        self.failures: dict[Run, str] = {}
        self._states = dict.fromkeys(backlog.done, "done")
        self._names = backlog.names
        self._best_dev_ua: dict[str, float] = {}
        self._ended = 0
        self._began = time.monotonic()
        self._lines = Lines(console)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=2)

    def __enter__(self) -> "RunDisplay":
        if self.console.is_terminal:
            self._live.start()
        else:
            self.console.print("training starts", highlight=False)
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def started(self, run: Run) -> None:
        """Mark the run as running."""
        self._states[run.digest] = "running"
        self._log(run, "started")

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """Note the run's best dev UA so far."""
        best = max(epoch.dev_ua for epoch in epochs)
        self._best_dev_ua[run.digest] = max(best, self._best_dev_ua.get(run.digest, 0.0))

    def finished(self, run: Run) -> None:
        """Mark the run as done."""
        best = self._best_dev_ua.get(run.digest)
        self._log(run, "done" if best is None else f"done, best dev UA {100 * best:.1f}")
        self._end(run, "done")

    def failed(self, run: Run, reason: str) -> None:
        """Mark the run as failed and print why."""
        self.failures[run] = reason
        self.console.print(f"[red]failed[/red] {escape(reason)}", highlight=False)
        self._end(run, "failed")

    def stopped(self, run: Run) -> None:
        """Mark the run as waiting again."""
        self._states.pop(run.digest, None)

    def _log(self, run: Run, what: str) -> None:
        if are_logs_shown():
            elapsed = duration(time.monotonic() - self._began)
            line = f"{elapsed} {self._names[run.digest]}: {what}"
            say(self.console, line)

    def _end(self, run: Run, state: str) -> None:
        self._states[run.digest] = state
        self._ended += 1
        self._lines.tell(self._summary(), is_last=self._ended == self.left)

    def _summary(self) -> str:
        elapsed = time.monotonic() - self._began
        text = f"{self._ended}/{self.left} runs in {duration(elapsed)}"
        if not self._ended and "running" not in self._states.values():
            text += ", waiting for the first worker to start"
        if RUNS_BEFORE_ESTIMATE <= self._ended < self.left:
            rest = elapsed / self._ended * (self.left - self._ended)
            text += f", about {duration(rest)} left"
        means = {
            row.name: mean
            for plan in self.plans
            for row in plan.asked_rows
            if (mean := self._dev_ua(row)) is not None
        }
        if means:
            best = max(means, key=means.__getitem__)
            text += f"; best dev UA so far {100 * means[best]:.1f} ({best})"
        return text

    def _dev_ua(self, row: PlannedRow) -> float | None:
        """Mean over the row's runs of this call of their best dev UA; None before an epoch."""
        found = [self._best_dev_ua[r.digest] for r in row.runs if r.digest in self._best_dev_ua]
        return fmean(found) if found else None

    def _render(self) -> Group:
        table = Table(box=None, show_header=False, padding=(0, 1))
        shown = self._shown()
        for study, row in shown:
            mean = self._dev_ua(row)
            dev = "" if mean is None else f"dev UA {100 * mean:.1f}"
            table.add_row(study, escape(row.name), self._marks(row), dev)
        more = sum(len(plan.asked_rows) for plan in self.plans) - len(shown)
        summary = f"{self._summary()}; and {more} more rows" if more else self._summary()
        return Group(table, Text(summary))

    def _shown(self) -> list[tuple[str, PlannedRow]]:
        """Rows that fit into the terminal; the most urgent ones, if not all fit."""
        rows = [(plan.study, row) for plan in self.plans for row in plan.asked_rows]
        room = max(1, self.console.height - 2)
        if len(rows) <= room:
            return rows
        urgency = [self._urgency(row) for _, row in rows]
        first = sorted(range(len(rows)), key=lambda n: urgency[n])[:room]
        return [rows[n] for n in sorted(first)]

    def _urgency(self, row: PlannedRow) -> int:
        """Place in `URGENT` of the most urgent of the row's states."""
        states = {self._states.get(run.digest, "waiting") for run in row.runs}
        return min(URGENT.index(state) for state in states)

    def _marks(self, row: PlannedRow) -> Text:
        """A mark for each run, or the number of runs in each state."""
        states = [self._states.get(run.digest, "waiting") for run in row.runs]
        if len(states) > MOST_MARKS:
            counts = Counter(states)
            return Text(", ".join(f"{counts[s]} {s}" for s in MARKS if counts[s]))
        return Text.assemble(*(MARKS[state] for state in states))
