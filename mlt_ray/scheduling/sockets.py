"""The folders for the sockets and logs of a Ray that is started here.

Ray makes a folder ``session_*`` for itself at each start, and removes none.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mlt_ray.errors import UserError
from mlt_ray.storage.holder import Holder

LONGEST: Final = 107 - len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""Most bytes of the path in which Ray makes its folders: the system's limit for a socket's path,
less what Ray adds to it."""

ELSEWHERE: Final = ("/tmp", "/var/tmp", "/dev/shm")  # nosec B108
"""Where a folder is made in place of a `TMPDIR` that Ray cannot use."""

MARK: Final = "mlt-ray.json"
"""File in the folder of a session: the process that has started Ray."""

LATEST: Final = "session_latest"
"""Ray's link to the folder of the last start."""


@contextmanager
def folder_for_ray() -> Iterator[str | None]:
    """A folder that `ray.init` shall use, as ``_temp_dir``; None where Ray's own choice will do.

    A `TMPDIR` that is too long for a socket's path, or cannot be written, is replaced by a short
    folder, which is removed at the end of the block. `UserError` if there is none, and for a
    `RAY_TMPDIR` that cannot be used.
    """
    if "RAY_TMPDIR" in os.environ:
        if found := fault(os.environ["RAY_TMPDIR"]):
            raise UserError(f"RAY_TMPDIR={os.environ['RAY_TMPDIR']}: {found}; unset it")
        yield None
        return
    tmpdir = os.environ.get("TMPDIR", ELSEWHERE[0])
    found = fault(tmpdir)
    if not found:
        yield None
        return
    place = next((place for place in ELSEWHERE if not fault(place)), None)
    if place is None:
        raise UserError(f"TMPDIR={tmpdir}: {found}; set TMPDIR to such a folder")
    folder = tempfile.mkdtemp(prefix="mlt-ray-", dir=place)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fault(place: str) -> str:
    """What is wrong with a place in which Ray shall make its folders; empty if nothing is."""
    path = Path(place).absolute()
    expected = f"expected a folder of at most {LONGEST} bytes that may be written"
    if len(os.fsencode(path)) > LONGEST:
        return f"{expected}, for Ray's sockets, got {len(os.fsencode(path))} bytes"
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        return f"{expected}, got: {error.strerror}"
    return ""


@contextmanager
def own_sessions(folder: Path) -> Iterator[None]:
    """Remove, at the end of the block, the folders of all starts of Ray that this process has made.

    Also that of a start which was interrupted, or failed. Those from before the block stay.
    """
    before = set(_of_this_process(folder))
    try:
        yield
    finally:
        for session in _of_this_process(folder):
            if session not in before:
                remove(session)


def mark(session: Path) -> None:
    """Mark the folder of a session as this process's, so that others remove it if that is killed.

    Removes those beside it whose process has been killed. Those of other programs bear no mark,
    and are let alone.
    """
    # The machine may be so full that not even this can be written: then it is left as Ray does.
    with suppress(OSError):
        (session / MARK).write_bytes(Holder.here(uuid.uuid4().hex).as_json().encode())
        for other in dead_sessions(session.parent):
            remove(other)


def _of_this_process(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"session_*_{os.getpid()}"))


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
