"""Leases: who computes a run now, so that two drivers on one store never compute it twice.

    leases/<digest>.<generation>.json   owner and process; its mtime is the holder's heartbeat

The highest generation is the lease. It is taken over by creating the next generation, which the
file system lets only one contender do, so nobody ever removes or renames a lease that may be
another's. A released lease stays behind, its heartbeat in 1970, or generations would begin anew
under a contender that is still deciding; the leases of a finished run are removed, since whoever
acquires one asks the store afterwards whether the run is finished. Behind a URI, where no file
can be created only if it is not there, leases are claims (`mlt_ray.storage.claim`).
"""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mlt_ray.errors import StoreUnreachable
from mlt_ray.storage.files import filling
from mlt_ray.storage.holder import Holder
from mlt_ray.storage.store import Store

INTERVAL_S = 5.0
"""Seconds between two heartbeats."""

STALE_S = 30.0
"""Age of a heartbeat at which its holder counts as dead, where nothing tells sooner."""


class Hold(Protocol):
    """What a lease keeps in the store while it is held."""

    def beat(self) -> bool:
        """Renew it; False where it has been taken over.

        Raises `OSError` or `StoreUnreachable` where the store is away.
        """

    def leave(self) -> None:
        """Give it back, and never touch another's lease. Raises as `beat` does."""


class Lease:
    """A held lease; a context manager that releases it.

    A daemon thread renews it every `interval_s`. A holder that cannot renew it for `stale_s`, or
    that finds it taken over, has lost it: `lost` is then true and `on_lost` has been called.
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
        self._thread = threading.Thread(target=self._renew, args=(interval_s,), daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether somebody else may hold the lease now."""
        return self._lost.is_set()

    def _renew(self, interval_s: float) -> None:
        try:
            self._keep(interval_s)
        finally:
            if not self._released.is_set():
                self._lost.set()
                self._on_lost()

    def _keep(self, interval_s: float) -> None:
        """Renew the hold until it is released or lost."""
        renewed = time.monotonic()
        while not self._released.wait(interval_s):
            began = time.monotonic()
            try:
                mine = self._hold.beat()
                renewed = began
            except (OSError, StoreUnreachable):
                # A store that hiccups: the lease is lost when others may think so too.
                mine = time.monotonic() - renewed < self._stale_s
            if not mine:
                return

    def release(self) -> None:
        """Let others have it; a second release, or one after it was lost, changes nothing."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join()
        if not self.lost:
            # Where the store is away, the lease will be taken for dead; the work is not lost.
            with contextlib.suppress(OSError, StoreUnreachable):
                self._hold.leave()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def acquire(
    store: Store,
    digest: str,
    owner: str,
    *,
    interval_s: float = INTERVAL_S,
    stale_s: float = STALE_S,
    on_lost: Callable[[], None] = lambda: None,
) -> Lease | None:
    """The lease of a run, or None: somebody else who is alive holds it, or did this moment.

    `owner` names a driver, and is not empty; a lease of the same owner, such as a killed worker's,
    is retaken at once. Ask `store.is_done` after acquiring it: the run may have been finished
    meanwhile. All contenders of a store use the same `stale_s`, and an `interval_s` several times
    shorter. `on_lost` is called in the thread that renews the lease.
    """
    if not owner:
        raise ValueError("the owner of a lease needs a name")
    holder = Holder.here(owner)
    hold: Hold | None
    if store.mirror:
        from mlt_ray.storage.claim import ClaimHold

        hold = ClaimHold.take(store.mirror.remote, f"leases/{digest}", holder, stale_s)
    else:
        folder = store.root / "leases"
        with filling(folder / f"{digest}.json"):
            hold = FileHold.take(folder, digest, holder, stale_s, store.is_done)
    if hold is None:
        return None
    return Lease(hold, interval_s, stale_s, on_lost)


class FileHold:
    """A lease as a file of a file system that several processes, or machines, see."""

    def __init__(
        self, folder: Path, digest: str, generation: int, is_done: Callable[[str], bool]
    ) -> None:
        self._folder = folder
        self._digest = digest
        self._generation = generation
        self._is_done = is_done

    @classmethod
    def take(
        cls,
        folder: Path,
        digest: str,
        holder: Holder,
        stale_s: float,
        is_done: Callable[[str], bool],
    ) -> "FileHold | None":
        """Create the next generation, unless the highest is somebody's who is alive."""
        folder.mkdir(parents=True, exist_ok=True)
        last = max(generations(folder, digest), default=0)
        if last and not is_free(lease_path(folder, digest, last), holder.owner, stale_s):
            return None
        path = lease_path(folder, digest, last + 1)
        try:
            with path.open("x") as file:
                file.write(holder.as_json())
        except FileExistsError:
            return None
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        found = generations(folder, digest)
        if max(found, default=0) > last + 1:
            # Others came and went since the listing, and removed what stood in the way.
            path.unlink(missing_ok=True)
            return None
        for generation in found:
            if generation <= last:
                lease_path(folder, digest, generation).unlink(missing_ok=True)
        return cls(folder, digest, last + 1, is_done)

    @property
    def path(self) -> Path:
        """The lease's file."""
        return lease_path(self._folder, self._digest, self._generation)

    def beat(self) -> bool:
        """Touch the file."""
        try:
            os.utime(self.path)
        except FileNotFoundError:
            return False
        return not lease_path(self._folder, self._digest, self._generation + 1).exists()

    def leave(self) -> None:
        """Let the file look long dead, or remove it and all others of a finished run."""
        if not self._is_done(self._digest):
            with contextlib.suppress(FileNotFoundError):
                os.utime(self.path, (0, 0))
            return
        for generation in generations(self._folder, self._digest):
            lease_path(self._folder, self._digest, generation).unlink(missing_ok=True)


def lease_path(folder: Path, digest: str, generation: int) -> Path:
    """The file of one generation of a run's lease."""
    return folder / f"{digest}.{generation}.json"


def generations(folder: Path, digest: str) -> list[int]:
    """The generations of a run's lease that there are now, in no order."""
    found = (n.removeprefix(f"{digest}.").removesuffix(".json") for n in os.listdir(folder))
    return [int(middle) for middle in found if middle.isdecimal()]


def is_free(path: Path, owner: str, stale_s: float) -> bool:
    """Whether a lease may be taken over: released, `owner`'s own, or a dead holder's."""
    try:
        # Through an open file, since a network file system may answer a stat from memory.
        with path.open() as file:
            holder = Holder.from_json(file.read())
            beaten = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return False  # taken over this moment
    if holder.owner == owner or holder.is_known_dead:
        return True
    return file_system_time(path.parent) - beaten > stale_s


def file_system_time(folder: Path) -> float:
    """Unix time by the clock that stamps the folder's files, which may be another machine's."""
    path = folder / f".clock.{uuid.uuid4().hex}"
    try:
        with path.open("x") as file:
            return os.fstat(file.fileno()).st_mtime
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
