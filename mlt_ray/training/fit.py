"""Trains or fits any runs, whatever their system."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlt_ray.errors import RunFailed, RunStopped
from mlt_ray.features.batching import FoldData
from mlt_ray.spec import Run
from mlt_ray.training import classical, loop
from mlt_ray.training.finish import FinishedRun

FITTERS: Mapping[str, Callable[..., Sequence[FinishedRun | RunFailed]]] = {
    "classical": classical.train
}
"""The function that fits each system that is no network. Networks are trained by the loop."""


def fit_runs(
    runs: Sequence[Run], data: Sequence[FoldData], **options: Any
) -> Sequence[FinishedRun | RunFailed | RunStopped]:
    """Fit runs of one system; `data[i]` is the fold of `runs[i]`. The results keep their order.

    `options` are those of `mlt_ray.training.loop.train`.
    """
    systems = {run.spec.model.system for run in runs}
    if len(systems) != 1:
        raise ValueError(f"the runs of a pack share one system, got {sorted(systems)}")
    return FITTERS.get(systems.pop(), loop.train)(runs, data, **options)
