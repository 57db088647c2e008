"""Writes files and folders atomically: one is complete or does not appear."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlt_ray.errors import StoreFull, UserError

FULL = {errno.ENOSPC, errno.EDQUOT}
"""Error numbers of a full disk and of a full quota."""

_UMASK = os.umask(0o077)
"""What the user lets no file give to others. It can only be read by being set."""
os.umask(_UMASK)


def json_bytes(values: Any) -> bytes:
    """Values as the content of a JSON file. Keys keep their order, floats all their digits."""
    return (json.dumps(values, indent=1) + "\n").encode()


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file atomically; its folder is made if needed."""
    write_bytes(path, json_bytes(values))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically; its folder is made if needed. `StoreFull` if the disk is full."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits; the file need not fit in memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary file beside `path`, which the block fills.

    When the block ends, the temporary file is flushed to disk and renamed to `path`. If the block
    raises, the temporary file is deleted and `path` stays as it was. `StoreFull` if the disk is
    full.
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
            temporary.chmod(0o666 & ~_UMASK)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """Yields an empty temporary folder beside `folder`, for `put_in_place`; it is deleted at last.

    `StoreFull` if the disk is full.
    """
    with filling(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            made.chmod(0o777 & ~_UMASK)
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def put_in_place(made: Path, folder: Path, is_complete: Callable[[set[str]], bool]) -> bool:
    """Rename the folder `made` to `folder`; False if there is one that is complete.

    `is_complete` judges a folder by the names of its files. One that is not complete, as a killed
    writer leaves it, is emptied first. Of processes that do this at once, one succeeds.
    """
    while True:
        with contextlib.suppress(FileNotFoundError):
            if not _emptied(folder, is_complete):
                return False
        try:
            os.rename(made, folder)
            return True
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _emptied(folder: Path, is_complete: Callable[[set[str]], bool]) -> bool:
    """Delete a folder's files unless it is complete; whether it was not."""
    # By a descriptor: another process may put its own folder here meanwhile.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        names = os.listdir(descriptor)
        if is_complete(set(names)):
            return False
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=descriptor)
        return True
    finally:
        os.close(descriptor)


def check_writable(folder: Path, where: str) -> None:
    """`UserError`, which begins with `where`, if nothing can be written into a folder.

    The folder need not exist. Nothing of what is tried stays.
    """
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not there.is_dir():
            raise UserError(f"{where}: expected a folder, got the file {there}; name another")
        # Writing alone tells of a drive that is mounted read-only, and of one that is full.
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(bytes(4096))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"{where}: expected a folder that can be written, got: {reason}; name another, or "
            "change that"
        ) from error


@contextlib.contextmanager
def filling(path: Path) -> Iterator[None]:
    """Raises `StoreFull`, with `path` in its text, if the block fails because the disk is full."""
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
    """Whether a full disk or a full quota caused an error.

    Libraries such as torch raise an error of their own while they handle the system's, so the
    causes of the error are searched too.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def local_files(folder: Path) -> list[Path]:
    """All files under a folder, without hidden ones, which are incomplete."""
    return [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]
