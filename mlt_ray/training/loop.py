"""The training loop: trains a pack of runs, chooses each run's epoch on dev, reads test once.

A pack is a list of runs with the same RunSpec. Each run keeps its own data order, early stopping
and best weights.

The loop over epochs is the same for all runs, and there are two ways to take a step. `OneByOne`
calls `Learner.step` of each run, with `Adam`. `PackTrainer` takes the step of all runs in one
call, with `PackAdam`; the system must allow it. Where steps can be recorded, it trains a run alone
too. They are two implementations of the same arithmetic, and tests hold them equal
(``tests/training/packs``): change both or neither.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mlt_ray.errors import RunFailed, RunStopped, UserError
from mlt_ray.features.batching import FoldData
from mlt_ray.spec import Run
from mlt_ray.storage.report import PARTS, Epoch
from mlt_ray.training.checkpoint import Checkpoint
from mlt_ray.training.finish import FinishedRun, environment, finished_run
from mlt_ray.training.group import ALONE, Group
from mlt_ray.training.learner import Learner
from mlt_ray.training.packs.replay import Recorder
from mlt_ray.training.packs.trainer import PackTrainer, steps_of_epoch
from mlt_ray.training.precision import check_precision, products
from mlt_ray.training.weights import weights_bytes


def never(run: Run) -> bool:
    """The default of `stop`: no run is stopped."""
    return False


def train(
    runs: Sequence[Run],
    data: Sequence[FoldData],
    *,
    device: torch.device,
    checkpoints: Sequence[Checkpoint | None] | None = None,
    on_epoch: Callable[[Run, Epoch], None] = lambda run, epoch: None,
    stop: Callable[[Run], bool] = never,
    group: Group = ALONE,
    recorder: Recorder | None = None,
    recomputes: bool = False,
) -> list[FinishedRun | RunFailed | RunStopped]:
    """Train a pack; `data[i]` is the fold of `runs[i]`. The result keeps the order of `runs`.

    `on_epoch` is called after every epoch of a run, and `stop` after every epoch except its last.
    If `stop` returns True, the run writes its checkpoint at once and gives a `RunStopped` in its
    place; a later call goes on from there. A run whose loss is not finite gives a `RunFailed` in
    its place. In both cases the others go on. The same runs, device and thread count give the same
    bits on a CPU, with or without interruption.

    With a `recorder`, steps of systems that can be packed are recorded and replayed, those of a run
    alone too (`mlt_ray.training.packs.replay`). `recomputes`: an encoder that is fine-tuned uses
    less memory and more time (`mlt_ray.models.system.System.save_memory`).

    The processes of a `group` train one run together. Each calls this function with the same run
    and checkpoint, and gets the run's result. Only the leading process calls `stop` and writes the
    checkpoint, and its report counts. `UserError` if the processes see different checkpoints. After
    an exception in one process the others wait for ever: whoever started them must end them.
    """
    if len({run.spec for run in runs}) != 1:
        raise ValueError("the runs of a pack share one RunSpec")
    if group.size > 1 and len(runs) > 1:
        raise ValueError("a group of processes trains one run, not a pack")
    checkpoints = checkpoints or [None] * len(runs)
    ended: dict[str, RunFailed | RunStopped] = {}
    with deterministic(), products(runs[0].spec.training.precision):
        learners = [Learner(r, d, device, group) for r, d in zip(runs, data, strict=True)]
        if recomputes:
            for learner in learners:
                learner.model.save_memory()
        check_precision(runs[0].spec.training.precision, learners[0].model, device)
        for learner, checkpoint in zip(learners, checkpoints, strict=True):
            if checkpoint is not None:
                checkpoint.resume(learner)
            check_same_epoch(learner)
        saves = dict(zip((r.digest for r in runs), checkpoints, strict=True))
        side_by_side: OneByOne | PackTrainer = OneByOne([])
        while active := [x for x in learners if not x.finished and x.run.digest not in ended]:
            if side_by_side.learners != active:
                side_by_side = trainer_for(active, side_by_side, recorder)
            started = time.perf_counter()
            side_by_side.train_epoch()
            dev = side_by_side.logits("dev")
            seconds_each = (time.perf_counter() - started) / len(active)
            for learner, logits in zip(active, dev, strict=True):
                run, started = learner.run, time.perf_counter()
                try:
                    epoch = learner.close_epoch(logits)
                except RunFailed as failure:
                    ended[run.digest] = failure
                    continue
                learner.progress.computed_s += seconds_each + time.perf_counter() - started
                on_epoch(run, epoch)
                stopped = group.leads and not learner.finished and stop(run)
                if stopped := group.agree(stopped, device):
                    ended[run.digest] = RunStopped(f"stopped after epoch {epoch.epoch}")
                checkpoint = saves[run.digest]
                if group.leads and checkpoint is not None:
                    checkpoint.save(learner, at_once=stopped)
        return [ended.get(x.run.digest) or finish(x) for x in learners]


def check_same_epoch(learner: Learner) -> None:
    """`UserError` in all processes of a group if they are not at the same epoch."""
    group, own = learner.group, learner.epoch
    leading = group.agree(own, learner.device)
    if float(group.sum(torch.tensor(float(own != leading), device=learner.device))):
        raise UserError(
            f"expected one checkpoint for all processes of the run, got epoch {own} where the "
            f"first process has {leading}; put the store where every machine sees it"
        )


class OneByOne:
    """Trains learners epoch by epoch; at every step, they take their steps one after another."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        self.learners = learners

    def train_epoch(self) -> None:
        """Train every learner for one epoch."""
        for batches in steps_of_epoch(self.learners):
            for learner, indices in zip(self.learners, batches, strict=True):
                if indices is not None:
                    learner.step(indices)

    def logits(self, part: str) -> list[Tensor]:
        """Every learner's (N, K) logits of a part."""
        return [x.logits(part) for x in self.learners]


def trainer_for(
    learners: Sequence[Learner], former: OneByOne | PackTrainer, recorder: Recorder | None
) -> OneByOne | PackTrainer:
    """The fastest trainer of these learners; `former` trained them, and others, until now.

    A run alone is a pack of one where its steps can be recorded: on an H100, 190 steps a second of
    the highway row at the paper's sizes, and 28 without.
    """
    first = learners[0]
    may_pack = first.run.spec.can_be_packed and first.group.size == 1
    if not may_pack or (len(learners) == 1 and recorder is None):
        return OneByOne(learners)
    if isinstance(former, PackTrainer):
        former.keep(learners)
        return former
    return PackTrainer(learners, recorder)


def finish(learner: Learner) -> FinishedRun:
    """Score dev and test with the best weights. Nothing else reads the test part of a network."""
    learner.use_best_weights()
    progress = learner.progress
    return finished_run(
        learner.run,
        predictions={part: learner.predictions(part, learner.logits(part))[0] for part in PARTS},
        curve=progress.curve,
        best_epoch=progress.best_epoch,
        part_sizes={part: len(ids) for part, ids in learner.data.parts.items()},
        num_parameters=sum(p.numel() for p in learner.model.parameters() if p.requires_grad),
        started_ms=progress.started_ms,
        computed_s=progress.computed_s,
        environment=environment(learner.device),
        weights=weights_bytes(progress.best_weights),
        inputs=learner.data.all_fitted.as_dict(),
        details=learner.model.details(),
    )


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Inside the block, torch uses deterministic kernels, and raises if an operation has none."""
    # cuBLAS is deterministic only with a workspace of fixed size; it reads this when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    filling: Any = torch.utils.deterministic
    before = torch.get_deterministic_debug_mode(), filling.fill_uninitialized_memory
    # `use_deterministic_algorithms` would import torch's compiler: a second in every worker.
    torch.set_deterministic_debug_mode("error")
    # Torch would also fill all new memory, for programs that read it before they write it.
    filling.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before[0])
        filling.fill_uninitialized_memory = before[1]
