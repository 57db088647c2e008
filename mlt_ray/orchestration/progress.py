"""Progress of a plan: rows by fold-seeds in a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mlt_ray.display import duration
from mlt_ray.orchestration.plan import Plan
from mlt_ray.spec import Run
from mlt_ray.store import Epoch, Store

MARKS = {"done": ("●", "green"), "running": ("◐", "yellow"), "failed": ("✗", "red")}
WAITING = ("·", "dim")
LINE_INTERVAL_S = 10.0
"""Least time between two lines where the output is no terminal."""

SETTLED = 4
"""Runs that must have ended before they say how long the others take: workers start slowly."""


class ProgressDisplay:
    """Shows which runs of `plans` are done, running, failed; a context manager and Observer."""

    def __init__(self, plans: Sequence[Plan], store: Store, console: Console) -> None:
        self.plans = plans
        self.store = store
        self.console = console
        self.left = len({run.digest for plan in plans for run in plan.left(store)})
        self.failures: dict[Run, str] = {}
        runs = (run.digest for plan in plans for row in plan.rows for run in row.runs)
        self._states = dict.fromkeys(store.finished(runs), "done")
        self._ended = 0
        self._began = self._line_at = time.monotonic()
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=2)

    def __enter__(self) -> "ProgressDisplay":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def started(self, run: Run) -> None:
        """Mark the run as running."""
        self._states[run.digest] = "running"

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """Nothing to show: a run's mark changes when it ends."""

    def finished(self, run: Run) -> None:
        """Mark the run as done."""
        self._end(run, "done")

    def failed(self, run: Run, reason: str) -> None:
        """Mark the run as failed and say why at once."""
        self.failures[run] = reason
        self.console.print(f"[red]failed[/red] {escape(reason)}", highlight=False)
        self._end(run, "failed")

    def stopped(self, run: Run) -> None:
        """Mark the run as waiting again."""
        self._states.pop(run.digest, None)

    def _end(self, run: Run, state: str) -> None:
        self._states[run.digest] = state
        self._ended += 1
        now = time.monotonic()
        is_last = self._ended == self.left
        if not self.console.is_terminal and (is_last or now - self._line_at > LINE_INTERVAL_S):
            self._line_at = now
            self.console.print(self._summary(), highlight=False)

    def _summary(self) -> str:
        elapsed = time.monotonic() - self._began
        text = f"{self._ended}/{self.left} runs in {duration(elapsed)}"
        if SETTLED <= self._ended < self.left:
            rest = elapsed / self._ended * (self.left - self._ended)
            text += f", about {duration(rest)} left"
        return text

    def _render(self) -> Group:
        table = Table(box=None, show_header=False, padding=(0, 1))
        for plan in self.plans:
            for row in plan.rows:
                if not row.asked:
                    continue
                marks = Text()
                for run in row.runs:
                    state = self._states.get(run.digest)
                    marks.append(*(MARKS[state] if state else WAITING))
                table.add_row(plan.study, escape(row.name), marks)
        return Group(table, Text(self._summary()))
