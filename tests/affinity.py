"""Tests that pin a process to one CPU."""

import os
import shutil

import pytest

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or shutil.which("taskset") is None,
    reason="this system has no affinity, or no taskset",
)

_FIRST = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0

ON_ONE_CPU = ("taskset", "-c", str(_FIRST))
"""What stands before a command that may use one CPU alone."""
