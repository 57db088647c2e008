"""Who holds a lease, and whether that process is known to be dead."""

import dataclasses
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lease: a driver's token, and the process that works for it.

    `machine` names a boot of a kernel and its space of process ids; it is empty, as is `started`,
    where the system does not tell, and only the heartbeat counts then. `started` is the process's
    start in the kernel's ticks: a process with another start has merely the same id.
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
        """The holder that `as_json` made `text` of; `UNKNOWN` where it is not whole."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return UNKNOWN

    def as_json(self) -> str:
        """All values, for a file."""
        return json.dumps(dataclasses.asdict(self))

    @property
    def is_known_dead(self) -> bool:
        """Whether it was a process of this machine that no longer exists."""
        if not (self.machine and self.started and self.machine == machine()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False  # another user's, whose start may be hidden
        return process_start(self.pid) != self.started


UNKNOWN = Holder(owner="", host="", machine="", pid=0, started="")
"""The holder of a lease that is just being written, or whose writing was cut short."""


def machine() -> str:
    """The running kernel and the space that process ids are unique in, or nothing."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def process_start(pid: int) -> str | None:
    """When a process started, in ticks since the boot; None where there is none, or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field, the program's name, may hold blanks and brackets.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
