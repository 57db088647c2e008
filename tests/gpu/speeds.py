"""Steps per second of every way to train the highway row, and of all rows of the paper's tables.

A pack is trained for several epochs on the same batches, and the first ones are not timed: in the
first, libraries are loaded and kernels chosen, and from the third on recorded steps are replayed.
What is timed is thus like a long training. A step of a pack of N runs counts as N steps.

Where the package says nothing else, a GPU replays steps from CUDA graphs (*recorded*), those of a
run alone too. Runs that cannot be packed are trained step by step.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any, Final

import torch

from mlt_ray.features.batching import FoldData
from mlt_ray.spec import Precision, Run
from mlt_ray.training.learner import Learner
from mlt_ray.training.loop import OneByOne, deterministic
from mlt_ray.training.packs.trainer import PackTrainer
from mlt_ray.training.precision import products
from tests.benchmarks.packs import shortened
from tests.benchmarks.plain_loop import train_plainly
from tests.gpu.findings import Findings
from tests.gpu.inputs import PAPER_TABLES, ROW, changed, cut, distinct
from tests.gpu.kernels import profiled, warmed_up
from tests.gpu.setting import CountingRecorder, Setting

PACKS: Final = (15, 3, 30)
REPEATS: Final = 2
PROFILED_STEPS: Final = 4
SEEDS_OF_ROW: Final = 3
FOLDS: Final = 5
STEPS_OF_ROW: Final = 16
DEV_SHARE: Final = 1 / 3
"""Dev utterances per training utterance. ``steps_per_s`` includes the evaluation of dev."""

OTHER_PRECISIONS: Final[tuple[Precision, ...]] = ("tf32", "bfloat16")


def run_recorded(setting: Setting, findings: Findings) -> None:
    """Measure a run alone and packs as users train them on a GPU: with recorded steps."""
    runs = runs_of(setting, ROW)

    def measure(size: int, precision: Precision = "float32") -> None:
        rounding = "" if precision == "float32" else f", {precision}"
        way = f"{named(size)}, recorded{rounding}"
        findings.measure(
            way, lambda: speed(setting, runs[:size], way, is_recorded=True, precision=precision)
        )

    first, *others = sizes(setting)
    measure(1)
    measure(first)
    for precision in OTHER_PRECISIONS:
        if setting.is_gpu or precision != "tf32":
            measure(first, precision)
    for size in (first,) if setting.quick else (first, 1):
        findings.measure(
            f"{named(size)}, recorded: kernels",
            lambda size=size: kernels(setting, runs[:size], is_recorded=True),
        )
    for size in others:
        measure(size)


def run_eager(setting: Setting, findings: Findings) -> None:
    """Measure the plain loop, a run alone and a pack, all of them without recording."""
    runs = runs_of(setting, ROW)
    findings.measure("plain PyTorch loop", lambda: plain_loop(setting, runs[0]))
    for size in (1, sizes(setting)[0]):
        way = f"{named(size)}, not recorded"
        findings.measure(way, lambda w=way, n=size: speed(setting, runs[:n], w))
        findings.measure(f"{way}: kernels", lambda n=size: kernels(setting, runs[:n]))


def named(size: int) -> str:
    """A pack of so many runs, in words."""
    return "one run" if size == 1 else f"pack of {size}"


def run_rows(setting: Setting, findings: Findings) -> None:
    """Measure every distinct row of the paper's tables: a pack of 15 if possible, else one run.

    The kernels of rows that cannot be packed come last.
    """
    rows = {name for table in PAPER_TABLES for name in setting.inputs.tables[table]}
    specs = {name: runs[0].spec for name, runs in setting.inputs.rows.items()}
    names = [name for name in distinct(specs) if name in rows]
    # Rows of one system are alike, so one row of each system comes first.
    names.sort(key=lambda name: (specs[name].model.system == "multilevel", name != ROW))
    if setting.quick:
        names = [names[0]]
    for name in names:
        runs = runs_of(setting, name)
        findings.measure(f"row {name}", lambda n=name, r=runs: row(setting, n, r))
    for name in names:
        if not specs[name].model.can_be_packed:
            runs = runs_of(setting, name)[:1]
            findings.measure(f"row {name}: kernels", lambda r=runs: kernels(setting, r))


def runs_of(setting: Setting, name: str) -> tuple[Run, ...]:
    """Runs of a row at the paper's sizes, or with narrow layers for a quick try."""
    inputs = setting.inputs
    return (inputs.small_rows if setting.quick else inputs.rows)[name]


def sizes(setting: Setting) -> tuple[int, ...]:
    """Numbers of runs in a pack, the most important number first."""
    return (3,) if setting.quick else PACKS


def repeats(setting: Setting) -> int:
    """How often a figure is measured; its median is reported."""
    return 1 if setting.quick else REPEATS


def speed(
    setting: Setting,
    runs: Sequence[Run],
    way: str,
    *,
    is_recorded: bool = False,
    precision: Precision = "float32",
) -> dict[str, Any]:
    """Steps per second, time of evaluating dev, memory and launches of runs trained together."""
    setting.forget()
    rounded = [changed(run, "training", precision=precision) for run in runs]
    figures = epochs(setting, rounded, is_recorded, repeats(setting))
    return {"way": way, **figures}


def epochs(
    setting: Setting,
    runs: Sequence[Run],
    is_recorded: bool,
    count: int,
    utterances: int | None = None,
    recomputes: bool = False,
) -> dict[str, Any]:
    """Figures of `count` epochs of at most `utterances` utterances, after epochs to warm up.

    `recomputes`: as `mlt_ray.training.loop.train` takes it.
    """
    data = [_at_most(setting.inputs.fold(run), utterances) for run in runs]
    recorder = setting.recorder() if is_recorded else None
    training = runs[0].spec.training
    with deterministic(), products(training.precision):
        start_s, beside = setting.timed(lambda: started(setting, runs, data, recorder))
        for learner in beside.learners if recomputes else ():
            learner.model.save_memory()
        first_s, _ = setting.timed(beside.train_epoch)
        figures: dict[str, Any] = {
            "runs": len(runs),
            "batch_size": training.batch_size,
            "start_s": start_s,
            "first_epoch_s": first_s,
        }
        if recorder is not None:
            figures["recording_epoch_s"], _ = setting.timed(beside.train_epoch)
            figures |= {"shapes": recorder.recorded, "record_s": recorder.seconds}
        epoch_s = statistics.median(setting.timed(beside.train_epoch)[0] for _ in range(count))
        for _ in range(1 + is_recorded):
            beside.logits("dev")
        dev_s = statistics.median(
            setting.timed(lambda: beside.logits("dev"))[0] for _ in range(count)
        )
        [loss] = {float(torch.stack(x._losses).mean()) for x in beside.learners[:1]}
    dev_rate = sum(len(d.parts["dev"]) for d in data) / dev_s
    calls = max(x.num_batches for x in beside.learners)
    steps = sum(x.num_batches for x in beside.learners)
    if not math.isfinite(loss):
        raise ArithmeticError(f"the loss is {loss}")
    return figures | {
        "steps_per_s": 1 / (epoch_s / steps + training.batch_size * DEV_SHARE / dev_rate),
        "training_steps_per_s": steps / epoch_s,
        "ms_per_call": 1000 * epoch_s / calls,
        "dev_s": dev_s,
        "dev_utterances_per_s": dev_rate,
        "epoch_steps": steps,
        **setting.memory(),
    }


def started(
    setting: Setting,
    runs: Sequence[Run],
    data: Sequence[FoldData],
    recorder: CountingRecorder | None,
) -> OneByOne | PackTrainer:
    """Trainer of the runs: a pack, unless it is one run without recording."""
    learners = [Learner(r, d, setting.device) for r, d in zip(runs, data, strict=True)]
    packs = runs[0].spec.model.can_be_packed and (len(runs) > 1 or recorder is not None)
    return PackTrainer(learners, recorder) if packs else OneByOne(learners)


def kernels(setting: Setting, runs: Sequence[Run], is_recorded: bool = False) -> dict[str, Any]:
    """Launches per step and the slowest kernels, over a few steps of common lengths."""
    setting.forget()
    warmed_up(setting.device)
    size = (2 if setting.quick else PROFILED_STEPS) * runs[0].spec.training.batch_size
    data = [cut(setting.inputs.fold(run), size) for run in runs]
    recorder = setting.recorder() if is_recorded else None
    with deterministic(), products(runs[0].spec.training.precision):
        beside = started(setting, runs, data, recorder)
        for _ in range(1 + is_recorded):
            beside.train_epoch()
        steps = max(x.num_batches for x in beside.learners)
        return {"steps": steps, **profiled(setting, beside.train_epoch, steps)}


def plain_loop(setting: Setting, run: Run) -> dict[str, Any]:
    """Figures of the plain PyTorch loop of the benchmarks, including the evaluation of dev."""
    setting.forget()
    data = setting.inputs.fold(run)
    train_plainly(shortened([run], 1)[0], data, setting.device)
    found = train_plainly(shortened([run], repeats(setting))[0], data, setting.device)
    return {
        "way": "plain PyTorch loop",
        "runs": 1,
        "batch_size": run.spec.training.batch_size,
        "steps_per_s": found["steps"] / found["epochs_s"],
        **setting.memory(),
    }


def row(setting: Setting, name: str, runs: Sequence[Run]) -> dict[str, Any]:
    """Steps per second of a row as users train it on a GPU."""
    setting.forget()
    packs = runs[0].spec.model.can_be_packed
    chosen = runs[: (2 if setting.quick else SEEDS_OF_ROW * FOLDS) if packs else 1]
    utterances = STEPS_OF_ROW * runs[0].spec.training.batch_size
    figures = epochs(setting, chosen, packs, 1, utterances)
    return {"row": name, "runs_of_row": SEEDS_OF_ROW * FOLDS, **figures}


def _at_most(data: FoldData, utterances: int | None) -> FoldData:
    return data if utterances is None else cut(data, utterances)
