"""A run starts anew where its checkpoint cannot be used, and says why."""

import io
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from mlt_ray.spec import Run
from mlt_ray.training.checkpoint import Checkpoint
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.learner import Learner
from mlt_ray.training.loop import train
from tests.training.runs import CPU, EPOCHS, MODEL, MakeData, assert_same, finish, run_of

pytestmark = pytest.mark.slow

RUN = run_of()


@dataclass
class Told:
    """Epochs that were computed, by fold, and lines about checkpoints."""

    epochs: list[tuple[int, int]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def stopped(run: Run, data: MakeData, path: Path) -> None:
    """Train a run for two epochs, after which it leaves its checkpoint."""
    checkpoint = Checkpoint(path, interval_s=0)
    train([run], [data(run)], device=CPU, checkpoints=[checkpoint], stop=after_two())


def after_two() -> Callable[[Run], bool]:
    answers = iter([False, True])
    return lambda run: next(answers)


def resumed(runs: list[Run], data: MakeData, paths: list[Path], told: Told) -> list[FinishedRun]:
    return finish(
        runs,
        data,
        checkpoints=[Checkpoint(path, told=told.lines.append) for path in paths],
        on_epoch=lambda run, epoch: told.epochs.append((run.fold, epoch.epoch)),
    )


def changed(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    saved, file = torch.load(io.BytesIO(content), weights_only=True), io.BytesIO()
    change(saved)
    torch.save(saved, file)
    return file.getvalue()


def flipped(content: bytes) -> bytes:
    """One bit of a weight is another."""
    weights = torch.load(io.BytesIO(content), weights_only=True)["state"]["model"]
    place = content.index(weights["classifier.weight"].numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def without(*keys: str) -> Callable[[bytes], bytes]:
    def remove(saved: dict[str, Any]) -> None:
        for key in keys[:-1]:
            saved = saved[key]
        del saved[keys[-1]]

    return lambda content: changed(content, remove)


def with_value(value: Any, *keys: str) -> Callable[[bytes], bytes]:
    def put(saved: dict[str, Any]) -> None:
        for key in keys[:-1]:
            saved = saved[key]
        saved[keys[-1]] = value

    return lambda content: changed(content, put)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut in half": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
    "one bit flipped": flipped,
    "text": lambda content: b"no space left on device\n",
    "a pickle": lambda content: pickle.dumps({"run": RUN.digest}),
    "a pickle that runs code": lambda content: pickle.dumps(print),
    "another object": lambda content: changed(content, lambda saved: saved.clear()),
    "without the model": without("state", "model"),
    "without a weight": without("state", "model", "classifier.weight"),
    "without a best weight": without("state", "best_weights", "classifier.weight"),
    "without moments": without("state", "optimiser", "means"),
    "moments of another model": with_value([torch.zeros(1)] * 3, "state", "optimiser", "means"),
    "moments that would broadcast": lambda content: changed(content, shrink),
    "without the curve": without("state", "curve"),
    "a curve without scores": with_value([{"epoch": 1}], "state", "curve"),
    "a curve of before macro F1": lambda content: changed(content, drop_macro_f1),
    "a curve that is none": with_value("12", "state", "curve"),
    "without a time": without("state", "computed_s"),
    "more than a state": with_value(1, "state", "momentum"),
}
OTHERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "of another run": (with_value("0123456789abcdef", "run"), "that of run 0123456789abcdef"),
    "of another torch": (with_value("1.13.1", "torch"), "one written by torch 1.13.1"),
    "of before it said what it is": (lambda content: changed(content, unwrap), "another layout"),
}


def shrink(saved: dict[str, Any]) -> None:
    saved["state"]["optimiser"]["means"] = [
        mean.flatten()[:1] for mean in saved["state"]["optimiser"]["means"]
    ]


def drop_macro_f1(saved: dict[str, Any]) -> None:
    for epoch in saved["state"]["curve"]:
        del epoch["dev_macro_f1"]


def unwrap(saved: dict[str, Any]) -> None:
    state = saved["state"]
    saved.clear()
    saved.update(state)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_run_whose_checkpoint_is_damaged_starts_anew_and_says_so(
    data: MakeData, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path, told = tmp_path / "state.pt", Told()
    (whole,) = finish([RUN], data)
    stopped(RUN, data, path)
    content = damage(path.read_bytes())
    assert content != path.read_bytes()
    path.write_bytes(content)
    (result,) = resumed([RUN], data, [path], told)
    assert told.epochs == [(RUN.fold, number) for number in range(1, EPOCHS + 1)]
    assert_same(result, whole)
    [line] = told.lines
    assert line.startswith(f"{path}: expected a checkpoint of this run, got ")
    assert line.endswith("; the run starts anew")
    assert "weights_only" not in line
    assert "\n" not in line


@pytest.mark.parametrize(("change", "got"), OTHERS.values(), ids=OTHERS)
def test_a_checkpoint_that_says_it_is_another_is_not_loaded(
    data: MakeData, tmp_path: Path, change: Callable[[bytes], bytes], got: str
) -> None:
    path, told = tmp_path / "state.pt", Told()
    stopped(RUN, data, path)
    path.write_bytes(change(path.read_bytes()))
    resumed([RUN], data, [path], told)
    assert len(told.epochs) == EPOCHS
    assert got in told.lines[0]


def test_the_state_of_another_model_is_not_loaded(data: MakeData, tmp_path: Path) -> None:
    path, told = tmp_path / "state.pt", Told()
    other = run_of(model=MODEL.__class__(**{**vars(MODEL), "width": 8}))
    stopped(other, data, path)
    path.write_bytes(with_value(RUN.digest, "run")(path.read_bytes()))
    resumed([RUN], data, [path], told)
    assert len(told.epochs) == EPOCHS
    assert "a state of another layout" in told.lines[0]


def test_the_next_checkpoint_replaces_one_that_cannot_be_used(
    data: MakeData, tmp_path: Path
) -> None:
    path, told = tmp_path / "state.pt", Told()
    path.write_bytes(b"damaged")
    stopped(RUN, data, path)
    resumed([RUN], data, [path], told)
    assert told.epochs == [(RUN.fold, EPOCHS)]
    assert told.lines == []


def test_of_a_pack_only_the_run_whose_checkpoint_is_damaged_starts_anew(
    data: MakeData, tmp_path: Path
) -> None:
    runs, told = [run_of(fold=fold) for fold in (1, 3, 4)], Told()
    paths = [tmp_path / f"{run.fold}.pt" for run in runs]
    for run, path in zip(runs, paths, strict=True):
        stopped(run, data, path)
    paths[1].write_bytes(b"damaged")
    resumed(runs, data, paths, told)
    assert sorted(told.epochs) == [(1, 3), (3, 1), (3, 2), (3, 3), (4, 3)]
    [line] = told.lines
    assert line.startswith(str(paths[1]))


def test_no_damage_of_any_byte_or_length_ends_a_run(data: MakeData, tmp_path: Path) -> None:
    """Whatever the file holds, the learner has either all of it or is as it was."""
    path, rng = tmp_path / "state.pt", random.Random(5)
    stopped(RUN, data, path)
    content = path.read_bytes()
    fresh = Learner(RUN, data(RUN), CPU)
    whole = Learner(RUN, data(RUN), CPU)
    Checkpoint(path).resume(whole)
    assert whole.epoch == 2
    for number in range(60):
        place = rng.randrange(len(content))
        path.write_bytes(
            content[:place]
            if number % 3 == 0
            else content[:place] + rng.randbytes(number % 5) + content[place + number % 5 :]
        )
        learner, lines = Learner(RUN, data(RUN), CPU), list[str]()
        Checkpoint(path, told=lines.append).resume(learner)
        expected = fresh if lines else whole
        assert learner.epoch == expected.epoch
        for one, other in zip(learner.model.parameters(), expected.model.parameters(), strict=True):
            assert torch.equal(one, other)


def test_a_checkpoint_that_may_not_be_read_is_no_damaged_one(
    data: MakeData, tmp_path: Path
) -> None:
    path = tmp_path / "state.pt"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        Checkpoint(path).resume(Learner(RUN, data(RUN), CPU))


def test_a_checkpoint_is_not_written_once_another_process_has_the_run(
    data: MakeData, tmp_path: Path
) -> None:
    path, mine = tmp_path / "state.pt", [True, False, False]
    checkpoint = Checkpoint(path, interval_s=0, is_mine=lambda: mine.pop(0))
    finish([RUN], data, checkpoints=[checkpoint])
    assert len(torch.load(path, weights_only=True)["state"]["curve"]) == 1
