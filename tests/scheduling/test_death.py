"""Ray counts as dead when nobody listens any more, and what waits for it ends in one line."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from ray.exceptions import RayActorError

from mlt_ray.errors import RayDied
from mlt_ray.scheduling import death
from mlt_ray.scheduling.death import Process, Watch


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Stands in for Ray's process: it listens and takes no connection, as one that is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def process_at(server: socket.socket, refusals_s: float = 0.0) -> Process:
    return Process("Ray's head", "127.0.0.1", server.getsockname()[1], refusals_s)


def test_one_that_is_stopped_is_not_dead_and_one_that_has_ended_is(
    listening: socket.socket,
) -> None:
    process = process_at(listening)
    assert not any(process.is_dead() for _ in range(20))
    listening.close()
    assert process.is_dead()


def test_one_that_is_started_again_at_its_place_was_not_dead(listening: socket.socket) -> None:
    process, place = process_at(listening, refusals_s=1000), listening.getsockname()
    listening.close()
    assert not process.is_dead()
    assert process.refused_at is not None
    with socket.create_server(place):
        assert not process.is_dead()
        assert process.refused_at is None


def test_a_machine_that_does_not_answer_is_lost_after_a_while(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silence(*_: object, **__: object) -> None:
        raise TimeoutError

    process = process_at(listening)
    process.silence_s = 40
    monkeypatch.setattr(death.socket, "create_connection", silence)
    now = time.monotonic()
    for after_s, is_lost in ((0, False), (30, False), (41, True)):
        monkeypatch.setattr(death.time, "monotonic", lambda at=now + after_s: at)
        assert process.is_dead() is is_lost


@pytest.fixture
def watch(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Watches over `listening`, as over a cluster's."""
    monkeypatch.setattr(death, "ASK_S", 0.02)
    monkeypatch.setattr(death, "processes_here", lambda is_local: [process_at(listening, 0.05)])
    return Watch(is_local=False)


def _watched(watch: Watch, *steps: Callable[[], object]) -> None:
    with watch.watching():
        for step in steps:
            step()


def _fail() -> None:
    raise RayActorError


def test_a_death_ends_a_wait(watch: Watch, listening: socket.socket) -> None:
    with pytest.raises(RayDied, match="Ray has died: expected Ray's head at 127"):
        _watched(watch, listening.close, lambda: time.sleep(60))
    assert signal.getsignal(death.SIGNAL) == signal.SIG_DFL


def test_what_fails_since_ray_is_dead_is_told_as_that(
    watch: Watch, listening: socket.socket
) -> None:
    with pytest.raises(RayDied):
        _watched(watch, listening.close, _fail)


def test_other_errors_and_a_ctrl_c_stay_what_they_are(
    watch: Watch, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (RuntimeError("a bug"), KeyboardInterrupt()):
        with pytest.raises(type(error)), Watch(is_local=False).watching():
            raise error
    with watch.watching():
        pass
    listening.close()
    time.sleep(0.2)
    assert watch.died is None


OUT_OF_REACH = """
import signal, socket, sys, time
from mlt_ray.scheduling import death

server = socket.create_server(("127.0.0.1", 0))
head = death.Process("Ray's head", *server.getsockname(), 0.1)
death.ASK_S, death.LEAVE_S, death.processes_here = 0.05, 0.2, lambda is_local: [head]
signal.pthread_sigmask(signal.SIG_BLOCK, [death.SIGNAL])
with death.Watch(is_local=False).watching():
    if sys.argv[1:]:
        death.end_with_ray()
    server.close()
    time.sleep(60)
"""
"""A main thread that no signal reaches, as in a wait of Ray's own."""


@pytest.mark.parametrize(
    ("argument", "code", "line"),
    [
        ((), 2, "mlt-ray: Ray has died: expected Ray's head"),
        (("asked to stop",), 130, "mlt-ray: interrupted, and Ray with it"),
    ],
)
def test_a_process_that_cannot_be_reached_is_ended(
    argument: tuple[str, ...], code: int, line: str
) -> None:
    command = [sys.executable, "-c", OUT_OF_REACH, *argument]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    [told] = done.stderr.strip().splitlines()
    assert (done.returncode, told.startswith(line)) == (code, True), done.stderr
