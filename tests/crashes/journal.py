"""Records which epochs of which runs were computed in a store, even by processes that died.

With a checkpoint interval of 0, workers write a checkpoint after every epoch. They create a hidden
file, rename it to the checkpoint when it is complete, and delete the checkpoint when the run's
report is written. Linux's inotify reports these three events, so the workers need not tell.
"""

import ctypes
import os
import select
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CREATED, MOVED_TO, DELETED = 0x100, 0x80, 0x200
"""Kinds of events, from <sys/inotify.h>."""

EVENT = struct.Struct("iIII")
"""An event: watch, kind (`mask`), cookie, length of the file's name, which follows."""


class Journal:
    """Epochs computed, checkpoints written and runs finished since the start, by digest."""

    def __init__(self, store: Path) -> None:
        self.computed: Counter[str] = Counter()
        self.saved: Counter[str] = Counter()
        self.finished: set[str] = set()
        self.computed_again: set[str] = set()
        self._store = store

    @property
    def unfinished(self) -> list[str]:
        """Runs with a checkpoint and without a report."""
        return [digest for digest in self.saved if digest not in self.finished]

    def note(self, mask: int, name: str) -> None:
        """Record one event in the folder of checkpoints."""
        digest = name.lstrip(".").partition(".")[0]
        if mask & CREATED and name.startswith("."):
            self.computed[digest] += 1
            if digest in self.finished:
                self.computed_again.add(digest)
        elif mask & MOVED_TO:
            self.saved[digest] += 1
        elif mask & DELETED and not name.startswith("."):
            self.finished.add(digest)


@contextmanager
def journal(store: Path) -> Iterator[Journal]:
    """The journal of a store, recorded until the block ends."""
    folder = store / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.inotify_init()
    if (
        handle < 0
        or libc.inotify_add_watch(handle, bytes(folder), CREATED | MOVED_TO | DELETED) < 0
    ):
        raise OSError(ctypes.get_errno(), "inotify", str(folder))
    kept, ended = Journal(store), threading.Event()

    def read() -> None:
        while not ended.is_set():
            if select.select([handle], [], [], 0.1)[0]:
                content = os.read(handle, 1 << 16)
                while content:
                    _, mask, _, size = EVENT.unpack_from(content)
                    name = content[EVENT.size : EVENT.size + size].rstrip(b"\0").decode()
                    kept.note(mask, name)
                    content = content[EVENT.size + size :]

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield kept
        time.sleep(0.3)  # the last events are still to be read
    finally:
        ended.set()
        thread.join()
        os.close(handle)


def wait_until(
    condition: Callable[[], object], what: str, timeout_s: float = 400, every_s: float = 0.01
) -> None:
    """Wait until the condition holds; `TimeoutError` naming `what` if it does not in time.

    `every_s`: seconds between two looks; more where a look itself takes much of a processor.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(every_s)
