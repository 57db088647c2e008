"""Ray has the CPUs that its user may use, and reports a worker's death in a line."""

import logging
import subprocess
import sys

import pytest
from ray.exceptions import RayActorError, RayTaskError

from mlt_ray.scheduling.connection import is_no_death
from tests.affinity import ON_ONE_CPU, needs_affinity


def record_of(error: Exception) -> logging.LogRecord:
    told = (type(error), error, None)
    return logging.LogRecord("tune", logging.ERROR, "", 0, "Trial task failed", (), told)


def test_a_death_is_no_traceback_and_a_bug_is_one() -> None:
    assert not is_no_death(record_of(RayActorError()))
    assert is_no_death(record_of(RayTaskError("train", "Traceback ...", ValueError("odd"))))
    assert is_no_death(logging.LogRecord("tune", logging.ERROR, "", 0, "words", (), None))


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
