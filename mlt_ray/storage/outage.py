"""Waits while a store behind a URI does not answer, and says so once.

A request that fails is tried again after pauses that grow from `FIRST_PAUSE_S` to `LAST_PAUSE_S`,
until the store answers, for `LONGEST_S` at most. Only opening a store does not wait: a wrong
address is told at once.
"""

import functools
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from mlt_ray.errors import StoreSilent

LONGEST_S = 1800.0
"""Seconds after which a request that is not answered fails."""

FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 15.0
"""The first and the longest pause between two tries."""

ASK_S = 1.0
"""Seconds between two looks whether the wait goes on."""

Result = TypeVar("Result")


def nothing() -> None:
    """Checks nothing."""


def show(is_silent: bool, line: str) -> None:
    """Print a line on stderr, if there is one."""
    if line:
        print(f"mlt-ray: {line}", file=sys.stderr, flush=True)


class Outage:
    """The waits of all threads of a process for one store.

    `tell` is called when the first of them begins and when the last one has ended: with whether
    the store is silent, and a line that says so (empty if the wait was given up). `goes_on` is
    called every `ASK_S` seconds: where it is False, the waits end, and their requests fail.
    """

    def __init__(self) -> None:
        self.tell: Callable[[bool, str], None] = show
        self.goes_on: Callable[[], bool] = lambda: True
        self._lock = threading.Lock()
        self._num_waits = 0
        self._began_s = 0.0

    def through(self, action: Callable[[], Result], check: Callable[[], None] = nothing) -> Result:
        """Result of `action`, which is called again while it raises `StoreSilent`.

        `check` is called before each call but the first, and ends the wait by raising another
        error. Raises the last `StoreSilent` after `LONGEST_S`, or where the wait does not go on.
        """
        try:
            return action()
        except StoreSilent as error:
            silent = error
        self.begin(f"{silent}; trying again for up to {LONGEST_S / 60:.0f} minutes")
        answers = False
        try:
            end_s, pause_s = time.monotonic() + LONGEST_S, FIRST_PAUSE_S
            while self._pauses(min(pause_s, end_s - time.monotonic())):
                try:
                    check()
                    result = action()
                except StoreSilent as error:
                    silent = error
                else:
                    answers = True
                    return result
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
            raise silent
        finally:
            self.end(answers)

    def _pauses(self, pause_s: float) -> bool:
        """Wait; False at once if the time is over or the wait does not go on."""
        end_s = time.monotonic() + pause_s
        if pause_s <= 0 or not self.goes_on():
            return False
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, ASK_S))
            if not self.goes_on():
                return False
        return True

    def begin(self, line: str) -> None:
        """A thread, or another process that this one speaks for, begins to wait."""
        with self._lock:
            self._num_waits += 1
            if self._num_waits == 1:
                self._began_s = time.monotonic()
                self.tell(True, line)

    def end(self, answers: bool) -> None:
        """A wait has ended, since the store `answers` or since it was given up."""
        with self._lock:
            self._num_waits -= 1
            if self._num_waits == 0:
                silent_s = time.monotonic() - self._began_s
                line = f"the store answers again after {silent_s:.0f} s" if answers else ""
                self.tell(False, line)


def outage_of(location: str) -> Outage:
    """The outage of the store at a location, the same one in the whole process."""
    return _outage_of(location.rstrip("/"))


@functools.cache
def _outage_of(location: str) -> Outage:
    return Outage()
