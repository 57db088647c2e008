"""What is done to commands at random moments, by name."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlt_ray.errors import INTERRUPTED
from mlt_ray.storage.lease import STALE_S
from tests.crashes.disks import filled
from tests.endurance.remains import Machine

JUMP_S = 7200
"""Seconds by which a clock jumps, forward or back."""

FAILED = 1
"""Exit code of a command some of whose runs failed: a worker may die twice, not more often."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A command that runs, and what it works with.

    `root`: its store, or the mirror of it. `stop` and `start`: of the server that it uses. `disk`:
    the small disk with the store.
    """

    process: subprocess.Popen
    machine: Machine
    root: Path
    stop: Callable[[], None] | None = None
    start: Callable[[], None] | None = None
    disk: Path | None = None


def kill(pids: Collection[int]) -> bool:
    """Kill processes; False if there is none."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


def driver(target: Target, rng: random.Random) -> bool:
    return kill([target.process.pid])


def worker(target: Target, rng: random.Random) -> bool:
    found = target.machine.named("ray::ImplicitFunc")
    return bool(found) and kill([rng.choice(found)])


def workers(target: Target, rng: random.Random) -> bool:
    return kill(target.machine.named("ray::ImplicitFunc"))


def board(target: Target, rng: random.Random) -> bool:
    return kill(target.machine.named("ray::RunBoard"))


def raylet(target: Target, rng: random.Random) -> bool:
    return kill(target.machine.named("/raylet/raylet "))


def gcs(target: Target, rng: random.Random) -> bool:
    return kill(target.machine.named("/gcs/gcs_server "))


def everything(target: Target, rng: random.Random) -> bool:
    return kill(list(target.machine.processes()))


def ctrl_c(target: Target, rng: random.Random) -> bool:
    os.killpg(target.process.pid, signal.SIGINT)
    return True


def terminate(target: Target, rng: random.Random) -> bool:
    target.process.terminate()
    return True


def stop_worker(target: Target, rng: random.Random) -> bool:
    found = target.machine.named("ray::ImplicitFunc")
    return bool(found) and _pause(rng.choice(found), rng)


def stop_driver(target: Target, rng: random.Random) -> bool:
    return _pause(target.process.pid, rng)


def _pause(pid: int, rng: random.Random) -> bool:
    """Let a process stand still for longer than a lease lives without a heartbeat."""
    try:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(STALE_S + rng.uniform(1, 6))
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return True


def jump(target: Target, rng: random.Random) -> bool:
    """Move the heartbeats of all leases in a folder, as they look after the disk's clock jumped.

    Leases are measured by that clock alone (`mlt_ray.storage.lease.file_system_time`).
    """
    seconds, moved = rng.choice((JUMP_S, -JUMP_S)), False
    for path in (target.root / "leases").glob("*.json"):
        with suppress(FileNotFoundError):
            before = path.stat().st_mtime
            if before:  # 0: given back
                os.utime(path, (before - seconds, before - seconds))
                moved = True
    return moved


def full_disk(target: Target, rng: random.Random) -> bool:
    if target.disk is None:
        return False
    with filled(target.disk):
        time.sleep(rng.uniform(2, 8))
    (target.disk / "ballast").unlink()
    return True


def stop_server(target: Target, rng: random.Random) -> bool:
    if target.stop is None or target.start is None:
        return False
    target.stop()
    time.sleep(rng.uniform(1, 10))
    target.start()
    return True


@dataclass(frozen=True, kw_only=True)
class Damage:
    """`do` returns False if there is nothing to damage now. `codes`: how the command may end.

    `ends`: whether the command must end by it. `weight`: how often it is chosen.
    """

    do: Callable[[Target, random.Random], bool]
    codes: Collection[int]
    ends: bool = False
    weight: float = 1.0
    kills: bool = field(default=True)


_KILLED = {-signal.SIGKILL}
# Python's own answer before the command's modules are there; its work is done.
_ASKED = {INTERRUPTED, -signal.SIGINT, 0}
_DEAD = {2, INTERRUPTED}

DAMAGES: Mapping[str, Damage] = {
    "driver killed": Damage(do=driver, codes=_KILLED, ends=True, weight=6),
    "worker killed": Damage(do=worker, codes={0, FAILED}, weight=6),
    "all workers killed": Damage(do=workers, codes={0, FAILED}, weight=2),
    "board killed": Damage(do=board, codes={0, FAILED, 2}),
    "raylet killed": Damage(do=raylet, codes=_DEAD, ends=True, weight=2),
    "GCS killed": Damage(do=gcs, codes=_DEAD, ends=True, weight=2),
    "all processes killed": Damage(do=everything, codes=_KILLED, ends=True, weight=3),
    "Ctrl-C": Damage(do=ctrl_c, codes=_ASKED, ends=True, weight=2),
    "SIGTERM": Damage(do=terminate, codes={*_ASKED, -signal.SIGTERM}, ends=True, weight=2),
    "worker stopped for longer than a lease": Damage(do=stop_worker, codes={0}, kills=False),
    "driver stopped for longer than a lease": Damage(do=stop_driver, codes={0}, kills=False),
    "the disk's clock jumps by two hours": Damage(do=jump, codes={0}, kills=False),
    "disk full for a while": Damage(do=full_disk, codes={0, 2}, weight=4, kills=False),
    "server gone for a while": Damage(do=stop_server, codes={0, 2}, weight=6, kills=False),
}
