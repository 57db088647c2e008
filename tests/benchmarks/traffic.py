"""What a training step costs, counted: launches, and bytes of tensors read and written.

    python -m tests.benchmarks.traffic --json FILE

One step of the highway row at the paper's sizes, of a run and of packs, on made-up utterances as
long as IEMOCAP's. Nothing is timed, so that the figures are the same on every machine. Every
operation that torch dispatches counts: what it is given is read, what it returns or changes is
written, each tensor once, one that is broadcast as large as it is stored, and of a table only what
is looked up. Views and memory that is only set aside cost nothing. Operations on lists take `LIST`
tensors a launch. `mb_alone` is the same batches, one run after another.

Beside it stands what that means on a machine of which three numbers are given: bytes a second,
operations a second, and seconds a launch; the defaults are about those of an NVIDIA H100.
"""

import argparse
import collections
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mlt_ray.spec import Run
from mlt_ray.training.learner import Learner
from mlt_ray.training.loop import deterministic
from mlt_ray.training.packs.trainer import PackTrainer, steps_of_epoch
from tests.benchmarks.figures import Column, ended, print_table, write_figures
from tests.gpu.inputs import Inputs, load, prepare

ROW = "highway network"
PACKS = (1, 3, 15, 45)
FRAMES = 312
LIST = 30
"""About the number of tensors that one launch of a kernel for lists of tensors handles."""

TOP = 12
RUN_STEPS = 240 * 40 * 830
"""Steps of all runs of the paper's tables: 240 runs, some 40 epochs, 830 batches of 4."""

CPU = torch.device("cpu")
FREE = ("_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty", "detach", "lift_fresh")
"""Operations that return a new tensor but read and write nothing."""
OVERWRITES = ("copy_", "fill_", "zero_")
"""Operations that do not read what they change."""
LOOKUPS = ("index", "index_select", "gather", "embedding")
"""Operations that read only as many bytes of their first argument as they return."""

STEPS = (
    Column(key="runs", heading="runs"),
    Column(key="frames", heading="frames"),
    Column(key="launches", heading="launches"),
    Column(key="mb", heading="MB", form="{:,.0f}"),
    Column(key="mb_alone", heading="MB alone", form="{:,.0f}"),
    Column(key="ratio", heading="ratio", form="{:.3f}"),
    Column(key="gflop", heading="GFLOP", form="{:.1f}"),
)
MEANING = (
    Column(key="runs", heading="runs side by side"),
    Column(key="traffic_us", heading="µs a run-step: traffic", form="{:.0f}"),
    Column(key="arithmetic_us", heading="arithmetic", form="{:.0f}"),
    Column(key="launches_us", heading="launches", form="{:.0f}"),
    Column(key="hours", heading="240 runs, h, by the largest", form="{:.2f}"),
)
OPERATIONS = (
    Column(key="operation", heading="operation"),
    Column(key="launches", heading="launches"),
    Column(key="mb", heading="MB", form="{:,.1f}"),
)


class Traffic(TorchDispatchMode):
    """Counts launches and bytes of all operations inside the block, by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: collections.Counter[str] = collections.Counter()
        self.bytes: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name, returns = func._schema.name.removeprefix("aten::"), func._schema.returns
        if name in FREE or any(r.alias_info and not r.alias_info.is_write for r in returns):
            return result
        lists = [len(value) for value in args if isinstance(value, list | tuple)]
        is_on_lists = name.startswith(("_foreach", "_fused"))
        self.launches[name] += math.ceil(max(lists) / LIST) if is_on_lists else 1
        self.bytes[name] += sum(self._moved(func, name, args, kwargs, result))
        return result

    def _moved(self, func: Any, name: str, args: Any, kwargs: Any, result: Any) -> Iterator[int]:
        given = [*args, *kwargs.values()]
        declared = func._schema.arguments
        named = {argument.name: argument for argument in declared}
        arguments = [*declared[: len(args)], *(named[key] for key in kwargs)]
        for number, (argument, value) in enumerate(zip(arguments, given, strict=True)):
            if name in LOOKUPS and number == 0:
                yield stored(result)
                continue
            changed = argument.alias_info is not None and argument.alias_info.is_write
            times = 1 + (changed and not argument.is_out and name not in OVERWRITES)
            yield times * sum(map(stored, tensors(value)))
        results = result if len(func._schema.returns) > 1 else [result]
        for declared_one, value in zip(func._schema.returns, results, strict=False):
            if declared_one.alias_info is None:
                yield sum(map(stored, tensors(value)))

    @property
    def mb(self) -> float:
        """All bytes, in megabytes."""
        return sum(self.bytes.values()) / 1e6

    def by_operation(self) -> list[dict[str, Any]]:
        """The operations that move the most first."""
        return [
            {"operation": name, "launches": self.launches[name], "mb": size / 1e6}
            for name, size in self.bytes.most_common()
        ]


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in a value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors(one)


def stored(tensor: Tensor) -> int:
    """Bytes of a tensor; a broadcast one is as large as it is stored."""
    sizes = (n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or n == 0)
    return math.prod(sizes) * tensor.element_size()


def count(inputs: Inputs, runs: Sequence[Run], frames: int) -> dict[str, Any]:
    """Figures of one step of a pack, or of one run without a pack.

    It is the step of the first epoch in which the first run's longest utterance is closest to
    `frames` frames. One step is taken before, since some tensors are made only once.
    """
    data = [inputs.fold(run) for run in runs]
    learners = [Learner(run, fold, CPU) for run, fold in zip(runs, data, strict=True)]
    steps = [s for s in steps_of_epoch(learners) if all(i is not None for i in s)]
    longest = [int(data[0].num_steps[step[0]].max()) for step in steps[1:]]
    at = 1 + int(np.argmin([abs(n - frames) for n in longest]))
    first, step = steps[0], steps[at]
    found: dict[str, Any] = {
        "runs": len(runs),
        "frames": max(int(d.num_steps[i].max()) for d, i in zip(data, step, strict=True)),
    }
    alone = []
    for learner, before, indices in zip(learners, first, step, strict=True):
        learner.step(before)
        with FlopCounterMode(display=False) as flop, Traffic() as traffic:
            learner.step(indices)
        alone.append(traffic.mb)
    if len(runs) > 1:
        learners = [Learner(run, fold, CPU) for run, fold in zip(runs, data, strict=True)]
        flop, traffic = count_pack(PackTrainer(learners), [first, step])
    return found | {
        "launches": sum(traffic.launches.values()),
        "mb": traffic.mb,
        "mb_alone": sum(alone),
        "ratio": traffic.mb / sum(alone),
        "gflop": flop.get_total_flops() / 1e9,
        "operations": traffic.by_operation(),
    }


def count_pack(
    pack: PackTrainer, steps: Sequence[Sequence[np.ndarray | None]]
) -> tuple[FlopCounterMode, Traffic]:
    """Take two steps of a pack; returns the counts of the second."""
    counts = np.asarray([[0 if i is None else len(i) for i in step] for step in steps])
    num_utterances = torch.as_tensor(counts, dtype=torch.float32)
    pack._system.train()
    taken = pack._each_step(
        pack._train_step,
        steps,
        {"codes": pack._codes(counts > 0), "num_utterances": num_utterances},
    )
    next(taken)
    with FlopCounterMode(display=False) as flop, Traffic() as traffic:
        next(taken)
    return flop, traffic


def meaning(found: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Estimated µs per run and step on the described machine, and hours of `RUN_STEPS` steps."""
    seconds = {
        "traffic": found["mb"] / 1e3 / options.gb_per_s,
        "arithmetic": found["gflop"] / 1e3 / options.tflop_per_s,
        "launches": found["launches"] * options.launch_us / 1e6,
    }
    shares = {f"{k}_us": 1e6 * v / found["runs"] for k, v in seconds.items()}
    hours = max(seconds.values()) / found["runs"] * RUN_STEPS / 3600
    return {"runs": found["runs"], **shares, "hours": hours}


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--packs", default=",".join(map(str, PACKS)), help="runs side by side")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of the step's longest")
    parser.add_argument("--gb-per-s", type=float, default=3000.0, help="memory's bandwidth")
    parser.add_argument("--tflop-per-s", type=float, default=50.0, help="of float32 products")
    parser.add_argument("--launch-us", type=float, default=5.0, help="time of a launch")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args(given)
    try:
        options.packs = [int(n) for n in options.packs.split(",")]
    except ValueError:
        parser.error(f"--packs: expected numbers such as 1,15, got {options.packs}")
    if min(options.packs) < 1:
        parser.error(f"--packs: expected numbers from 1 on, got {min(options.packs)}")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Count, and print what it means."""
    options, console = arguments(given), Console()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, deterministic():
        prepare(Path(folder))
        inputs = load(Path(folder), seeds=math.ceil(max(options.packs) / 5))
        runs = inputs.rows[ROW]
        figures = [count(inputs, runs[:number], options.frames) for number in options.packs]
    print_table(f"One step of {ROW}, paper's sizes", STEPS, figures, console)
    means = [meaning(found, options) for found in figures]
    machine = (
        f"At {options.gb_per_s:g} GB/s, {options.tflop_per_s:g} TFLOP/s, {options.launch_us:g} µs "
        "a launch"
    )
    print_table(machine, MEANING, means, console)
    largest = figures[-1]
    title = f"What moves the most, {largest['runs']} side by side"
    print_table(title, OPERATIONS, largest["operations"][:TOP], console)
    write_figures(options.json, "traffic", {"steps": figures, "meaning": means})
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
