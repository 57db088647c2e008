"""A folder of this machine that mirrors a store behind a URI.

Its files are those of the remote store that were needed here, and all that were written here.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Final

from mlt_ray.errors import UserError
from mlt_ray.storage.files import write_bytes
from mlt_ray.storage.remote import Remote, without_credentials

CACHE_VARIABLE: Final = "MLT_RAY_CACHE"

AT_ONCE: Final = 16
"""Files that are copied at once: a round trip to an object store takes tens of milliseconds."""

MARKS: Final = {"report.json", "config.json"}
"""Files whose presence says that all others of their folder are there."""


class Mirror:
    """Copies files between `root` and a `Remote`; paths are below `root`."""

    def __init__(self, root: Path, remote: Remote) -> None:
        self.root = root
        self.remote = remote

    def name(self, path: Path) -> str:
        """The remote name of a file or folder."""
        return path.relative_to(self.root).as_posix()

    def pull(self, path: Path, *, fresh: bool = False) -> bool:
        """Whether a file exists; it is fetched where it lacks here, or always if `fresh`.

        A `fresh` file that is gone on the other side stays as it is here.
        """
        if path.exists() and not fresh:
            return True
        return self.remote.download(self.name(path), path) or path.exists()

    def pull_all(self, paths: Iterable[Path]) -> None:
        """`pull` many files at once."""
        each(self.pull, paths)

    def push(self, path: Path) -> None:
        """Copy a file, or all files of a folder, to the other side, marks last."""
        each(self._upload, local_files(path) if path.is_dir() else [path])

    def _upload(self, path: Path) -> None:
        self.remote.upload(path, self.name(path))

    def put(self, path: Path, content: bytes) -> None:
        """Write a file on the other side, then here: what is here is there."""
        self.remote.write(self.name(path), content)
        write_bytes(path, content)

    def remove(self, path: Path) -> None:
        """Remove a file on both sides."""
        path.unlink(missing_ok=True)
        self.remote.delete(self.name(path))

    def share(self, folder: Path) -> None:
        """Copy the files that one side lacks, both ways, marks last.

        For folders whose files never change, such as cached features: what an interruption left
        on one side is made up for. One process of this machine at a time.
        """
        with self._locked():
            there = {folder / name for name in self.remote.files(self.name(folder))}
            here = set(local_files(folder))
            each(self.pull, there - here)
            each(self._upload, here - there)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            yield


def local_files(folder: Path) -> list[Path]:
    """All files under a folder but hidden ones, which are being written."""
    return [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]


def each(action: Callable[[Path], object], paths: Iterable[Path]) -> None:
    """Apply `action` to many files at once, though to none before all of a lower `rank`."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _, some in groupby(sorted(paths, key=rank), key=rank):
            list(pool.map(action, some))


def rank(path: Path) -> int:
    """Which files come first: an index after what it points to, a mark after all."""
    return 2 if path.name in MARKS else int(path.suffix == ".json")


def open_mirror(uri: str) -> Mirror:
    """This machine's mirror of the store at a URI.

    It lies under ``MLT_RAY_CACHE``, or else in the user's folder for caches, and is named by the
    URI. Raises `StoreUnreachable`, and `UserError` where that folder cannot be made.
    """
    uri = uri if uri.endswith("://") else uri.rstrip("/")
    name = hashlib.sha256(without_credentials(uri).encode()).hexdigest()[:16]
    root = cache_folder() / name
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{root}: expected a folder that can be made for copies of {without_credentials(uri)}, "
            f"got: {error.strerror}; name another one in {CACHE_VARIABLE}"
        ) from error
    return Mirror(root, open_remote(uri))


@functools.lru_cache(maxsize=8)
def open_remote(uri: str) -> Remote:
    """One connection a process: a worker opens its store for every run."""
    return Remote(uri)


def cache_folder() -> Path:
    """Where the mirrors of this machine lie."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).resolve()
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user).resolve() / "mlt_ray"
