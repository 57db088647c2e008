"""Ray's folder of logs and sockets for one start of Ray on this machine, and its removal.

Ray makes a folder ``session_*`` at each start, in ``/tmp/ray`` or where ``TMPDIR`` says, and
removes none. Those that this package has started bear a mark; those of other programs are let
alone.
"""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mlt_ray.storage.holder import Holder

MARK: Final = "mlt-ray.json"
"""File in a session's folder: the process that has started Ray."""

LATEST: Final = "session_latest"
"""Ray's link to the folder of the last start."""


@contextmanager
def session(folder: Path) -> Iterator[None]:
    """Mark a session's folder as this process's, and remove it at the end of the block.

    Removes those beside it, too, whose process has been killed.
    """
    # The machine may be so full that not even this can be written: then it is left as Ray does.
    with suppress(OSError):
        (folder / MARK).write_text(Holder.here(uuid.uuid4().hex).as_json())
        for other in dead_sessions(folder.parent):
            remove(other)
    try:
        yield
    finally:
        remove(folder)


def dead_sessions(folder: Path) -> list[Path]:
    """Folders of sessions whose process has started them with this package and is dead."""
    found = []
    for mark in sorted(folder.glob(f"session_*/{MARK}")):
        if mark.parent.name == LATEST:
            continue
        with suppress(OSError):  # it has just been removed, or is another user's
            if Holder.from_json(mark.read_bytes()).is_known_dead:
                found.append(mark.parent)
    return found


def remove(folder: Path) -> None:
    """Remove a session's folder, and the link to it."""
    shutil.rmtree(folder, ignore_errors=True)
    link = folder.parent / LATEST
    with suppress(OSError):
        if link.is_symlink() and not link.exists():
            link.unlink()
