"""Workers that die: told in a line; bugs keep their traceback."""

import logging
from pathlib import Path

import pytest
from ray.exceptions import RayActorError, RayTaskError

from mlt_ray.planning.source import Queue
from mlt_ray.scheduling.connection import is_no_death
from mlt_ray.scheduling.tune import TuneCallbacks, TuneSearcher
from mlt_ray.storage.store import Store


def record_of(error: Exception) -> logging.LogRecord:
    told = (type(error), error, None)
    return logging.LogRecord("tune", logging.ERROR, "", 0, "Trial task failed", (), told)


def test_a_death_is_no_traceback_and_a_bug_is_one() -> None:
    assert not is_no_death(record_of(RayActorError()))
    assert is_no_death(record_of(RayTaskError("train", "Traceback ...", ValueError("odd"))))
    assert is_no_death(logging.LogRecord("tune", logging.ERROR, "", 0, "words", (), None))


def test_a_worker_that_is_replaced_is_told_by_its_runs_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    feed = TuneSearcher(Queue([]), Store(tmp_path), lambda pack: pack, lambda spec: 1, until=None)
    TuneCallbacks(feed, None, []).on_trial_recover(0, [], "table1: audio only, fold 1, seed 2")  # type: ignore[arg-type]
    told = "table1: audio only, fold 1, seed 2: its worker failed; another goes on from the last"
    assert capsys.readouterr().out == f"{told} checkpoint\n"
