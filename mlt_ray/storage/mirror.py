"""Mirrors a store behind a URI in a local folder, so that other code reads and writes local files.

The mirror contains the remote files that this machine has needed so far, and all files that this
machine has written, also those that could not be uploaded. "Remote" below means the store behind
the URI, "local" the mirror.
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
from typing import Final, TypeVar

from mlt_ray.errors import UserError
from mlt_ray.masking import masked
from mlt_ray.storage.files import local_files, write_bytes
from mlt_ray.storage.outage import nothing, outage_of
from mlt_ray.storage.remote import Remote, RemoteFile

CACHE_VARIABLE: Final = "MLT_RAY_CACHE"
"""Environment variable with the folder for the mirrors of this machine."""

TIME_ERROR_S: Final = 1e-3
"""Most seconds between the times of a file and of its copy, which are rounded differently."""

AT_ONCE: Final = 16
"""Files that are copied in parallel, since each request takes tens of milliseconds."""

MARKS: Final = {"report.json", "config.json"}
"""Files that are copied last: where one of them exists, its folder is complete."""

Result = TypeVar("Result")


class Mirror:
    """Copies files between the local folder `root` and a `Remote`. All paths are below `root`.

    What exists, the remote side decides: it may have been emptied, or replaced by another, since
    the local copy was made. In an outage every method waits, unless `waits` is False
    (`mlt_ray.storage.outage`).
    """

    def __init__(self, root: Path, remote: Remote, *, waits: bool = True) -> None:
        self.root = root
        self.remote = remote
        self._waits = waits

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

    def at_once(self) -> "Mirror":
        """The same mirror, which raises `StoreSilent` where this one waits."""
        return Mirror(self.root, self.remote, waits=False)

    def waiting(self, action: Callable[[], Result], check: Callable[[], None] = nothing) -> Result:
        """Result of `action`, which is tried again in an outage (`Outage.through`)."""
        return self.remote.outage.through(action, check) if self._waits else action()

    def pull(self, path: Path, *, keep_newer: bool = False) -> bool:
        """Make the local file the same as the remote one; returns whether there is a remote one.

        If `keep_newer`, a local file stays that is newer than the remote one or the only one, and
        counts too.
        """
        return self.waiting(lambda: self._pull(path, keep_newer))

    def _pull(self, path: Path, keep_newer: bool = False) -> bool:
        name = self.name(path)
        remote = self.remote.file(name)
        if remote is None:
            return keep_newer and path.exists()
        if is_copy(path, remote) or (keep_newer and is_newer(path, remote)):
            return True
        if not self.remote.download(name, path):
            return False  # it was deleted a moment ago
        if remote.written_s is not None:
            os.utime(path, (remote.written_s, remote.written_s))
        return True

    def files(self, folder: str) -> set[str]:
        """Names of the remote files under a folder, relative to it."""
        return set(self.waiting(lambda: self.remote.files(folder)))

    def pull_all(self, paths: Iterable[Path]) -> set[Path]:
        """`pull` many files in parallel; returns those that there are remotely."""
        found = set()

        def pull(path: Path) -> None:
            if self._pull(path):
                found.add(path)

        self._each(pull, paths)
        return found

    def push(self, *paths: Path, check: Callable[[], None] = nothing) -> None:
        """Upload files, and all files of folders, with those of `MARKS` last.

        After an outage, `check` is called before an upload is tried again (`Outage.through`).
        """
        files = [f for path in paths for f in (local_files(path) if path.is_dir() else [path])]
        self._each(self._upload, files, check)

    def push_as(self, folder: Path, *paths: Path, check: Callable[[], None] = nothing) -> None:
        """Upload files as if they were in `folder`; otherwise as `push`."""

        def upload(path: Path) -> None:
            self.remote.upload(path, self.name(folder / path.name))

        self._each(upload, paths, check)

    def _download(self, path: Path) -> None:
        self.remote.download(self.name(path), path)

    def _upload(self, path: Path) -> None:
        self.remote.upload(path, self.name(path))

    def put(self, path: Path, content: bytes) -> None:
        """Write a file, first remotely and then locally."""
        self.waiting(lambda: self.remote.write(self.name(path), content))
        write_bytes(path, content)

    def remove(self, path: Path) -> None:
        """Delete a file locally and remotely."""
        path.unlink(missing_ok=True)
        self.waiting(lambda: self.remote.delete(self.name(path)))

    def share(self, folder: Path) -> None:
        """Download the files of a folder that are not local, and upload those that are not remote.

        Files of `MARKS` are copied last. The folder's files must never change, as is true of cached
        features; a local file of another size is damaged and downloaded again. If an earlier copy
        was interrupted, this completes it. Processes of this machine do this one after another.
        """
        with self._locked():
            found = self.waiting(lambda: self.remote.files(self.name(folder)))
            remote = {folder / name: file.size for name, file in found.items()}
            local = {path: path.stat().st_size for path in local_files(folder)}
            damaged = [path for path, size in remote.items() if local.get(path) != size]
            self._each(self._download, damaged)
            self._each(self._upload, local.keys() - remote.keys())

    def _each(
        self,
        action: Callable[[Path], object],
        paths: Iterable[Path],
        check: Callable[[], None] = nothing,
    ) -> None:
        """Apply `action` to many files in parallel, lower ranks first: one `rank` after another.

        In an outage this thread waits, for all files that are left.
        """
        for _, same_rank in groupby(sorted(paths, key=rank), key=rank):
            left = set(same_rank)
            self.waiting(lambda left=left: apply(action, left), check)  # type: ignore[misc]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # closing the file unlocks it
            yield


def apply(action: Callable[[Path], object], left: set[Path]) -> None:
    """Apply `action` to files in parallel, and take each off `left` that it was applied to.

    After the first error no further file is begun.
    """

    def act(path: Path) -> None:
        action(path)
        left.discard(path)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            list(pool.map(act, sorted(left)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def is_copy(path: Path, remote: RemoteFile) -> bool:
    """Whether a local file was downloaded from this remote one: size and time are equal."""
    if remote.written_s is None or not path.exists():
        return False
    local = path.stat()
    return local.st_size == remote.size and abs(local.st_mtime - remote.written_s) < TIME_ERROR_S


def is_newer(path: Path, remote: RemoteFile) -> bool:
    """Whether a local file was written after the remote one."""
    return path.exists() and path.stat().st_mtime > (remote.written_s or 0)


def rank(path: Path) -> int:
    """Order of copying: arrays and texts first, then their indices (.json), then `MARKS`."""
    return 2 if path.name in MARKS else int(path.suffix == ".json")


def open_mirror(uri: str, *, patient: bool = False) -> Mirror:
    """Open this machine's mirror of the store at a URI.

    Its folder is `mirror_folder`. In an outage a `patient` caller waits. Raises `StoreUnreachable`,
    and `UserError` if the folder cannot be made.
    """
    uri = uri if uri.endswith("://") else uri.rstrip("/")
    root = mirror_folder(uri)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{root}: expected a folder that can be made for copies of {masked(uri)}, "
            f"got: {error.strerror}; name another one in {CACHE_VARIABLE}"
        ) from error
    remote = outage_of(uri).through(lambda: open_remote(uri)) if patient else open_remote(uri)
    return Mirror(root, remote)


def mirror_folder(uri: str) -> Path:
    """The folder for a URI: in `cache_folder`, named by a hash of everything but the secrets."""
    return cache_folder() / hashlib.sha256(masked(uri).encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=8)
def open_remote(uri: str) -> Remote:
    """The connection to a URI. It is reused: a worker opens its store once for every run."""
    return Remote(uri)


def cache_folder() -> Path:
    """Folder of all mirrors: ``MLT_RAY_CACHE`` if set, else in the user's folder for caches."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).resolve()
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if user.startswith("~"):
        raise UserError(
            "expected a folder for copies of the store, got none, since this user has no home; "
            f"name one in {CACHE_VARIABLE}"
        )
    return Path(user).resolve() / "mlt_ray"
