"""Ctrl-C, SIGTERM and SIGHUP while runs are trained: the first lets the epochs under way end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from mlt_ray.scheduling.death import end_with_ray
from mlt_ray.scheduling.tune import TuneSearcher
from mlt_ray.signals import ending
from mlt_ray.signals import interrupt as end_at_once

STOPPING = (
    "\nfinishing the epochs under way, then stopping; Ctrl-C again stops now (what is finished and "
    "every checkpoint is kept)"
)


class Interruption:
    """Whether a signal has asked to stop."""

    is_asked = False


@contextmanager
def interruptible(searcher: TuneSearcher) -> Iterator[Interruption]:
    """Inside the block the first signal that ends a command stops the searcher, the second raises.

    If Ray ends after the first, this process ends too. After the first, this process waits no
    longer for a store that does not answer.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if interruption.is_asked or searcher.error:
            return end_at_once(number, frame)
        interruption.is_asked = searcher.is_stopping = True
        searcher.outage.goes_on = lambda: False
        with suppress(OSError):  # the terminal may be gone
            print(STOPPING, flush=True)
        end_with_ray()

    signals = ending()
    before = [signal.signal(number, interrupt) for number in signals]
    try:
        yield interruption
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
