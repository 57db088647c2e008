"""Where and how fast runs are computed; never part of what identifies a run."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

from mlt_ray.errors import UserError
from mlt_ray.machine import installed_cpus, usable_cpus
from mlt_ray.parsing import Range, check_numbers
from mlt_ray.spec import RunSpec

MOST_RUNS = 100_000
"""Runs at once, on any cluster."""

Gpus = Annotated[
    float,
    Range(
        0,
        10_000,
        holds=lambda value: value <= 1 or float(value).is_integer(),
        text="from 0 to 1, or whole up to 10000",
    ),
]
"""Ray shares one GPU among several runs, but gives a run no more than whole ones."""

Cpus = Annotated[float, Range(0, 10_000, without_lowest=True)]

LOCAL = "local"
"""Ray's name for a Ray that this process starts for itself."""

AUTO = "auto"
"""Ray's name for the cluster of which this machine is a node."""

GPU_PACK = 15
"""Runs in a pack on a GPU: five folds of three seeds. Recorded steps of the highway row at the
paper's sizes then take 5.7 GiB, beside the utterances. On a CPU packs gain nothing."""

OWN_SHARE: dict[str, float] = {"memory": 1}
"""One byte is what a trial takes that only waits for workers; Tune refuses nothing at all."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What Ray reserves for one run, and how many runs there are at once.

    A run of one thread: the models are small, and two runs side by side on two cores are faster
    than one run on both. A pack of runs is one run here: `gpus_per_run` is what the pack gets.

    cpus_per_run, gpus_per_run: for a run on one worker; None for one GPU a run where the cluster
        has any, else none. Half a GPU lets two runs share one.
    concurrency: most runs at once; None for as many as fit.
    workers: processes that share each run's batches (distributed data parallel).
    cpus_per_worker, gpus_per_worker: for each of them, where `workers` is above 1; None as above.
    pack: runs that are trained as one vectorised pack; None lets the plan decide, 1 packs nothing.
    cuda_graphs: whether a GPU records the steps of a pack, or of a run alone, and replays them;
        None for yes where there is a GPU.
    gradient_checkpointing: whether an encoder that is fine-tuned computes the inside of its blocks
        once more for the gradient, instead of keeping it: slower, less memory, the same numbers.
    checkpoint_interval_s: least seconds between two checkpoints of a run, which is what the death
        of a machine can cost it; 0 for one after every epoch, None for the default of
        `mlt_ray.training.checkpoint`.
    memory_check: whether runs are refused whose estimated memory no machine has.
    """

    cpus_per_run: Cpus = 1
    gpus_per_run: Gpus | None = None
    concurrency: Annotated[int, Range(1, MOST_RUNS)] | None = None
    workers: Annotated[int, Range(1, 10_000)] = 1
    gpus_per_worker: Gpus | None = None
    cpus_per_worker: Cpus = 1
    pack: Annotated[int, Range(1, 10_000)] | None = None
    cuda_graphs: bool | None = None
    gradient_checkpointing: bool = False
    checkpoint_interval_s: Annotated[float, Range(0, 1_000_000)] | None = None
    memory_check: bool = True

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.workers > 1 and (self.pack or 1) > 1:
            raise ValueError(
                "pack: expected 1 where workers is above 1 (a run is either spread or packed), "
                f"got {self.pack}"
            )

    @property
    def max_pack_size(self) -> int:
        """Most runs in a pack: as asked for, else `GPU_PACK` on a GPU and 1 on a CPU."""
        if self.workers > 1:
            return 1
        return self.pack or (GPU_PACK if self.gpus_per_run else 1)

    def with_gpus(self, num_gpus: float) -> "Resources":
        """These resources with open numbers of GPUs filled in: 1 if there are any, else 0."""
        default = 1.0 if num_gpus >= 1 else 0.0
        return replace(
            self,
            gpus_per_run=default if self.gpus_per_run is None else self.gpus_per_run,
            gpus_per_worker=default if self.gpus_per_worker is None else self.gpus_per_worker,
        )

    def pack_size(self, spec: RunSpec) -> int:
        """How many runs of a specification are trained side by side."""
        return self.max_pack_size if spec.can_be_packed else 1


def ray_address(asked: str | None) -> str:
    """The address of the cluster: as asked for, else `RAY_ADDRESS`, else `LOCAL`.

    Where `AUTO` is asked for, `RAY_ADDRESS` goes first, as it does in Ray.
    """
    named = os.environ.get("RAY_ADDRESS")
    if asked == AUTO:
        return named or AUTO
    return asked or named or LOCAL


def address_source(asked: str | None) -> str:
    """What has named the address: the option or the profile that `asked`, or `RAY_ADDRESS`."""
    if asked and ray_address(asked) == asked:
        return f"--address {asked} (or a profile's)"
    return f"RAY_ADDRESS={ray_address(None)}"


def cpus_here() -> float:
    """Number of CPUs that Ray gives out on this machine: those that this process may use.

    Ray's own variables have precedence, as they have in Ray. `UserError` if one cannot be read.
    """
    overriding = os.environ.get("RAY_OVERRIDE_RESOURCES") or "{}"
    try:
        cpus = json.loads(overriding).get("CPU")
    except (AttributeError, ValueError) as error:
        raise UserError(
            f"RAY_OVERRIDE_RESOURCES: expected a mapping in JSON, got {overriding}; unset it"
        ) from error
    if cpus is not None:
        return float(cpus)
    everything = os.environ.get("RAY_USE_MULTIPROCESSING_CPU_COUNT")
    return installed_cpus() if everything else usable_cpus()


def gpus_here() -> int:
    """Number of GPUs of this machine."""
    # Not at the top: torch takes a second to import.
    import torch

    return torch.cuda.device_count()


class Node(NamedTuple):
    """CPUs and GPUs of a machine, and the bytes of its memory."""

    cpus: float
    gpus: float
    memory: float = math.inf

    @classmethod
    def of(cls, found: Mapping[str, float]) -> "Node":
        """The node that Ray's names of resources describe."""
        return cls(found.get("CPU", 0), found.get("GPU", 0), found.get("memory", math.inf))

    def fit(self, asked: Mapping[str, float]) -> int:
        """How many times the node has what is asked for."""
        has = {"CPU": self.cpus, "GPU": self.gpus}
        shares = [has[k] / v for k, v in asked.items() if v and k in has]
        return int(min(shares) + 1e-6)


def share_of_trial(resources: Resources) -> dict[str, float]:
    """What Ray reserves for one trial."""
    if resources.workers > 1:
        return OWN_SHARE
    return {"CPU": resources.cpus_per_run, "GPU": resources.gpus_per_run or 0}


def share_of_worker(resources: Resources) -> dict[str, float]:
    """What Ray reserves for each of the workers that share a run."""
    return {"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker or 0}


def check_fits(resources: Resources, nodes: Sequence[Node]) -> int:
    """How many runs fit at once; `UserError` if none does, since Tune would wait in silence."""
    spread = resources.workers > 1
    asked = share_of_worker(resources) if spread else share_of_trial(resources)
    fit = sum(node.fit(asked) for node in nodes)
    if fit < resources.workers:
        wanted = ", ".join(f"{v:g} {k}" for k, v in asked.items() if v)
        found = ", ".join(f"{node.cpus:g} CPU and {node.gpus:g} GPU" for node in nodes)
        times, remedy = ("", "lower --cpus-per-run or --gpus-per-run, or name another --profile")
        if spread:
            times = f"{resources.workers} times "
            remedy = "lower --workers, or the profile's cpus_per_worker and gpus_per_worker"
        raise UserError(f"resources: expected {times}{wanted} for a run, found {found}; {remedy}")
    if resources.cuda_graphs and not any(node.gpus for node in nodes):
        raise UserError("resources: expected a GPU for --cuda-graphs, found none; leave it out")
    slots = fit // resources.workers
    return slots if resources.concurrency is None else min(slots, resources.concurrency)
