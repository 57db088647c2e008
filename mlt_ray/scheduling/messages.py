"""Messages from a worker to the driver while it trains.

A message has ``epochs`` and ``lines``, both by digest; ``lines`` are for people. The last one has
``ends`` too.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from mlt_ray.spec import Run
from mlt_ray.storage.report import Epoch

REPORT_INTERVAL_S = 1.0
"""Least seconds between two messages: each costs the trial a round trip."""


class Messages:
    """Collects epochs and sends them to the driver together, at most every `interval_s`."""

    def __init__(
        self, report: Callable[[dict[str, Any]], None], interval_s: float = REPORT_INTERVAL_S
    ) -> None:
        self._report = report
        self._interval_s = interval_s
        self._waiting: dict[str, list[Epoch]] = {}
        self._lines: dict[str, list[str]] = {}
        self._sent = time.monotonic()

    def add(self, run: Run, epoch: Epoch) -> None:
        """Add an epoch of a run; sends if it is time."""
        self._waiting.setdefault(run.digest, []).append(epoch)
        if time.monotonic() - self._sent >= self._interval_s:
            self.send()

    def tell(self, run: Run, line: str) -> None:
        """Add a line of a run for people; it goes with the next message."""
        self._lines.setdefault(run.digest, []).append(line)

    def send(self, **more: Mapping[str, Any]) -> None:
        """Send the collected epochs and lines, and `more` beside them."""
        self._report({"epochs": self._waiting, "lines": self._lines, **more})
        self._waiting, self._lines, self._sent = {}, {}, time.monotonic()
