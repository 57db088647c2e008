"""Checkpoint files of unfinished runs."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from mlt_ray.storage.files import replacing
from mlt_ray.training.learner import Learner

INTERVAL_S = 20.0
"""Least time between two checkpoints. Longer loses more in a crash, shorter writes more."""


class Checkpoint:
    """The checkpoint file of one run; `written` is called with its path after every write."""

    def __init__(
        self,
        path: Path,
        interval_s: float = INTERVAL_S,
        written: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self.path = path
        self.interval_s = interval_s
        self.written = written
        self._written = time.monotonic()

    def save(self, learner: Learner, at_once: bool = False) -> None:
        """Write the learner's state if the last write is `interval_s` ago, or `at_once`."""
        if not at_once and time.monotonic() - self._written < self.interval_s:
            return
        # To an open file: torch's error for a path would not say that the disk is full.
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            torch.save(learner.state(), file)
        self.written(self.path)
        self._written = time.monotonic()

    def resume(self, learner: Learner) -> None:
        """Load the file into the learner if there is one."""
        if self.path.exists():
            learner.load_state(
                torch.load(self.path, map_location=learner.device, weights_only=True)
            )
