"""Workers that die are reported in a line; bugs keep their traceback."""

import logging

from ray.exceptions import RayActorError, RayTaskError

from mlt_ray.scheduling.connection import is_no_death


def record_of(error: Exception) -> logging.LogRecord:
    told = (type(error), error, None)
    return logging.LogRecord("tune", logging.ERROR, "", 0, "Trial task failed", (), told)


def test_a_death_is_no_traceback_and_a_bug_is_one() -> None:
    assert not is_no_death(record_of(RayActorError()))
    assert is_no_death(record_of(RayTaskError("train", "Traceback ...", ValueError("odd"))))
    assert is_no_death(logging.LogRecord("tune", logging.ERROR, "", 0, "words", (), None))
