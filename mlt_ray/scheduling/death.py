"""Ray's own death: notices that Ray has ended under this process, and ends what waits for it.

Ray itself waits for ever for a raylet that was killed, and a minute for its head.
"""

import atexit
import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import ray
from ray._private import worker
from rich.console import Console

from mlt_ray.errors import INTERRUPTED, RayDied
from mlt_ray.logs import are_logs_shown
from mlt_ray.machine import processes_with
from mlt_ray.signals import is_in_finaliser

ASK_S = 0.5
"""Seconds between two looks whether Ray's processes are there."""

CONNECT_S = 2.0
"""Most seconds that a connection may take; a machine that is lost does not refuse."""

OWN_REFUSALS_S = 1.0
"""Seconds for which a process of this machine must refuse before it counts as dead. One that only
is busy, or stopped, does not refuse: the system takes connections for it."""

HEAD_REFUSALS_S = 8.0
"""The same for the head of a cluster, which may be started again at its place."""

HEAD_SILENCE_S = 40.0
"""Seconds without any answer after which a head counts as lost; after 60 Ray ends the process."""

LEAVE_S = 10.0
"""Most seconds from the death to the end of what waits for Ray; then the process is ended."""

SHUTDOWN_S = 3.0
"""Most seconds that Ray's own clean-up gets when it is dead: without its head, it waits."""

RAYS_WORDS = "Raylet is terminated."

HAS_ENDED = (
    "\nmlt-ray: interrupted, and Ray with it (a signal to the whole process group?); finished runs "
    "and checkpoints are kept, the same command goes on from here"
)

SIGNAL = signal.SIGURG
"""Gets the main thread out of a wait. Other programs ignore it unless they have asked for it."""


_ends_with_ray = threading.Event()


def end_with_ray() -> None:
    """The user has asked to stop: if Ray dies from now on, this process ends at once."""
    _ends_with_ray.set()


@dataclass
class Process:
    """A process of Ray that listens; it is dead if it refuses, or is silent, for so many seconds.

    `refused_at` and `silent_at` are when that began, None where it is not so.
    """

    name: str
    host: str
    port: int
    refusals_s: float
    silence_s: float = float("inf")
    refused_at: float | None = None
    silent_at: float | None = None

    def is_dead(self) -> bool:
        """Ask once; whether that makes it dead."""
        now, refuses = time.monotonic(), self.refuses()
        self.refused_at = (self.refused_at or now) if refuses else None
        self.silent_at = (self.silent_at or now) if refuses is None else None
        if self.refused_at is not None:
            return now - self.refused_at >= self.refusals_s
        return self.silent_at is not None and now - self.silent_at > self.silence_s

    def refuses(self) -> bool | None:
        """Whether nobody listens there; None if there was no answer."""
        try:
            socket.create_connection((self.host, self.port), timeout=CONNECT_S).close()
        except ConnectionRefusedError:
            return True
        except OSError as error:
            # No file left to open is no silence of the other's.
            return False if error.errno in (errno.EMFILE, errno.ENFILE) else None
        return False

    def __str__(self) -> str:
        return f"{self.name} at {self.host}:{self.port}"


class Watch:
    """Looks after Ray in a thread of its own until it is `over`; `died` is the process that died.

    Once one is dead, what is left of a Ray that this process has started is killed, and the main
    thread, if Ray was joined there, gets a `KeyboardInterrupt`, again and again until it is over.
    """

    def __init__(self, is_local: bool) -> None:
        self.is_local = is_local
        self.died: Process | None = None
        self.over = threading.Event()
        self._is_left = False
        self._processes = processes_here(is_local)
        self._is_main = threading.current_thread() is threading.main_thread()
        self._thread = threading.Thread(target=self._look_after, daemon=True)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block lasts; raises `RayDied` for whatever a death of Ray made of it."""
        _ends_with_ray.clear()
        before = signal.signal(SIGNAL, self._interrupt) if self._is_main else None
        self._thread.start()
        try:
            try:
                with contextlib.nullcontext() if are_logs_shown() else without_rays_words():
                    yield
            finally:
                self._is_left = True
        except BaseException as error:
            if self._is_cause_of(error):
                raise has_died(str(self.died)) from error
            raise
        finally:
            self.over.set()
            if self._is_main:
                signal.signal(SIGNAL, before or signal.SIG_DFL)

    def _is_cause_of(self, error: BaseException) -> bool:
        """Whether Ray is dead; what failed may have been the first to know, so it is asked."""
        if isinstance(error, Exception):
            while not self.died and any(process.refuses() for process in self._processes):
                time.sleep(ASK_S)
        return self.died is not None

    def _look_after(self) -> None:
        while not self.over.wait(ASK_S):
            died = next((process for process in self._processes if process.is_dead()), None)
            if died:
                self.died = died
                self._end()
                return

    def _end(self) -> None:
        """Kill what is left of this process's own Ray, and get the main thread out of its wait."""
        if self.is_local:
            # Whatever becomes of it, the main thread must not wait for ever.
            with contextlib.suppress(Exception):
                kill_rest()
        if _ends_with_ray.is_set():
            print(HAS_ENDED, file=sys.stderr, flush=True)
            os._exit(INTERRUPTED)
        main = threading.main_thread().ident
        if not self._is_main or main is None:
            return
        until = time.monotonic() + LEAVE_S
        while time.monotonic() < until:
            signal.pthread_kill(main, SIGNAL)
            if self.over.wait(1.0):
                return
        if not self.over.is_set():
            Console().show_cursor()
            print(f"mlt-ray: {has_died(str(self.died))}", file=sys.stderr, flush=True)
            os._exit(2)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.died and not self._is_left and not is_in_finaliser(frame):
            raise KeyboardInterrupt


def has_died(what: str) -> RayDied:
    """What is said of the death of a process that Ray has started, or of the head."""
    return RayDied(
        f"Ray has died: expected {what}, found nobody there (often the kernel has killed it, for "
        "want of memory); nothing that is finished is lost, the same command goes on from the last "
        "checkpoints, with a lower --concurrency if memory is short"
    )


def processes_here(is_local: bool) -> list[Process]:
    """What this process's Ray cannot do without: its head, and the raylet of this machine."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    head = Process(
        "Ray's head",
        host.strip("[]"),
        int(port),
        *((OWN_REFUSALS_S,) if is_local else (HEAD_REFUSALS_S, HEAD_SILENCE_S)),
    )
    own: list[dict[str, Any]] = [n for n in ray.nodes() if n["NodeID"] == context.get_node_id()]
    raylets = [
        Process(
            "this machine's raylet",
            node["NodeManagerAddress"],
            node["NodeManagerPort"],
            OWN_REFUSALS_S,
        )
        for node in own
    ]
    return [*raylets, head]


def kill_rest() -> None:
    """Kill the processes that this process has started for Ray, and those that its raylet has."""
    node = worker._global_node
    if node is None:
        return
    raylets = [str(started.process.pid) for started in node.all_processes.get("raylet", ())]
    node.kill_all_processes(check_alive=False, allow_graceful=False)
    for pid in (pid for raylet in raylets for pid in processes_with("RAY_RAYLET_PID", raylet)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def without_rays_words() -> Iterator[None]:
    """Inside the block, Ray does not print the raylet's log, thirty lines of it, when that dies."""
    print_lines = worker.print_to_stdstream

    def print_others(data: dict[str, Any], *rest: Any, **more: Any) -> None:
        if not any(line.startswith(RAYS_WORDS) for line in data["lines"]):
            print_lines(data, *rest, **more)

    # Ray has no setting for it.
    worker.print_to_stdstream = print_others
    try:
        yield
    finally:
        worker.print_to_stdstream = print_lines


def shut_down_dead() -> None:
    """`ray.shutdown` of a Ray that has died, which may wait without end; then it is left undone."""
    thread = threading.Thread(target=ray.shutdown, daemon=True)
    thread.start()
    thread.join(SHUTDOWN_S)
    if thread.is_alive():
        atexit.unregister(ray.shutdown)
