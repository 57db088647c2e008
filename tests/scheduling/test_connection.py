"""Ray has the CPUs that its user may use, and reports a worker's death in a line."""

import contextlib
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from ray.exceptions import RayActorError, RayTaskError

from mlt_ray.errors import UserError
from mlt_ray.planning.resources import Resources
from mlt_ray.scheduling import connection
from mlt_ray.scheduling.connection import is_no_death
from tests.affinity import ON_ONE_CPU, needs_affinity


def record_of(error: Exception) -> logging.LogRecord:
    told = (type(error), error, None)
    return logging.LogRecord("tune", logging.ERROR, "", 0, "Trial task failed", (), told)


def test_a_death_is_no_traceback_and_a_bug_is_one() -> None:
    assert not is_no_death(record_of(RayActorError()))
    assert is_no_death(record_of(RayTaskError("train", "Traceback ...", ValueError("odd"))))
    assert is_no_death(logging.LogRecord("tune", logging.ERROR, "", 0, "words", (), None))


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("local", "expected Ray to start here, got: The current node timed out.*; free memory"),
        ("ray:6379", "--address ray:6379.*: expected the address.*, got: The current .*; start"),
    ],
)
def test_a_ray_that_does_not_start_is_told_in_one_line(
    address: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nMore of Ray's words.")

    monkeypatch.setattr(connection, "check_address", lambda address: None)
    monkeypatch.setattr(connection.ray, "init", init)
    with pytest.raises(UserError, match=told), connection.connection(address, Resources()):
        raise AssertionError("it has started")


class Started:
    """What `ray.init` returns."""

    address_info: ClassVar = {"session_dir": "/nowhere"}


@pytest.fixture
def raylets(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a process that is called as Ray's own is, which lives on until it is killed."""
    program = shutil.copy("/bin/sleep", tmp_path / "raylet")
    with contextlib.ExitStack() as ended:

        def start() -> subprocess.Popen[bytes]:
            process = ended.enter_context(subprocess.Popen([program, "60"]))
            ended.callback(process.kill)
            return process

        yield start


def test_a_ray_that_was_too_slow_once_is_ended_and_started_again(
    raylets: Callable[[], subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[subprocess.Popen[bytes]] = []

    def init(**_: object) -> Started:
        tries.append(raylets())
        if len(tries) < 2:
            raise Exception("The current node timed out during startup.")
        return Started()

    monkeypatch.setattr(connection.ray, "init", init)
    connection._start("local", {"num_cpus": 1})
    assert [process.poll() is None for process in tries] == [False, True]


def test_a_start_that_is_interrupted_leaves_no_process(
    raylets: Callable[[], subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, tries = raylets(), []

    def init(**_: object) -> None:
        tries.append(raylets())
        raise KeyboardInterrupt

    monkeypatch.setattr(connection.ray, "init", init)
    with pytest.raises(KeyboardInterrupt):
        connection._start("local", {"num_cpus": 1})
    assert [process.poll() is None for process in (before, *tries)] == [True, False]


def test_a_ray_that_the_process_has_joined_itself_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection.ray, "is_initialized", lambda: True)
    told = r"found it connected; call ray\.shutdown\(\) first"
    with pytest.raises(UserError, match=told), connection.connection(None, Resources()):
        raise AssertionError("it was joined")


@pytest.mark.slow
@needs_affinity
@pytest.mark.parametrize(("override", "cpus"), [("", 1), ('{"CPU": 3}', 3)])
def test_ray_gives_out_the_cpus_that_the_process_may_use_unless_told_otherwise(
    override: str, cpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", override)
    code = "from mlt_ray.scheduling.connection import examine; print(examine())"
    command = [*ON_ONE_CPU, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert f"; {cpus} CPUs, " in done.stdout


COLLECTS_WHILE_RAY_SHUTS_DOWN = """
import gc, threading, time, ray
from mlt_ray.planning.resources import Resources
from mlt_ray.scheduling.connection import connection

class Cycle:
    def __init__(self, reference):
        self.itself, self.reference = self, reference

def collect(cycles):
    while ray.is_initialized():
        time.sleep(0.001)
    while cycles:
        cycles.pop()
        gc.collect()

with connection(None, Resources()):
    cycles = [Cycle(ray.put(number)) for number in range(100)]
    collector = threading.Thread(target=collect, args=(cycles,))
    collector.start()
collector.join()
print("alive")
"""
"""Tune leaves such cycles, and MLflow's thread may collect them at any time."""


@pytest.mark.slow
def test_a_thread_may_collect_garbage_while_ray_shuts_down() -> None:
    """Ray ends the process if a reference to its objects is dropped while it is half shut down."""
    command = [sys.executable, "-c", COLLECTS_WHILE_RAY_SHUTS_DOWN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
