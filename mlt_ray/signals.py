"""Ctrl-C and SIGTERM end a command, also where Python drops what is raised."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

AGAIN_S: Final = 0.05
"""Seconds after which a signal comes again that came where nothing can be raised."""

_came = threading.Event()


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler of signals: raises `KeyboardInterrupt`, in a finaliser a moment later."""
    _came.set()
    if is_in_finaliser(frame):
        threading.Timer(AGAIN_S, os.kill, (os.getpid(), number)).start()
        return
    raise KeyboardInterrupt


def handle() -> None:
    """Let both signals interrupt this process: a batch system's SIGTERM is a Ctrl-C, too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


@contextmanager
def heeded() -> Iterator[None]:
    """A block in which a signal came ends by `KeyboardInterrupt`, even if a library swallows it."""
    _came.clear()
    yield
    if _came.is_set():
        raise KeyboardInterrupt


def is_in_finaliser(frame: FrameType | None) -> bool:
    """Whether code runs for a ``__del__``, such as Ray's, where Python drops what is raised."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
