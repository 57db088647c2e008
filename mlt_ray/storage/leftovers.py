"""What killed processes and ended runs have left in a store, and its removal.

Nothing is removed that a living process uses, and no checkpoint of a run that may go on.
"""

import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlt_ray.storage.lease import acquire, is_in_use
from mlt_ray.storage.record import read_record
from mlt_ray.storage.store import FOLDERS, Store

OLD_S: Final = 3600.0
"""Seconds after its last change when a temporary counts as left by a killed process."""

TEMPORARY: Final = re.compile(r"\..+\.([a-z0-9_]{8}|[0-9a-f]{32})")
"""Names of temporaries of `mlt_ray.storage.files`, `remote` and `lease`."""

DIGEST: Final = re.compile(r"[0-9a-f]{16}")
"""Names of the leases of runs."""


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """Files and folders of one kind, and their size in bytes together.

    A checkpoint may be behind the store's URI only: its path is that of its local copy.
    """

    what: str
    paths: tuple[Path, ...]
    size: int

    def __str__(self) -> str:
        return f"{len(self.paths)} {self.what}, {self.size / 2**20:.1f} MiB"


def find_leftovers(store: Store) -> list[Leftovers]:
    """The leftovers that `remove_leftovers` would remove; kinds of which there are none are out."""
    sizes = checkpoint_sizes(store)
    done = store.finished(sizes)
    temporaries = [path for folder in FOLDERS for path in _temporaries(store.root / folder)]
    drivers = [folder for folder in _children(store.root / "ray") if _is_dead(folder)]
    kinds = [
        Leftovers(
            what="checkpoints of finished runs",
            paths=tuple(store.checkpoint(digest) for digest in sorted(done)),
            size=sum(sizes[digest] for digest in done),
        ),
        Leftovers(
            what="leases of finished runs",
            paths=tuple(store.root / "leases" / digest for digest in abandoned_leases(store)),
            size=0,
        ),
        _measured("temporaries of killed processes", temporaries),
        _measured("Ray folders of killed commands", drivers),
    ]
    return [kind for kind in kinds if kind.paths]


def unfinished(store: Store) -> Leftovers:
    """Checkpoints from which runs can go on; these are kept."""
    sizes = checkpoint_sizes(store)
    left = sizes.keys() - store.finished(sizes)
    return Leftovers(
        what="checkpoints of unfinished runs",
        paths=tuple(store.checkpoint(digest) for digest in sorted(left)),
        size=sum(sizes[digest] for digest in left),
    )


def remove_leftovers(store: Store, found: Iterable[Leftovers]) -> None:
    """Remove what was found, except what a process uses by now."""
    paths = [path for kind in found for path in kind.paths]
    checkpoints = {p for p in paths if p.parent == store.root / "checkpoints" and p.suffix == ".pt"}
    if checkpoints:
        drop_checkpoints(store, [path.stem for path in checkpoints])
    leases = {path for path in paths if path.parent == store.root / "leases"}
    for path in leases:
        _give_back(store, path.name)
    for path in paths:
        if path in checkpoints or path in leases:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def drop_checkpoints(store: Store, digests: Collection[str]) -> None:
    """Delete the checkpoints of runs, except of those that a process computes now."""
    for digest in sorted(checkpoint_sizes(store).keys() & set(digests)):
        lease = acquire(store, digest, owner=uuid.uuid4().hex)
        if lease is not None:
            with lease:
                store.drop_checkpoint(digest)


def abandoned_leases(store: Store) -> list[str]:
    """Digests of finished runs that have a lease still, as a process that is killed leaves it."""
    mirror = store.mirror
    if mirror:
        names = mirror.waiting(lambda: mirror.remote.files("leases"))
        found = {name.partition("/")[0] for name in names if "/" in name}
    else:
        found = {p.name.partition(".")[0] for p in (store.root / "leases").glob("*.*.json")}
    return sorted(store.finished(name for name in found if DIGEST.fullmatch(name)))


def _give_back(store: Store, digest: str) -> None:
    """Take the lease of a finished run and release it, which deletes its files, unless it is kept.

    A process that has just finished the run keeps it for a moment.
    """
    lease = acquire(store, digest, owner=uuid.uuid4().hex)
    if lease is not None:
        lease.release()


def checkpoint_sizes(store: Store) -> dict[str, int]:
    """Bytes of all checkpoints, here and behind the URI, by the digests of their runs."""
    found = {path.name: _stat(path) for path in _children(store.root / "checkpoints")}
    local = {name: status.st_size for name, status in found.items() if status}
    mirror = store.mirror
    if mirror:
        there = mirror.waiting(lambda: mirror.remote.files("checkpoints"))
        local |= {name: file.size for name, file in there.items()}
    return {
        name.removesuffix(".pt"): size
        for name, size in local.items()
        if name.endswith(".pt") and not name.startswith(".")
    }


def planned_runs(store: Store) -> set[str]:
    """Digests of the runs of all studies that were planned in the store."""
    records = (read_record(store, store.study(name)) for name in store.studies())
    return {run.digest for record in records if record for row in record.rows for run in row.runs}


def _temporaries(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob(".*") if TEMPORARY.fullmatch(path.name))
    return [path for path in found if time.time() - _last_change_s(path) > OLD_S]


def _is_dead(folder: Path) -> bool:
    """Whether the command that a folder of Ray belongs to has ended."""
    in_use = is_in_use(folder)
    return time.time() - _last_change_s(folder) > OLD_S if in_use is None else not in_use


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _last_change_s(path: Path) -> float:
    """Unix time at which a file, or any file in a folder, was changed last."""
    return max((s.st_mtime for p in (path, *path.rglob("*")) if (s := _stat(p))), default=0.0)


def _stat(path: Path) -> os.stat_result | None:
    """The status of a file; None if it has just been deleted or renamed, as temporaries are."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _measured(what: str, paths: Collection[Path]) -> Leftovers:
    files = (f for path in paths for f in ([path] if path.is_file() else path.rglob("*")))
    size = sum(s.st_size for f in files if (s := _stat(f)) and stat.S_ISREG(s.st_mode))
    return Leftovers(what=what, paths=tuple(paths), size=size)
