"""Mirrors a store behind a URI in a local folder, so that other code reads and writes local files.

The mirror contains the remote files that this machine has needed so far, and all files that this
machine has written. "Remote" below means the store behind the URI, "local" the mirror.
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
"""Environment variable with the folder for the mirrors of this machine."""

AT_ONCE: Final = 16
"""Files that are copied in parallel, since each request takes tens of milliseconds."""

MARKS: Final = {"report.json", "config.json"}
"""Files that are copied last: where one of them exists, its folder is complete."""


class Mirror:
    """Copies files between the local folder `root` and a `Remote`. All paths are below `root`."""

    def __init__(self, root: Path, remote: Remote) -> None:
        self.root = root
        self.remote = remote

    def name(self, path: Path) -> str:
        """The remote name of a local file or folder; `UserError` if it is not inside `root`.

        An object store may hold keys such as ``features/x/../../y``, which are no files there.
        """
        name = path.relative_to(self.root)
        if ".." in name.parts:
            raise UserError(
                f"{self.remote.name}: expected names of files inside the store, got "
                f"{name.as_posix()!r}; delete that file there"
            )
        return name.as_posix()

    def pull(self, path: Path, *, fresh: bool = False) -> bool:
        """Download a file if there is no local one; returns whether there is one now.

        If `fresh`, it is downloaded in any case. A local file is kept if there is no remote one.
        """
        if path.exists() and not fresh:
            return True
        return self.remote.download(self.name(path), path) or path.exists()

    def pull_all(self, paths: Iterable[Path]) -> None:
        """`pull` many files in parallel."""
        each(self.pull, paths)

    def push(self, path: Path) -> None:
        """Upload a file, or all files of a folder with those of `MARKS` last."""
        each(self._upload, local_files(path) if path.is_dir() else [path])

    def _download(self, path: Path) -> None:
        self.remote.download(self.name(path), path)

    def _upload(self, path: Path) -> None:
        self.remote.upload(path, self.name(path))

    def put(self, path: Path, content: bytes) -> None:
        """Write a file, first remotely and then locally: each local file exists remotely too."""
        self.remote.write(self.name(path), content)
        write_bytes(path, content)

    def remove(self, path: Path) -> None:
        """Delete a file locally and remotely."""
        path.unlink(missing_ok=True)
        self.remote.delete(self.name(path))

    def share(self, folder: Path) -> None:
        """Download the files of a folder that are not local, and upload those that are not remote.

        Files of `MARKS` are copied last. The folder's files must never change, as is true of cached
        features; a local file of another size is damaged and downloaded again. If an earlier copy
        was interrupted, this completes it. Processes of this machine do this one after another.
        """
        with self._locked():
            found = self.remote.files(self.name(folder))
            remote = {folder / name: file.size for name, file in found.items()}
            local = {path: path.stat().st_size for path in local_files(folder)}
            each(self._download, [path for path, size in remote.items() if local.get(path) != size])
            each(self._upload, local.keys() - remote.keys())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # closing the file unlocks it
            yield


def local_files(folder: Path) -> list[Path]:
    """All files under a folder, without hidden ones, which are incomplete."""
    return [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]


def each(action: Callable[[Path], object], paths: Iterable[Path]) -> None:
    """Apply `action` to many files in parallel, lower ranks first: one `rank` after another."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _, same_rank in groupby(sorted(paths, key=rank), key=rank):
            list(pool.map(action, same_rank))


def rank(path: Path) -> int:
    """Order of copying: arrays and texts first, then their indices (.json), then `MARKS`."""
    return 2 if path.name in MARKS else int(path.suffix == ".json")


def open_mirror(uri: str) -> Mirror:
    """Open this machine's mirror of the store at a URI.

    Its folder is in `cache_folder`, named by a hash of the URI. Raises `StoreUnreachable`, and
    `UserError` if the folder cannot be made.
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
    """The connection to a URI. It is reused: a worker opens its store once for every run."""
    return Remote(uri)


def cache_folder() -> Path:
    """Folder of all mirrors: ``MLT_RAY_CACHE`` if set, else in the user's folder for caches."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).resolve()
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user).resolve() / "mlt_ray"
