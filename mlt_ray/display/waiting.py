"""Says what a command waits for."""

import contextlib
import threading
from collections.abc import Iterator

from rich.console import Console

PATIENCE_S = 2.0
"""Seconds of a wait before a line says what it is for, where the output is no terminal."""


@contextlib.contextmanager
def waiting(console: Console, what: str) -> Iterator[None]:
    """Show what the block does: beside a spinner in a terminal, else as a line if it takes long."""
    if console.is_terminal:
        with console.status(what):
            yield
        return
    timer = threading.Timer(PATIENCE_S, console.print, (f"{what} …",), {"highlight": False})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
