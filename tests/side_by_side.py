"""How the tests go side by side: the number of processes, which share a process, which come first.

A plugin of pytest-xdist, which pyproject.toml switches on; `pytest -n 0` does without it, for a
debugger, and `--dist` chooses another way.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from mlt_ray.machine import usable_cpus

SPARE = 1
"""Processes beyond one a CPU: tests that start commands wait part of their time."""

MOST, MEMORY = 8, 4 * 2**30
"""Most processes, and bytes of memory for each: some start a Ray of several workers."""

FIRST = (
    "tests/end_to_end/test_crashes.py",
    "tests/end_to_end/test_job.py",
    "tests/end_to_end/test_endurance.py",
    "tests/end_to_end/test_s3.py",
    "tests/end_to_end/test_search.py",
    "tests/end_to_end/test_secrets.py",
    "tests/end_to_end/",
    "tests/docs/test_round.py",
    "tests/gpu/test_kit.py",
    "tests/bad_input/",
    "tests/fuzz/",
    "tests/training/",
    "tests/scheduling/",
    "tests/inference/",
    "tests/tracking/",
)
"""What takes longest, from the longest on: the last tests to begin shall be short ones."""

ALONE = (
    "tests/end_to_end/test_crashes.py",
    "tests/end_to_end/test_s3.py",
    "tests/end_to_end/test_drivers.py",
    "tests/end_to_end/test_notebook.py",
)
"""Files each of whose tests goes to any process; the tests of another file share one."""


def share(test: str) -> str:
    """The name of what a test, by its node id, shares a process with."""
    file = test.partition("::")[0]
    return test if file in ALONE else file


def rank(name: str) -> int:
    """Where in `FIRST` a file or test stands: the longest beginning counts."""
    found = [n for n, start in enumerate(FIRST) if name.startswith(start)]
    return max(found, key=lambda n: len(FIRST[n])) if found else len(FIRST)


def memory() -> int:
    """Bytes of this machine's memory."""
    return int(psutil.virtual_memory().total)


def number_of_processes(arguments: Sequence[str]) -> int:
    """Processes for what was asked for; 0, which is this one alone, where that is one file."""
    files = {argument.partition("::")[0] for argument in arguments}
    if len(files) == 1 and Path(*files).is_file() and not files & set(ALONE):
        return 0
    return max(1, min(usable_cpus() + SPARE, memory() // MEMORY, MOST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return number_of_processes(config.args)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    if config.getvalue("dist") != "load":
        return None
    config.option.loadscopereorder = False  # it would take the most tests for the longest
    from xdist.scheduler import LoadScopeScheduling

    class LongestFirst(LoadScopeScheduling):  # type: ignore[misc]
        """Gives out what shares a process at once, what takes longest first."""

        def _split_scope(self, nodeid: str) -> str:
            return share(nodeid)

    return LongestFirst(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort what takes longest to the front where tests go side by side."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: rank(item.nodeid))
