"""A run trained by several processes gives the numbers that it gives in one.

`tests.training.runs` sets the tolerance. With equal weights for sub-batches of different sizes, the
difference was a hundred times as large.
"""

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import RunStopped, UserError
from mlt_ray.features.batching import FoldData
from mlt_ray.features.extract import FeatureCache
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import build_model
from mlt_ray.spec import Run
from mlt_ray.storage.store import Store
from mlt_ray.training.checkpoint import Checkpoint
from mlt_ray.training.group import ALONE, Group, Loss
from mlt_ray.training.loop import train
from tests.training.processes import run_together
from tests.training.runs import CPU, MODEL, assert_close, run_of, uneven

WITHOUT_DROPOUT = replace(MODEL, dropout=0.0, prenet_dropout=0.0, mel_prenet_dropout=0.0)


@dataclass(frozen=True, kw_only=True)
class Job:
    """The run that the processes of a group train, and where they leave its result."""

    run: Run
    corpus: Corpus
    features: Path
    folder: Path
    size: int
    checkpoint: str = ""
    stop_after: int = 0
    own_checkpoints: bool = False


@pytest.fixture
def make_job(raw: Any, tmp_path: Path) -> Callable[..., Job]:
    raw.write(tmp_path / "features")

    def make(size: int, model: MultilevelSpec = MODEL, **more: Any) -> Job:
        options = {k: v for k, v in more.items() if k in Job.__dataclass_fields__}
        training = {k: v for k, v in more.items() if k not in options}
        folder = tmp_path / "results"
        folder.mkdir(exist_ok=True)
        return Job(
            run=run_of(model=model, learning_rate=1e-3, **training),
            corpus=uneven(raw.corpus) if "class_weights" in training else raw.corpus,
            features=tmp_path / "features",
            folder=folder,
            size=size,
            **options,
        )

    return make


def data_of(job: Job) -> FoldData:
    spec = job.run.spec
    cache = FeatureCache.open(Store(job.features), spec.features)
    fold = make_folds(job.corpus, spec.folds)[job.run.fold - 1]
    weighing = spec.training.class_weights
    return FoldData(job.corpus, fold, spec.features, cache, weighing=weighing)


def compute(job: Job, group: Group) -> tuple[Any, list[int]]:
    """The job's result, or the error that a user would see, and the epochs that were told."""
    told: list[int] = []
    name = f"{job.checkpoint}{group.rank if job.own_checkpoints else ''}"
    checkpoint = Checkpoint(job.folder / name) if job.checkpoint else None
    try:
        [result] = train(
            [job.run],
            [data_of(job)],
            device=CPU,
            group=group,
            checkpoints=[checkpoint],
            on_epoch=lambda run, epoch: told.append(epoch.epoch),
            stop=lambda run: told[-1] == job.stop_after,
        )
    except UserError as error:
        return str(error), told
    return result, told


def work(rank: int, job: Job) -> None:
    """One process of the job."""
    torch.set_num_threads(1)
    meeting = f"file://{job.folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=job.size)
    try:
        outcome = compute(job, Group.joined())
        (job.folder / f"{rank}.pickle").write_bytes(pickle.dumps(outcome))
        # Gloo's thread may still hold a tensor of the last broadcast, and aborts a process whose
        # interpreter has ended before it lets go: it does while this one waits for the others.
        dist.barrier()
        # Without Python's clean-up, in which a thread of torch's now and then aborts the process.
        os._exit(0)
    finally:
        dist.destroy_process_group()


def together(job: Job) -> list[tuple[Any, list[int]]]:
    """The results that the processes of the job left."""
    run_together(work, (job,), job.size)
    (job.folder / "meeting").unlink(missing_ok=True)
    paths = [job.folder / f"{rank}.pickle" for rank in range(job.size)]
    return [pickle.loads(path.read_bytes()) for path in paths]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "more"),
    [
        (2, {"model": WITHOUT_DROPOUT}),
        (2, {"clip_norm": 0.5}),
        # 24 utterances in batches of 5 leave one of 4; in batches of 23 one of 1.
        (3, {"batch_size": 23}),
        (2, {"class_weights": "balanced", "select_by": "macro_f1"}),
    ],
    ids=[
        "without dropout",
        "with dropout, clipped",
        "more processes than utterances",
        "classes weighed",
    ],
)
def test_processes_together_give_what_one_gives_alone(
    make_job: Callable[..., Job], size: int, more: dict[str, Any]
) -> None:
    job = make_job(size, **more)
    alone, told = compute(replace(job, size=1), ALONE)
    assert told == [1, 2, 3]
    found = together(job)
    for result, _ in found:
        assert_close(result, alone)
    # All processes are told of the epochs: a report of Ray Train waits for those of all workers.
    assert [told for _, told in found] == [[1, 2, 3]] * size


@pytest.mark.slow
def test_processes_stop_and_go_on_together(make_job: Callable[..., Job]) -> None:
    job = make_job(2, checkpoint="state.pt")
    whole = together(replace(job, checkpoint=""))
    stopped = together(replace(job, stop_after=2))
    assert all(isinstance(result, RunStopped) for result, _ in stopped)
    copy = replace(job, checkpoint="copy.pt")
    shutil.copy(job.folder / job.checkpoint, job.folder / copy.checkpoint)
    resumed = together(job)
    assert [told for _, told in resumed] == [[3], [3]]
    for (one, _), (other, _) in zip(resumed, whole, strict=True):
        assert one.predictions["test"].probabilities.tobytes() == (
            other.predictions["test"].probabilities.tobytes()
        )
    # One process goes on where two were stopped.
    alone, told = compute(copy, ALONE)
    assert told == [3]
    assert_close(alone, whole[0][0])


@pytest.mark.slow
def test_processes_that_see_different_checkpoints_refuse(make_job: Callable[..., Job]) -> None:
    job = make_job(2, checkpoint="state.pt", own_checkpoints=True)
    together(replace(job, stop_after=2))
    messages = [message for message, _ in together(job)]
    assert all("expected one checkpoint for all processes" in m for m in messages)
    assert "got epoch 0 where the first process has 2" in messages[1]


def test_weighted_sub_batches_give_the_gradient_of_the_whole_batch(
    make_job: Callable[..., Job],
) -> None:
    job = make_job(1)
    data = data_of(job)
    torch.manual_seed(0)
    model = build_model(job.run.spec.model, data.sizes).eval()
    indices = np.asarray(job_indices := data.parts["train"][:5])
    loss = Loss(model)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(loss(data.batch(job_indices)), parameters)
    for size in (1, 2, 3, 5, 7):
        total = [torch.zeros_like(p) for p in parameters]
        sizes = []
        for rank in range(size):
            group = Group(rank=rank, size=size)
            own = group.sub_batch(indices)
            sizes.append(own.size)
            weighted = loss(data.batch(own.indices)) * group.loss_weight(own.size, len(indices))
            for entry, gradient in zip(
                total, torch.autograd.grad(weighted, parameters), strict=True
            ):
                entry += gradient / size
        assert sum(sizes) == 5
        torch.testing.assert_close(total, list(expected), rtol=1e-4, atol=1e-6)


def test_sub_batches_part_a_batch() -> None:
    indices = np.asarray([31, 7, 19, 3, 11])
    parts = [Group(rank=rank, size=2).sub_batch(indices) for rank in range(2)]
    assert [p.indices.tolist() for p in parts] == [[31, 19, 11], [7, 3]]
    assert [p.size for p in parts] == [3, 2]


def test_a_process_without_utterances_of_its_own_takes_part_with_no_weight() -> None:
    group = Group(rank=3, size=4)
    own = group.sub_batch(np.asarray([31, 7, 19]))
    assert own.indices.tolist() == [31]
    assert group.loss_weight(own.size, 3) == 0


def test_a_group_trains_one_run(make_job: Callable[..., Job]) -> None:
    job = make_job(1)
    runs = [job.run, replace(job.run, seed=8)]
    with pytest.raises(ValueError, match="one run"):
        train(runs, [data_of(job)] * 2, device=CPU, group=Group(rank=0, size=2))


@pytest.mark.slow
def test_processes_all_start_anew_if_one_cannot_use_its_checkpoint(
    make_job: Callable[..., Job],
) -> None:
    job = make_job(2, checkpoint="state.pt", own_checkpoints=True)
    whole = together(replace(job, checkpoint=""))
    together(replace(job, stop_after=2))
    (job.folder / "state.pt1").write_bytes(b"damaged")
    again = together(job)
    assert [told for _, told in again] == [[1, 2, 3]] * 2
    for (one, _), (other, _) in zip(again, whole, strict=True):
        assert one.predictions["test"].probabilities.tobytes() == (
            other.predictions["test"].probabilities.tobytes()
        )
