"""Checkpoint files of unfinished runs."""

import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlt_ray.storage.files import replacing
from mlt_ray.storage.report import Epoch
from mlt_ray.training.learner import Learner

INTERVAL_S = 20.0
"""Least time between two checkpoints. Longer loses more in a crash, shorter writes more."""

EPOCH = Epoch(
    epoch=0, train_loss=0.0, dev_loss=0.0, dev_wa=0.0, dev_ua=0.0, dev_macro_f1=0.0, ended_ms=0
)
"""An epoch with values of the right types."""


class Unusable(Exception):
    """A checkpoint that its run cannot go on from; the text says what it is instead."""


class Checkpoint:
    """The checkpoint file of one run.

    `written` is called with its path after every write, and `told` with a line for people if the
    file cannot be used. Nothing is written where `is_mine` is False: another process has the run.
    """

    def __init__(
        self,
        path: Path,
        interval_s: float = INTERVAL_S,
        written: Callable[[Path], None] = lambda path: None,
        told: Callable[[str], None] = print,
        is_mine: Callable[[], bool] = lambda: True,
    ) -> None:
        self.path = path
        self.interval_s = interval_s
        self.written = written
        self.told = told
        self.is_mine = is_mine
        self._written = time.monotonic()

    def save(self, learner: Learner, at_once: bool = False) -> None:
        """Write the learner's state if the last write is `interval_s` ago, or `at_once`."""
        if not at_once and time.monotonic() - self._written < self.interval_s:
            return
        if not self.is_mine():
            return
        saved = {"run": learner.run.digest, "torch": torch_version(), "state": learner.state()}
        # To an open file: torch's error for a path would not say that the disk is full.
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            torch.save(saved, file)
        self.written(self.path)
        self._written = time.monotonic()

    def resume(self, learner: Learner) -> None:
        """Load the file into the learner if there is one that it can go on from.

        A file that cannot be used changes nothing: the run starts anew, and the next `save`
        replaces the file. The processes of a group all load their file, or none does.
        """
        state, fault = None, ""
        if self.path.exists():
            try:
                state = read_state(self.path, learner)
            except Unusable as error:
                fault = str(error)
        group = learner.group
        if group.sum(torch.tensor(float(bool(fault)), device=learner.device)):
            if group.leads:
                fault = fault or "one that another process of the run cannot read"
                self.told(
                    f"{self.path}: expected a checkpoint of this run, got {fault}; "
                    "the run starts anew"
                )
        elif state is not None:
            learner.load_state(state)


def read_state(path: Path, learner: Learner) -> dict[str, Any]:
    """The state in a checkpoint of the learner's run, on the CPU, for its `load_state`.

    Raises `Unusable` if the file is damaged, or is not what this run with this torch has written,
    and `OSError` if it cannot be opened.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as parts:
                # torch writes checksums, but does not look at them when it loads.
                if parts.testzip() is not None:
                    raise Unusable("a damaged file")
            file.seek(0)
            saved = torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file may raise anything
            raise Unusable("a damaged file") from error
    match saved:
        case {"run": str(run), "torch": str(version), "state": dict(state)}:
            pass
        case _:
            raise Unusable("a file of another layout")
    if run != learner.run.digest:
        raise Unusable(f"that of run {run}")
    if version != torch_version():
        raise Unusable(
            f"one written by torch {version}, while torch {torch_version()} is installed"
        )
    if layout(state) != expected_layout(learner, state):
        raise Unusable("a state of another layout")
    return state


def torch_version() -> str:
    """Torch's version without the build, which is another on a CPU than on a GPU."""
    return str(torch.__version__).partition("+")[0]


def layout(state: Any) -> Any:
    """Names, shapes and types of what is in a state, without its numbers."""
    if isinstance(state, Tensor):
        return tuple(state.shape), state.dtype
    if isinstance(state, Mapping):
        return {name: layout(value) for name, value in state.items()}
    if isinstance(state, list):
        return [layout(value) for value in state]
    return type(state)


def expected_layout(learner: Learner, state: Mapping[str, Any]) -> Any:
    """The layout of a state from which the learner can go on after the epochs of `state`."""
    own, curve = learner.state(), state.get("curve")
    num_epochs = len(curve) if isinstance(curve, list) else 0
    return layout({**own, "best_weights": own["model"], "curve": [asdict(EPOCH)] * num_epochs})
