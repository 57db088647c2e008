"""The process that has a lease, and whether it is known to be dead."""

import dataclasses
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlt_ray.parsing import parse_json

_MOST_PID: Final = 2**31


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that has a lease, and its owner, which is the driver that it works for.

    `machine` names the running kernel and its space of process ids (a container has its own).
    `started` is the process's start in ticks since the boot: the kernel gives the id of a dead
    process to a new one, but with another start. Both are empty if the system does not tell them;
    then only the age of the heartbeat shows that the process is dead.
    """

    owner: str
    host: str
    machine: str
    pid: int
    started: str

    @classmethod
    def here(cls, owner: str) -> "Holder":
        """This process."""
        pid = os.getpid()
        return cls(
            owner=owner,
            host=socket.gethostname(),
            machine=machine(),
            pid=pid,
            started=process_start(pid) or "",
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> "Holder":
        """Reads what `as_json` wrote; `UNKNOWN_HOLDER` if the text is incomplete."""
        try:
            found = cls(**parse_json(text))
        except (ValueError, TypeError):
            return UNKNOWN_HOLDER
        texts = (found.owner, found.host, found.machine, found.started)
        is_whole = all(isinstance(text, str) for text in texts) and type(found.pid) is int
        return found if is_whole and 0 < found.pid < _MOST_PID else UNKNOWN_HOLDER

    def as_json(self) -> str:
        """The content of a lease's file."""
        return json.dumps(dataclasses.asdict(self))

    @property
    def is_known_dead(self) -> bool:
        """True if the process ran on this machine and no longer exists; else it is not known."""
        if not (self.machine and self.started and self.machine == machine()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False  # another user's process, which exists
        return process_start(self.pid) != self.started


UNKNOWN_HOLDER = Holder(owner="", host="", machine="", pid=0, started="")
"""Stands for the holder of a lease whose file is not completely written."""


def machine() -> str:
    """Names the running kernel and its space of process ids; empty if they are not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def process_start(pid: int) -> str | None:
    """When a process started, in ticks since the boot; None if it is a zombie or does not exist."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    # The second field, the program's name, may contain blanks and brackets.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
