"""What the processes of one test session share: a folder that one of them fills for all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The path `name` in the session's folder, at which `make` is called by one process alone.

    The others wait for it. Where `make` fails, the next process to ask calls it again, with a new
    path. Tests may change nothing there that another one reads.
    """
    room = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        room = room.parent
    made = room / f"{name}.made"
    with FileLock(room / f"{name}.lock"):
        if not made.exists():
            number = sum(1 for _ in room.glob(f"{name}-*"))
            path = room / f"{name}-{number}"
            path.mkdir()
            make(path)
            made.write_text(str(path))
    return Path(made.read_text())
