"""Files that appear whole or not at all."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlt_ray.errors import StoreFull

FULL = {errno.ENOSPC, errno.EDQUOT}


def json_bytes(values: Any) -> bytes:
    """JSON as files hold it; keys keep their order, floats every digit."""
    return (json.dumps(values, indent=1) + "\n").encode()


def write_json(path: Path, values: Any) -> None:
    """Write JSON atomically, making the folder."""
    write_bytes(path, json_bytes(values))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, making its folder. `StoreFull` where the disk is full."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path` that takes its place, on disk, when the block ends well.

    Otherwise the sibling is removed and `path` stays as it was. `StoreFull` where the disk is full.
    """
    with filling(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def filling(path: Path) -> Iterator[None]:
    """Turns a full disk into a `StoreFull` that names what was being written: `path`.

    Libraries that write through a C++ stream, such as torch, hide the reason in the error that
    they raise while they handle the system's.
    """
    try:
        yield
    except StoreFull:
        raise
    except Exception as error:
        if is_full(error):
            raise StoreFull(
                f"{path}: no space left on the disk while writing it; free some, or name another "
                "--store; what is finished is kept, and the same command goes on from here"
            ) from error
        raise


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk, or a full quota, is behind an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
