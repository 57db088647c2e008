"""Ctrl-C, SIGTERM and SIGHUP end a command, also where Python drops what is raised."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

AGAIN_S: Final = 0.05
"""Seconds after which a signal comes again that came where nothing can be raised."""

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the word of a batch system, and the end of a terminal."""


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler of signals: raises `KeyboardInterrupt`, in a finaliser a moment later."""
    if is_in_finaliser(frame):
        threading.Timer(AGAIN_S, os.kill, (os.getpid(), number)).start()
        return
    raise KeyboardInterrupt


def ending() -> list[signal.Signals]:
    """Signals that end a command; what the caller ignores, as nohup does SIGHUP, stays ignored."""
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]


def handle() -> None:
    """Let signals interrupt this process: a batch system's SIGTERM is a Ctrl-C, too."""
    for number in ending():
        signal.signal(number, interrupt)


@contextmanager
def kept() -> Iterator[None]:
    """Afterwards SIGTERM does what it did before; Ray puts a handler of its own there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def is_in_finaliser(frame: FrameType | None) -> bool:
    """Whether code runs for a ``__del__``, such as Ray's, where Python drops what is raised."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
