"""Where and how fast runs are computed; never part of what identifies a run."""

from dataclasses import dataclass

from mlt_ray.spec import ABOVE_0, Bound, at_least, require

GPUS = Bound(
    lambda value: 0 <= value <= 1 or (float(value).is_integer() and value > 1),
    "from 0 to 1, or whole",
)
"""Ray shares one GPU among several runs, but gives a run no more than whole ones."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What Ray sets aside for one run, and how many runs there are at once.

    A run of one thread: the models are small, and two runs side by side on two cores are faster
    than one run on both. A pack of runs is one run here: `gpus_per_run` is what the pack gets.

    cpus_per_run, gpus_per_run: for a run on one worker; None for one GPU a run where the cluster
        has any, else none. Half a GPU lets two runs share one.
    concurrency: most runs at once; None for as many as fit.
    workers: processes that share each run's batches (distributed data parallel).
    cpus_per_worker, gpus_per_worker: for each of them, where `workers` is above 1; None as above.
    pack: runs that are trained as one vectorised pack; None lets the plan decide, 1 packs nothing.
    checkpoint_interval_s: least seconds between two checkpoints of a run, which is what the death
        of a machine can cost it; 0 for one after every epoch, None for the default of
        `mlt_ray.training.checkpoint`.
    """

    cpus_per_run: float = 1
    gpus_per_run: float | None = None
    concurrency: int | None = None
    workers: int = 1
    gpus_per_worker: float | None = None
    cpus_per_worker: float = 1
    pack: int | None = None
    checkpoint_interval_s: float | None = None

    def __post_init__(self) -> None:
        require(self, ABOVE_0, "cpus_per_run", "cpus_per_worker")
        require(self, GPUS, "gpus_per_run", "gpus_per_worker")
        require(self, at_least(1), "concurrency", "workers", "pack")
        require(self, at_least(0), "checkpoint_interval_s")
