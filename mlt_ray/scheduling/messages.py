"""What a worker tells the driver while it computes."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from mlt_ray.spec import Run
from mlt_ray.storage.report import Epoch

REPORT_INTERVAL_S = 1.0
"""Least time between two messages to the driver: each costs the trial a round trip."""


class Messages:
    """Collects epochs and passes them on to the driver, not too often."""

    def __init__(
        self, report: Callable[[dict[str, Any]], None], interval_s: float = REPORT_INTERVAL_S
    ) -> None:
        self._report = report
        self._interval_s = interval_s
        self._waiting: dict[str, list[Epoch]] = {}
        self._sent = time.monotonic()

    def add(self, run: Run, epoch: Epoch) -> None:
        """One epoch of the run has ended."""
        self._waiting.setdefault(run.digest, []).append(epoch)
        if time.monotonic() - self._sent >= self._interval_s:
            self.send()

    def send(self, **more: Mapping[str, Any]) -> None:
        """Send what has been collected."""
        self._report({"epochs": self._waiting, **more})
        self._waiting, self._sent = {}, time.monotonic()
