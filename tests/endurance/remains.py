"""What commands leave on a machine: processes with their ports, and files outside the store.

The commands get a folder for temporary files of their own, by the variable `TMPDIR`. All their
processes inherit the variable, and so are told from other processes of the machine, even if they
have left their session or lost their parent.
"""

import contextlib
import getpass
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from mlt_ray.storage.leftovers import DIGEST, TEMPORARY, find_leftovers, remove_leftovers
from mlt_ray.storage.store import Store

END_S = 120.0
"""Most seconds that processes may outlive the command that started them."""

CACHE = f"torchinductor_{getpass.getuser()}"
"""Torch's cache of compiled code: one folder for all programs of a user."""

LISTENING = "0A"
"""State of a socket that listens, in /proc/net/tcp."""


@dataclass(frozen=True)
class Machine:
    """A folder for temporary files, and the processes that have it."""

    folder: Path

    @contextlib.contextmanager
    def entered(self, **environment: str) -> Iterator[None]:
        """Inside the block, commands get the folder, and more variables of the environment."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with mock.patch.dict(os.environ, {"TMPDIR": str(self.folder), **environment}):
            yield

    def processes(self) -> Mapping[int, str]:
        """Command lines of the living processes that have the folder, by their ids."""
        mark = f"TMPDIR={self.folder}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = _title(entry)
        return found

    def named(self, *parts: str) -> list[int]:
        """Ids of the processes whose command line has one of the parts, in order."""
        return sorted(p for p, line in self.processes().items() if any(q in line for q in parts))

    def listening(self) -> list[int]:
        """Ports on which the processes listen."""
        inodes = set()
        for pid in self.processes():
            with contextlib.suppress(OSError):
                inodes |= {os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir()}
        found = []
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING and f"socket:[{fields[9]}]" in inodes:
                    found.append(int(fields[1].rpartition(":")[2], 16))
        return sorted(found)

    def files(self) -> list[str]:
        """Names of the temporary files that are left, those of Ray's sessions among them."""
        names = [p.name for p in self.folder.iterdir() if p.name not in ("ray", CACHE)]
        return sorted(names + [f"ray/{p.name}" for p in (self.folder / "ray").glob("*")])

    def wait_for_end(self, timeout_s: float = END_S) -> tuple[float, Mapping[int, str]]:
        """Seconds until all processes had ended; those that have not in time, which are killed."""
        began = time.monotonic()
        while left := self.processes():
            if time.monotonic() - began > timeout_s:
                self.kill()
                break
            time.sleep(0.1)
        return time.monotonic() - began, left

    def kill(self) -> None:
        """Kill all of the processes."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _title(entry: Path) -> str:
    """A process's command line; a zombie has none."""
    return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


def unknown_remains(store: Store) -> list[str]:
    """Files in a store that nobody would ever remove: hidden ones, checkpoints, leases of runs.

    First makes all files of killed processes as old as they must be to be removed, and removes
    them.
    """
    for path in store.root.rglob(".*"):
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, (0, 0), follow_symlinks=False)
    remove_leftovers(store, find_leftovers(store))
    left = [path for path in store.root.rglob(".*") if TEMPORARY.fullmatch(path.name)]
    left += (store.root / "checkpoints").glob("*")
    names = sorted(str(path.relative_to(store.root)) for path in left)
    leases = {path.name for path in (store.root / "leases").glob("*")}
    if store.mirror:
        leases |= set(store.mirror.remote.files("leases"))
    return names + sorted(f"leases/{name}" for name in leases if DIGEST.match(name))
