"""Leases: only one process at a time computes a run, though many drivers share the store.

    leases/<name>.<generation>.json   owner and process of the holder, as JSON

`name` is a run's digest, or what else one process at a time may do, such as ``search-<name>``. The
file with the highest generation is the lease; its time of last change is the last heartbeat.

Taking the lease: a contender reads the highest generation. If that lease is free (below), the
contender creates the file of the next generation. The file system lets only one process create it,
so one contender wins and the others give up. The winner deletes the files of lower generations.

Keeping the lease: a thread of the holder touches the file every `INTERVAL_S` seconds. If the file
is gone, or if the next generation exists, the holder has lost the lease.

A lease is free in three cases:
- The holder gave it back. It then set the file's time to 1970, so that the heartbeat is old. The
  file stays, since without it generations would start again at 1, and a slow contender could
  create a generation that has passed. Only when the run is finished are its files deleted: who
  takes the lease later asks the store and finds the run finished.
- The holder died. Its file stays as it is. A contender on the same machine sees that the process
  no longer exists. Contenders on other machines wait until the heartbeat is older than `STALE_S`.
- The owner is the same: a driver takes over the lease of its own killed worker at once.

This needs a file system. In a store behind a URI a lease is a claim (`mlt_ray.storage.claim`).
"""

import contextlib
import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from mlt_ray.errors import StoreSilent, StoreUnreachable, UserError
from mlt_ray.storage.files import filling
from mlt_ray.storage.holder import Holder
from mlt_ray.storage.names import plain
from mlt_ray.storage.store import Store

INTERVAL_S = 5.0
"""Seconds between two heartbeats."""

STALE_S = 30.0
"""Seconds without a heartbeat after which a holder counts as dead, if not known to be earlier."""


POLL_S = 0.05
"""Seconds between two tries of `alone`."""

PATIENCE_S = STALE_S + 15.0
"""Seconds to wait for a process that writes a file: long enough that one that died is outlived."""


class Hold(Protocol):
    """The files in the store that say that a process has a lease.

    `token` names this hold among all that the lease ever has.
    """

    token: str

    def beat(self) -> bool:
        """Write a heartbeat; False if another process has taken the lease over.

        Raises `OSError` or `StoreUnreachable` if the store does not answer.
        """

    def release(self) -> None:
        """Give the lease back; another process's lease stays as it is. Raises as `beat` does."""


class Lease:
    """A lease that this process has; a context manager that releases it at the end.

    A daemon thread writes a heartbeat every `interval_s` seconds. The lease is lost if another
    process has taken it over, or if no heartbeat succeeds for `stale_s` seconds. Then `lost`
    becomes true and `on_lost` is called. While a store is silent the lease is in doubt, not lost:
    the first heartbeat that is answered tells. Who writes what the lease is for asks `is_kept`.
    """

    def __init__(
        self,
        hold: Hold,
        interval_s: float,
        stale_s: float,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._hold = hold
        self._stale_s = stale_s
        self._on_lost = on_lost
        self._lost = threading.Event()
        self._released = threading.Event()
        self._beating = threading.Lock()
        self._last_beat_s = time.monotonic()
        self._thread = threading.Thread(target=self._keep, args=(interval_s,), daemon=True)
        self._thread.start()

    @property
    def token(self) -> str:
        """Names the lease for a `LentLease` in another process."""
        return self._hold.token

    @property
    def lost(self) -> bool:
        """Whether the lease is known to be lost."""
        return self._lost.is_set()

    def _keep(self, interval_s: float) -> None:
        try:
            self._beat_until_released_or_lost(interval_s)
        finally:
            if not self._released.is_set():
                self._lost.set()
                self._on_lost()

    def _beat_until_released_or_lost(self, interval_s: float) -> None:
        while not self._released.wait(interval_s):
            try:
                is_held = self.is_kept()
            except StoreSilent:
                continue
            except (OSError, StoreUnreachable):
                # Until the heartbeat is stale, no other process takes the lease over.
                is_held = time.monotonic() - self._last_beat_s < self._stale_s
            if not is_held:
                return

    def is_kept(self) -> bool:
        """Write a heartbeat now; False if the lease is lost. Raises as `Hold.beat` does."""
        with self._beating:
            if self.lost:
                return False
            began_s = time.monotonic()
            is_held = self._hold.beat()
            if is_held and began_s - self._last_beat_s > self._stale_s:
                # A contender may have looked before this heartbeat, which it counted as dead. The
                # second one sees it, or it sees the first one.
                is_held = self._hold.beat()
            if is_held:
                self._last_beat_s = began_s
            else:
                self._lost.set()
            return is_held

    def release(self) -> None:
        """Give the lease back. Does nothing if it was released or lost before."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join()
        if not self.lost:
            # If the store does not answer, the heartbeat gets old and the lease becomes free.
            with contextlib.suppress(OSError, StoreUnreachable):
                self._hold.release()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class LentLease:
    """A lease that another process keeps for this one: looks into the store whether it still does.

    It is asked as a `Lease` is. `lost` looks every `interval_s` seconds at most.
    """

    def __init__(self, store: Store, name: str, token: str, interval_s: float = INTERVAL_S) -> None:
        self._store = store
        self._name = name
        self._token = token
        self._interval_s = interval_s
        self._looked_s = time.monotonic()
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether the lease is known to be lost."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= self._interval_s:
            self._looked_s = now_s
            with contextlib.suppress(OSError, StoreUnreachable):
                self.is_kept()
        return self._lost

    def is_kept(self) -> bool:
        """Look now; False if the lease is lost. Raises as `Hold.beat` does."""
        if not self._lost:
            self._lost = not is_current(self._store, self._name, self._token)
        return not self._lost


def is_current(store: Store, name: str, token: str) -> bool:
    """Whether the hold with this token has the lease of that name now. Raises as `Hold.beat`."""
    if store.mirror:
        from mlt_ray.storage.claim import is_held

        return is_held(store.mirror.remote, f"leases/{name}", token)
    folder, generation = store.root / "leases", int(token)
    return (
        lease_path(folder, name, generation).exists()
        and not lease_path(folder, name, generation + 1).exists()
    )


def acquire(
    store: Store,
    name: str,
    owner: str,
    *,
    interval_s: float = INTERVAL_S,
    stale_s: float = STALE_S,
    on_lost: Callable[[], None] = lambda: None,
) -> Lease | None:
    """Take the lease of that name; None if a living process has it or took it a moment ago.

    `name` is a run's digest, or another name such as ``search-<name>`` or ``mlflow``. `owner` names
    the driver and must not be empty (`ValueError`); a lease of the same owner is taken over at
    once. After taking a run's lease, ask `store.is_done`: another process may have finished the run
    in the meantime. All users of a store need the same `stale_s`, and an `interval_s` several times
    shorter. `on_lost` is called in the thread that writes the heartbeats.
    """
    if not owner:
        raise ValueError("the owner of a lease needs a name")
    plain(name, f"{store}, leases")
    holder = Holder.here(owner)
    hold: Hold | None
    if store.mirror:
        from mlt_ray.storage.claim import ClaimHold

        mirror, folder_name = store.mirror, f"leases/{name}"
        hold = ClaimHold.take(mirror.remote, folder_name, holder, stale_s, mirror.waiting)
    else:
        folder = store.root / "leases"
        with filling(folder / f"{name}.json"):
            hold = FileHold.take(folder, name, holder, stale_s, store.is_done)
    if hold is None:
        return None
    return Lease(hold, interval_s, stale_s, on_lost)


@contextlib.contextmanager
def alone(store: Store, name: str, *, patience_s: float = math.inf) -> Iterator[None]:
    """Let one process at a time into the block, among those that give this name.

    Waits for the lease; `UserError` if it is not free within `patience_s`.
    """
    until = time.monotonic() + patience_s
    while (lease := acquire(store, name, owner=uuid.uuid4().hex)) is None:
        if time.monotonic() > until:
            raise UserError(
                f"{store}: expected to have {name} for a moment, but another process kept it for "
                f"{patience_s:g} s; give the same command again"
            )
        time.sleep(POLL_S)
    with lease:
        yield


def use(folder: Path, owner: str) -> Lease:
    """Mark a local folder as used by this process, until the lease is released.

    `ValueError` if another process uses it.
    """
    hold = FileHold.take(folder, "in-use", Holder.here(owner), STALE_S, lambda name: False)
    if hold is None:
        raise ValueError(f"{folder}: another process uses it")
    return Lease(hold, INTERVAL_S, STALE_S)


def is_in_use(folder: Path) -> bool | None:
    """Whether a living process uses a folder that was marked by `use`; None if it never was."""
    found = generations(folder, "in-use") if folder.is_dir() else []
    if not found:
        return None
    return not is_free(lease_path(folder, "in-use", max(found)), None, STALE_S)


class FileHold:
    """A lease in a store that is a folder, on one machine or on a shared file system."""

    def __init__(
        self, folder: Path, name: str, generation: int, is_done: Callable[[str], bool]
    ) -> None:
        self.token = str(generation)
        self._folder = folder
        self._name = name
        self._generation = generation
        self._is_done = is_done

    @classmethod
    def take(
        cls,
        folder: Path,
        name: str,
        holder: Holder,
        stale_s: float,
        is_done: Callable[[str], bool],
    ) -> "FileHold | None":
        """Create the next generation; None unless the highest is free and no other was faster."""
        folder.mkdir(parents=True, exist_ok=True)
        last = max(generations(folder, name), default=0)
        if last and not is_free(lease_path(folder, name, last), holder.owner, stale_s):
            return None
        path = lease_path(folder, name, last + 1)
        try:
            with path.open("x") as file:
                file.write(holder.as_json())
        except FileExistsError:
            return None
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        found = generations(folder, name)
        if max(found, default=0) > last + 1:
            # Others have taken and released the lease since the first listing: too late.
            path.unlink(missing_ok=True)
            return None
        for generation in found:
            if generation <= last:
                lease_path(folder, name, generation).unlink(missing_ok=True)
        return cls(folder, name, last + 1, is_done)

    @property
    def path(self) -> Path:
        """The lease's file."""
        return lease_path(self._folder, self._name, self._generation)

    def beat(self) -> bool:
        """Touch the file, unless it or the lease is gone."""
        try:
            os.utime(self.path)
        except FileNotFoundError:
            return False
        return not lease_path(self._folder, self._name, self._generation + 1).exists()

    def release(self) -> None:
        """Set the file's time to 1970; if the run is finished, delete all files of its lease."""
        if not self._is_done(self._name):
            with contextlib.suppress(FileNotFoundError):
                os.utime(self.path, (0, 0))
            return
        for generation in generations(self._folder, self._name):
            lease_path(self._folder, self._name, generation).unlink(missing_ok=True)


def lease_path(folder: Path, name: str, generation: int) -> Path:
    """The file of one generation of a lease."""
    return folder / f"{name}.{generation}.json"


def generations(folder: Path, name: str) -> list[int]:
    """The generations of a lease that have a file now, in no order."""
    found = (f.removeprefix(f"{name}.").removesuffix(".json") for f in os.listdir(folder))
    return [int(middle) for middle in found if middle.isdecimal()]


def is_free(path: Path, owner: str | None, stale_s: float) -> bool:
    """Whether a lease may be taken: it was released, or its holder is dead or of the same owner.

    None is the owner of nothing.
    """
    try:
        # The time of an open file: a network file system may answer `stat` from its cache.
        with path.open("rb") as file:
            holder = Holder.from_json(file.read())
            last_beat = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return False  # another contender has just taken it
    if holder.owner == owner or holder.is_known_dead:
        return True
    return file_system_time(path.parent) - last_beat > stale_s


def file_system_time(folder: Path) -> float:
    """Unix time by the clock that dates the folder's files, which may be a file server's."""
    path = folder / f".clock.{uuid.uuid4().hex}"
    try:
        with path.open("x") as file:
            return os.fstat(file.fileno()).st_mtime
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
