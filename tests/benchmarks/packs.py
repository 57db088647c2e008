"""Measures packs, operations per step and the machine's peak speed, each in a new process."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import RunFailed
from mlt_ray.spec import Run, TrainingSpec
from mlt_ray.storage.store import Store
from mlt_ray.training.learner import Learner
from mlt_ray.training.loop import train
from mlt_ray.training.packs.device_batches import Sizes
from mlt_ray.training.packs.replay import cuda_graphs
from mlt_ray.training.packs.trainer import steps_of_epoch
from tests.benchmarks.figures import peak_memory_mib
from tests.benchmarks.inputs import fold_of, read_table, thinned

COUNTED_STEPS = 16
MATRIX_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
PEAK_REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where to measure: the store with the features, the device, the number of threads.

    `utterances`: how many utterances of the corpus are used; None for all.
    """

    store: str
    device: str
    threads: int
    utterances: int | None = None

    def corpus(self, run: Run) -> Corpus:
        """The run's corpus, or a random part of it, always the same one."""
        corpus = read_table(run.spec.corpus, Store(self.store))
        return corpus if self.utterances is None else thinned(corpus, self.utterances)


def apart(function: Callable[..., dict[str, Any]], *values: Any) -> dict[str, Any]:
    """What `function(*values)` returns in a fresh interpreter."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *values).result()


def shortened(runs: Iterable[Run], epochs: int) -> list[Run]:
    """The runs, changed to train exactly that many epochs."""

    def short(training: TrainingSpec) -> TrainingSpec:
        return replace(training, max_epochs=epochs, patience=epochs)

    return [replace(r, spec=replace(r.spec, training=short(r.spec.training))) for r in runs]


def measure_pack(
    runs: Sequence[Run], epochs: int, place: Place, recorded: bool = False
) -> dict[str, Any]:
    """Steps and seconds of the runs trained as one pack, including the evaluation of dev.

    `recorded`: steps are replayed from CUDA graphs, and the time of recording them is included. A
    step of a pack of N runs counts as N steps. On a GPU, one epoch is trained before the timing, so
    that kernels are already loaded and chosen.
    """
    torch.set_num_threads(place.threads)
    device, store, corpus = torch.device(place.device), Store(place.store), place.corpus(runs[0])
    data = [fold_of(run, corpus, store) for run in runs]
    if device.type == "cuda":
        train(shortened(runs, 1), data, device=device)
    began = time.perf_counter()
    recorder = cuda_graphs() if recorded else None
    results = train(shortened(runs, epochs), data, device=device, recorder=recorder)
    wall_s = time.perf_counter() - began
    failed = [r for r in results if isinstance(r, RunFailed)]
    if failed:
        raise failed[0]
    epochs_s = sum(r.report.computed_s for r in results)
    size, trained = runs[0].spec.training.batch_size, [len(d.parts["train"]) for d in data]
    steps = epochs * sum(math.ceil(n / size) for n in trained)
    return {
        "pack": len(runs),
        "utterances": len(corpus),
        "steps": steps,
        "epochs_s": epochs_s,
        "epoch_s": epochs_s / epochs,
        "wall_s": wall_s,
        "steps_per_s": steps / epochs_s,
        "utterances_per_s": epochs * sum(trained) / epochs_s,
        "threads": place.threads,
        **memory(device),
    }


def measure_largest_pack(runs: Sequence[Run], sizes: Sequence[int], place: Place) -> dict[str, Any]:
    """Call `measure_pack` for one epoch with the first of the sizes that fits into memory."""
    for size in sizes:
        try:
            return apart(measure_pack, runs[:size], 1, place)
        except torch.OutOfMemoryError:
            continue
    raise MemoryError(f"packs of {sizes} runs do not fit into memory")


def measure_padding(runs: Sequence[Run], place: Place) -> dict[str, Any]:
    """Shares of an epoch's computed values that are speech and not padding, for runs in a pack.

    Shares of frames, and of the pairs of frames that attention computes. `recorded` is the share of
    frames if batches are padded to the few sizes that CUDA graphs are recorded for.
    """
    store, corpus = Store(place.store), place.corpus(runs[0])
    data = {run.fold: fold_of(run, corpus, store) for run in runs}
    learners = [Learner(run, data[run.fold], torch.device("cpu")) for run in runs]
    real, computed = np.zeros(3), np.zeros(3)
    for step in steps_of_epoch(learners):
        lengths = [
            x.data.num_steps[i] for x, i in zip(learners, step, strict=True) if i is not None
        ]
        largest = max(map(len, lengths)) * len(runs)
        longest = max(int(one.max()) for one in lengths)
        real += [sum(float((one.astype(float) ** p).sum()) for one in lengths) for p in (1, 2, 1)]
        recorded = Sizes(longest, 1, 1).rounded().frames
        computed += [
            largest * float(n) ** p for n, p in ((longest, 1), (longest, 2), (recorded, 1))
        ]
    frames, pairs, recorded_frames = map(float, real / computed)
    return {"pack": len(runs), "frames": frames, "pairs": pairs, "recorded": recorded_frames}


def count_operations(run: Run, place: Place) -> dict[str, Any]:
    """Mean floating-point operations of a training step, forward and backward, over an epoch.

    If the epoch has many steps, only the first ones are counted; their order is random.
    """
    torch.set_num_threads(place.threads)
    device = torch.device(place.device)
    data = fold_of(run, place.corpus(run), Store(place.store))
    learner, counts, steps = Learner(run, data, device), [], []
    for indices in learner.order()[:COUNTED_STEPS]:
        with FlopCounterMode(display=False) as counter:
            learner.step(indices)
        counts.append(counter.get_total_flops())
        steps.append(int(data.num_steps[indices].max()))
    return {"flop_per_step": float(np.mean(counts)), "frames": float(np.mean(steps))}


def measure_peak(place: Place) -> dict[str, Any]:
    """The highest speed of a product of square matrices, in float32 operations per second."""
    torch.set_num_threads(place.threads)
    device = torch.device(place.device)
    best = 0.0
    for size in MATRIX_SIZES[device.type]:
        one = torch.randn(size, size, device=device)
        torch.mm(one, one)
        for _ in range(PEAK_REPEATS):
            synchronise(device)
            began = time.perf_counter()
            torch.mm(one, one)
            synchronise(device)
            best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return {"flop_per_s": best, "threads": place.threads}


def synchronise(device: torch.device) -> None:
    """Wait until the device has computed everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory(device: torch.device) -> dict[str, float | None]:
    """Peak memory (MiB) of this process, and of tensors on a GPU."""
    cuda = device.type == "cuda"
    gpu = torch.cuda.max_memory_allocated(device) / 2**20 if cuda else None
    return {"memory_mib": peak_memory_mib(), "gpu_memory_mib": gpu}


def with_frames_per_step(run: Run, frames_per_step: int) -> Run:
    """The run with another number of frames averaged into a step."""
    features = dataclasses.replace(run.spec.features, frames_per_step=frames_per_step)
    return replace(run, spec=replace(run.spec, features=features))
