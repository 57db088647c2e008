"""Ctrl-C and SIGTERM while runs are trained: the first lets the epochs under way end."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import ray

from mlt_ray.errors import INTERRUPTED
from mlt_ray.scheduling.tune import TuneSearcher

STOPPING = (
    "\nfinishing the epochs under way, then stopping; Ctrl-C again stops now (what is finished and "
    "every checkpoint is kept)"
)

RAY_HAS_ENDED = (
    "\nmlt-ray: interrupted, and Ray with it (a signal to the whole process group?); finished runs "
    "and checkpoints are kept, the same command goes on from here"
)

AGAIN_S = 0.05
"""Seconds after which a signal comes again that came where nothing can be raised."""

ASK_S = 1.0
"""Seconds between two looks whether Ray's head is there."""


class Interruption:
    """Whether a signal has asked to stop."""

    is_asked = False


@contextmanager
def interruptible(searcher: TuneSearcher) -> Iterator[Interruption]:
    """Inside the block the first SIGINT or SIGTERM stops the searcher, the second one raises.

    If Ray's head ends after the first, this process ends too. After the first, this process waits
    no longer for a store that does not answer.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    over = threading.Event()
    head = ray.get_runtime_context().gcs_address

    def interrupt(number: int, frame: FrameType | None) -> None:
        if interruption.is_asked or searcher.error:
            if is_in_finaliser(frame):
                threading.Timer(AGAIN_S, os.kill, (os.getpid(), number)).start()
                return
            raise KeyboardInterrupt
        interruption.is_asked = searcher.is_stopping = True
        searcher.outage.goes_on = lambda: False
        print(STOPPING, flush=True)
        threading.Thread(target=end_with, args=(head, over), daemon=True).start()

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interrupt) for number in signals]
    try:
        yield interruption
    finally:
        over.set()
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def is_in_finaliser(frame: FrameType | None) -> bool:
    """Whether code runs for a ``__del__``, such as Ray's, where Python drops what is raised."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def end_with(head: str, over: threading.Event) -> None:
    """End this process as soon as nobody listens at ``HOST:PORT``, unless it is `over` before.

    Ray itself would try for a minute to reach its head, and then end the process with a line of
    its own.
    """
    host, _, port = head.rpartition(":")
    while not over.wait(ASK_S):
        try:
            socket.create_connection((host, int(port)), timeout=ASK_S).close()
        except ConnectionRefusedError:
            if not over.is_set():
                print(RAY_HAS_ENDED, file=sys.stderr, flush=True)
                os._exit(INTERRUPTED)
        except OSError:
            # No answer yet, which need not mean that the head is gone: Ray decides.
            continue
