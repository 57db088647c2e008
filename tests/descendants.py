"""Processes that this one has started, and those that they have started."""

import contextlib

import psutil


def descendants_titled(beginning: str) -> list[psutil.Process]:
    """Those whose title begins so, such as Ray's workers at a task.

    Tests beside this one have workers of the same title.
    """
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if " ".join(process.cmdline()).startswith(beginning):
                found.append(process)
    return found
