"""Where and how fast runs are computed; never part of what identifies a run."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What Ray sets aside for one run.

    A run of one thread: the models are small, and two runs side by side on two cores are faster
    than one run on both. `gpus_per_run` is None for one GPU a run where the cluster has any.
    """

    cpus_per_run: float = 1
    gpus_per_run: float | None = None
