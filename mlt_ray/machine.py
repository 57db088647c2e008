"""What of this machine the process may use."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

_ROOT = Path("/")

Number = TypeVar("Number", int, float)


def installed_cpus() -> int:
    """Number of CPUs of this machine."""
    return os.cpu_count() or 1


def usable_cpus(root: Path = _ROOT) -> int:
    """Number of CPUs that this process may use, at least 1.

    The least of the affinity (`taskset`, cpusets) and the quotas of its control groups (containers,
    Slurm), rounded down. Under a Slurm that sets no affinity, no more than its CPUs per task. The
    control groups are read from the file system at `root`.
    """
    installed = installed_cpus()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else installed
    limits = [allowed, *_quotas(root)]
    per_task = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if allowed >= installed and per_task.isdecimal():
        limits.append(int(per_task))
    return max(1, int(min(limits)))


def usable_memory(root: Path = _ROOT) -> int:
    """Bytes of memory that this process may use.

    Those of the machine, or the least limit of its control groups, read as for `usable_cpus`.
    """
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([installed, *_limits(root, "memory", _memory_limit)])


def _quotas(root: Path) -> Iterator[float]:
    """Number of CPUs by the quota of each control group of this process that has one."""
    return _limits(root, "cpu", _quota)


def _limits(root: Path, controller: str, limit: Callable[[Path, bool], Number]) -> Iterator[Number]:
    """What a function reads of each control group of this process that has such a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # a system that has none
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        # Version 2 has one tree for all controllers, version 1 one for each, named after it.
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        group: Path = mount / path.lstrip("/")
        # A container that does not see its own group by this name has it at the top.
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):  # a group without a limit
                yield limit(folder, not controllers)
            if folder == mount:
                break


def _memory_limit(folder: Path, is_version_2: bool) -> int:
    """Bytes of one control group; `ValueError` or `OSError` if it may use all."""
    name = "memory.max" if is_version_2 else "memory.limit_in_bytes"
    return int((folder / name).read_text())


def _quota(folder: Path, is_version_2: bool) -> float:
    """CPUs of one control group; `ValueError` or `OSError` if it may use all."""
    if is_version_2:
        quota, period = map(int, (folder / "cpu.max").read_text().split())
    else:
        quota, period = (
            int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period")
        )
    if quota <= 0:
        raise ValueError("no quota")
    return quota / period


def processes_with(variable: str, value: str, root: Path = _ROOT) -> list[int]:
    """Ids of the processes of this user that were started with a variable of that value.

    None on a system without ``/proc``, which is read at `root`.
    """
    found, wanted = [], f"{variable}={value}".encode()
    for path in (root / "proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # another user's, or one that has just ended
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def device_of(asked: "torch.device | None" = None) -> "torch.device":
    """The device that is asked for, else a GPU if there is one, else the CPU."""
    import torch

    return asked or torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def torch_threads(most: int) -> Iterator[None]:
    """Inside the block, torch computes with at most that many threads, in the whole process."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(before, most))
    try:
        yield
    finally:
        torch.set_num_threads(before)
