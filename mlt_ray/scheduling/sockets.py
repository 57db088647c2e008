"""A folder for the sockets and logs of a Ray that is started here."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mlt_ray.errors import UserError

LONGEST: Final = 107 - len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""Most bytes of the path in which Ray makes its folders: the system's limit for a socket's path,
less what Ray adds to it."""

ELSEWHERE: Final = ("/tmp", "/var/tmp", "/dev/shm")
"""Where a folder is made in place of a `TMPDIR` that Ray cannot use."""


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
