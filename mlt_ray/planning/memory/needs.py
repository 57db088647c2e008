"""The memory that runs take, and the refusal of what no machine at hand can hold."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from mlt_ray.errors import UserError
from mlt_ray.planning.resources import Node, Resources, share_of_trial, share_of_worker
from mlt_ray.spec import RunSpec

MIB: Final = 2**20

PROCESS_BYTES: Final = 370 * MIB
"""What a worker takes for itself alone: measured 314 MiB before it reads a run, with torch 2.11 on
a CPU, and about 50 more that do not depend on the run. Another 240 MiB of libraries are the same
pages in all processes."""

PACK_BYTES: Final = 200 * MIB
"""What torch takes once more in a process that trains a pack."""

GPU_PROCESS_BYTES: Final = 2_500 * MIB
"""The same with CUDA's libraries and context (*assumed*)."""

COMMAND_BYTES: Final = 1_024 * MIB
"""The command itself and Ray's own processes (*assumed*)."""

UNLESS: Final = ", or memory_check: false in a profile's resources if it takes less"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Estimated bytes of a process: what it takes by itself, and more for each run.

    A run `alone` and one in a pack differ. On a GPU most of a run is in the GPU's memory;
    `run_beside_gpu` is what it then takes of the machine's.
    """

    inputs: int
    alone: int
    in_a_pack: int
    run_beside_gpu: int

    def process(self, num_runs: int, on_gpu: bool) -> int:
        """Bytes of a process with so many runs, with its inputs for each."""
        if on_gpu:
            return GPU_PROCESS_BYTES + num_runs * (self.inputs + self.run_beside_gpu)
        if num_runs == 1:
            return PROCESS_BYTES + self.inputs + self.alone
        return PROCESS_BYTES + PACK_BYTES + num_runs * (self.inputs + self.in_a_pack)


class Need(NamedTuple):
    """A row, what it takes (None: not known), and how many of its runs are to be computed."""

    row: str
    spec: RunSpec
    memory: Memory | None
    num_runs: int


def check_memory(
    needs: Iterable[Need], resources: Resources, nodes: Sequence[Node], machine: str
) -> None:
    """`UserError` if no node has the memory for a run of one row, or for the runs at once there.

    `machine` says what the nodes are: ``this machine has``. A process of a pack counts as one run.
    """
    on_gpu = bool(resources.gpus_per_run or resources.gpus_per_worker)
    most = max((node.memory for node in nodes), default=math.inf)
    processes: list[int] = []
    for need in needs:
        size = min(resources.pack_size(need.spec), need.num_runs)
        if need.memory is None or not size:
            continue
        taken = need.memory.process(size, on_gpu)
        if taken > most:
            what = f"a pack of {size} runs" if size > 1 else "one run"
            fits_alone = size > 1 and need.memory.process(1, on_gpu) <= most
            raise UserError(
                f"row {need.row}: needs about {text(taken)} of memory for {what}, {machine} "
                f"{text(most)}; {_remedy(need, fits_alone)}{UNLESS}"
            )
        processes += [taken] * math.ceil(need.num_runs / size) * resources.workers
    processes.sort(reverse=True)
    share = share_of_worker(resources) if resources.workers > 1 else share_of_trial(resources)
    for node in nodes:
        limit = (resources.concurrency or math.inf) * resources.workers
        slots = int(min(node.fit(share), limit, len(processes)))
        left, fitting = node.memory - COMMAND_BYTES, 0
        for taken in processes[:slots]:
            left -= taken
            fitting += left >= 0
        if slots > 1 and fitting < slots:
            raise UserError(
                f"resources: {slots} runs at once need about "
                f"{text(COMMAND_BYTES + sum(processes[:slots]))} of memory, {machine} "
                f"{text(node.memory)}; set {_fewer(resources, nodes, node, fitting)}{UNLESS}"
            )


def _fewer(resources: Resources, nodes: Sequence[Node], node: Node, fitting: int) -> str:
    """The option by which no more processes than are `fitting` go to a node at once."""
    if len(nodes) == 1:
        return f"--concurrency {max(1, fitting // resources.workers)}"
    of = "worker" if resources.workers > 1 else "run"
    return f"--cpus-per-{of} {math.ceil(node.cpus / max(1, fitting))}"


def _remedy(need: Need, fits_alone: bool) -> str:
    if fits_alone:
        return "lower --pack"
    name, value = _largest(need.spec)
    return f"lower {name} ({value})" if name else "use a machine with more memory"


def _largest(spec: RunSpec) -> tuple[str, float]:
    """The number of the model or of training that is furthest above its default, and its key."""
    candidates = [("", 1.0, 0.0), *_above_default("model", spec.model)]
    candidates += _above_default("training", spec.training, ("batch_size", "batch_seconds"))
    candidates += _above_default("features.frames", spec.features.frames, ("num_bins",))
    name, _, value = max(candidates, key=lambda one: one[1])
    return name, value


def _above_default(
    prefix: str, values: Any, names: Sequence[str] | None = None
) -> Iterable[tuple[str, float, float]]:
    """The key of each whole number that may be lowered, how many times its default, its value."""
    for field in dataclasses.fields(values):
        value, default = getattr(values, field.name), field.default
        if dataclasses.is_dataclass(value):
            yield from _above_default(f"{prefix}.{field.name}", value)
        elif (names is None or field.name in names) and type(value) in (int, float):
            base = default if type(default) in (int, float) and default else 1
            yield f"{prefix}.{field.name}", value / base, value


def text(num_bytes: float) -> str:
    """Bytes in words, such as ``1.5 GiB``."""
    for unit in ("MiB", "GiB", "TiB", "PiB"):
        num_bytes /= 1024 if unit != "MiB" else MIB
        if num_bytes < 1024 or unit == "PiB":
            break
    return f"{num_bytes:,.1f} {unit}" if num_bytes < 10 else f"{num_bytes:,.0f} {unit}"
