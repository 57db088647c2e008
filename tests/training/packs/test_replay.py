"""Steps that are recorded once and replayed give the numbers of steps that are computed directly.

A CUDA graph needs a GPU. A tape (`tests.training.tapes`) stands in for one on a CPU.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from mlt_ray.models.dropout import Codes, scaled_mask
from mlt_ray.models.yoon.values import YoonSpec
from mlt_ray.spec import ClassWeights
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.group import ALONE, Group
from mlt_ray.training.learner import Learner
from mlt_ray.training.loop import OneByOne, train, trainer_for
from mlt_ray.training.packs.replay import ReplayedStep, cuda_graphs, rounded
from mlt_ray.training.packs.trainer import PackTrainer
from tests.training.runs import CPU, MakeData, assert_close, assert_same, finish, run_of
from tests.training.tapes import Tapes

pytestmark = pytest.mark.slow

WHO = ((1, 3), (3, 3), (1, 4))


def test_a_tape_replays_on_the_same_memory() -> None:
    state, factor = torch.zeros(3), torch.tensor([1.0, 2.0, 3.0])
    output: list[Tensor] = []

    def step() -> None:
        state.add_(factor[None].expand(2, 3).sum(0) * 10)
        output[:] = [state.view(3, 1) + 1]

    replay = Tapes()(step)
    replay()
    factor.fill_(5.0)
    replay()
    assert state.tolist() == [120.0, 140.0, 160.0]
    assert output[0].flatten().tolist() == [121.0, 141.0, 161.0]


def test_a_step_is_taken_then_recorded_then_replayed_for_each_shape() -> None:
    total, tapes, taken = torch.zeros(2), Tapes(), []

    def step(shape: tuple[int, ...], given: Any) -> Tensor:
        taken.append(shape)
        total.add_(given["a"])
        return torch.ones(shape) * given["a"].sum()

    replayed = ReplayedStep(step, tapes)
    outputs = []
    for number, size in enumerate([3, 5, 3, 3, 5, 3]):
        outputs.append(replayed((size,), {"a": torch.tensor([number, 10.0])}))
    replayed((3,), {"a": torch.zeros(1)})
    assert [o.tolist() for o in outputs] == [
        [10.0 + n] * size for n, size in enumerate([3, 5, 3, 3, 5, 3])
    ]
    assert total.tolist() == [15.0, 60.0]
    assert taken == [(3,), (5,), (3,), (5,), (3,)]
    assert (tapes.recorded, tapes.replayed) == (2, 4)


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_packs_that_replay_their_steps_give_what_runs_give_alone(
    uneven_data: MakeData, class_weights: ClassWeights
) -> None:
    training = {"clip_norm": 0.5, "weight_decay": 0.1, "max_epochs": 5, "patience": 2}
    # The folds have training parts of unlike size: the last batch is smaller or missing.
    runs = [
        run_of(fold=fold, seed=seed, class_weights=class_weights, **training) for fold, seed in WHO
    ]
    alone = [finish([run], uneven_data)[0] for run in runs]
    tapes = Tapes()
    for one, other in zip(finish(runs, uneven_data, recorder=tapes), alone, strict=True):
        assert_close(one, other)
    assert tapes.replayed > tapes.recorded > 0


def test_a_run_alone_that_replays_its_steps_gives_what_its_steps_give(data: MakeData) -> None:
    [run] = [run_of(fold=3, max_epochs=5)]
    tapes = Tapes()
    [alone], [replayed] = finish([run], data), finish([run], data, recorder=tapes)
    assert_close(replayed, alone)
    assert tapes.replayed > tapes.recorded > 0


def test_a_run_of_several_processes_or_of_a_system_that_packs_not_records_nothing(
    data: MakeData,
) -> None:
    run = run_of()
    [learner] = [Learner(run, data(run), CPU)]
    assert isinstance(trainer_for([learner], OneByOne([]), Tapes()), PackTrainer)
    assert isinstance(trainer_for([learner], OneByOne([]), None), OneByOne)
    learner.group = Group(rank=0, size=2)
    assert isinstance(trainer_for([learner], OneByOne([]), Tapes()), OneByOne)
    learner.group, learner.run = ALONE, run_of(model=YoonSpec())
    assert isinstance(trainer_for([learner], OneByOne([]), Tapes()), OneByOne)


def test_steps_are_recorded_anew_only_where_half_of_a_pack_has_ended(
    data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [run_of(fold=f, seed=s, max_epochs=6) for f, s in (*WHO, (3, 4))]
    epochs = {runs[0]: 5, runs[1]: 6, runs[2]: 3, runs[3]: 4}
    monkeypatch.setattr(Learner, "finished", property(lambda x: x.epoch == epochs[x.run]))
    alone = [finish([run], data)[0] for run in runs]
    starts: list[int] = []
    original = PackTrainer._start

    def spying(self: PackTrainer) -> None:
        starts.append(len(self.learners))
        original(self)

    monkeypatch.setattr(PackTrainer, "_start", spying)
    for one, other in zip(finish(runs, data, recorder=Tapes()), alone, strict=True):
        assert_close(one, other)
    # Four runs; when the first has ended, three go on in four rows.
    assert starts == [4, 2, 1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_graphs_give_what_steps_give_that_are_taken(data: MakeData) -> None:
    runs = [run_of(fold=fold, seed=seed, max_epochs=5, patience=2) for fold, seed in WHO]
    device = torch.device("cuda")
    taken, replayed = (
        train(runs, [data(run) for run in runs], device=device, recorder=recorder)
        for recorder in (None, cuda_graphs())
    )
    for one, other in zip(taken, replayed, strict=True):
        assert isinstance(one, FinishedRun)
        assert isinstance(other, FinishedRun)
        assert_close(one, other)


def test_replayed_packs_give_the_same_bits_again(data: MakeData) -> None:
    runs = [run_of(fold=fold, seed=seed) for fold, seed in WHO]
    one, other = (finish(runs, data, recorder=Tapes()) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("per_octave", [1, 2, 4, 16])
def test_rounded_sizes_are_few_and_little_larger(per_octave: int) -> None:
    for size in range(1, 600):
        found = rounded(size, per_octave)
        assert size <= found < size * (1 + 1 / per_octave) + 1e-9
        assert rounded(found, per_octave) == found
    sizes = {rounded(size, per_octave) for size in range(257, 513)}
    assert len(sizes) == per_octave


def test_masks_of_ever_the_same_memory_follow_their_keys() -> None:
    keys = torch.tensor([[5, 7]], dtype=torch.int32)
    output: list[Tensor] = []

    def mask() -> Tensor:
        return scaled_mask(Codes(keys).of(0, (3, 11)), 13, 0.3)

    def step() -> None:
        output[:] = [mask()]

    replay = Tapes()(step)
    replay()
    keys.copy_(torch.tensor([[-9, 2**30 + 1]], dtype=torch.int32))
    replay()
    assert torch.equal(output[0], mask())
