"""The training loop on a corpus of forty utterances: the same bits however it is run."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from mlt_ray.corpus.folds import make_folds
from mlt_ray.errors import RunFailed, RunStopped
from mlt_ray.features.batching import FoldData
from mlt_ray.labels import FOUR
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import build_model
from mlt_ray.spec import DevScore, FoldSpec, Run
from mlt_ray.storage.report import PARTS, Epoch
from mlt_ray.training import learner
from mlt_ray.training.adam import Adam
from mlt_ray.training.checkpoint import Checkpoint
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.loop import train
from tests.training.conftest import folds_of
from tests.training.runs import (
    CPU,
    EPOCHS,
    MODEL,
    MakeData,
    assert_close,
    assert_same,
    finish,
    run_of,
    script_dev,
    weights,
)

pytestmark = pytest.mark.slow

Compare = Callable[[FinishedRun, FinishedRun], None]
WITHOUT_DROPOUT = replace(MODEL, dropout=0.0, prenet_dropout=0.0, mel_prenet_dropout=0.0)
HEARING = replace(
    WITHOUT_DROPOUT, inputs="audio", width=26, cross_modality_layers=0, deep_fusion_layers=0
)


class Interrupted(Exception):
    """Stands for anything that ends a process."""


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs side by side take their steps one after another, as those of an unpacked system do."""
    monkeypatch.setattr(MultilevelSpec, "can_be_packed", property(lambda spec: False))


@pytest.fixture(params=["in turn", "in one call"])
def compare(request: pytest.FixtureRequest) -> Compare:
    """The comparison of a run trained beside others with the same run alone."""
    if request.param == "in one call":
        return assert_close
    request.getfixturevalue("in_turn")
    return assert_same


def test_a_run_learns(data: MakeData) -> None:
    # Frames tell the class; without layers, eight epochs are enough for any seed to see it.
    run = run_of(model=HEARING, learning_rate=1e-2, max_epochs=8, patience=8)
    (result,) = finish([run], data)
    losses = [e.train_loss for e in result.report.curve]
    assert losses[-1] < 0.5 * losses[0]
    # Chance is 0.25, and eight seeds gave 0.75 and more.
    assert result.report.scores["test"]["wa"] > 0.6


def test_the_same_run_gives_the_same_bits(data: MakeData) -> None:
    (one,), (other,) = finish([run_of()], data), finish([run_of()], data)
    assert_same(one, other)


@pytest.mark.parametrize("other", [run_of(seed=8), run_of(fold=3)], ids=["seed", "fold"])
def test_seeds_and_folds_give_other_weights(data: MakeData, other: Run) -> None:
    (one,), (two,) = finish([run_of()], data), finish([other], data)
    name = "classifier.weight"
    assert not torch.equal(weights(one)[name], weights(two)[name])


@pytest.mark.parametrize("last", range(1, EPOCHS + 1))
def test_an_interrupted_run_goes_on_as_if_it_never_stopped(
    data: MakeData, tmp_path: Path, last: int
) -> None:
    run = run_of()
    checkpoint = tmp_path / "state.pt"
    (whole,) = finish([run], data)

    def interrupt(run: Run, epoch: Epoch) -> None:
        if epoch.epoch == last:
            raise Interrupted

    def options() -> dict[str, Any]:
        return {"checkpoints": [Checkpoint(checkpoint, interval_s=0)]}

    with pytest.raises(Interrupted):
        finish([run], data, on_epoch=interrupt, **options())
    assert checkpoint.exists() == (last > 1)

    computed: list[int] = []
    (resumed,) = finish(
        [run], data, on_epoch=lambda run, epoch: computed.append(epoch.epoch), **options()
    )
    # The epoch that was interrupted was not saved yet; those before it are not computed again.
    assert computed == list(range(last, EPOCHS + 1))
    assert_same(resumed, whole)


def test_a_batch_that_memory_has_no_room_for_is_taken_in_pieces(
    data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = finish([run_of()], data)
    monkeypatch.setattr(learner, "TRAINING_PAIRS", 1)
    monkeypatch.setattr("mlt_ray.features.batch_order.EVALUATION_PAIRS", 200)
    (cut,) = finish([run_of()], data)
    assert_close(cut, whole)


def test_a_run_that_was_interrupted_before_its_test_only_reads_the_test(
    data: MakeData, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(tmp_path / "state.pt", interval_s=0)
    (whole,) = finish([run_of()], data, checkpoints=[checkpoint])
    computed: list[Epoch] = []
    (again,) = finish(
        [run_of()],
        data,
        checkpoints=[checkpoint],
        on_epoch=lambda run, epoch: computed.append(epoch),
    )
    assert computed == []
    assert_same(again, whole)


def test_a_pack_with_one_run_ahead_gives_what_the_runs_give_alone(
    data: MakeData, tmp_path: Path, compare: Compare
) -> None:
    ahead, behind = run_of(fold=1), run_of(fold=4)
    alone = [finish([run], data)[0] for run in (ahead, behind)]
    checkpoint = Checkpoint(tmp_path / "state.pt", interval_s=0)

    def interrupt(run: Run, epoch: Epoch) -> None:
        if epoch.epoch == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        finish([ahead], data, checkpoints=[checkpoint], on_epoch=interrupt)
    packed = finish([ahead, behind], data, checkpoints=[checkpoint, None])
    for one, other in zip(packed, alone, strict=True):
        compare(one, other)


def stopping(*answers: bool) -> Callable[[Run], bool]:
    """Returns its answers one after another, for any run."""
    waiting = iter(answers)
    return lambda run: next(waiting)


@pytest.mark.parametrize("last", range(1, EPOCHS))
def test_a_run_that_was_stopped_goes_on_as_if_it_never_stopped(
    data: MakeData, tmp_path: Path, last: int
) -> None:
    run, path = run_of(), tmp_path / "state.pt"
    (whole,) = finish([run], data)
    told: list[int] = []

    def hear(run: Run, epoch: Epoch) -> None:
        told.append(epoch.epoch)

    (stopped,) = train(
        [run],
        [data(run)],
        device=CPU,
        checkpoints=[Checkpoint(path, interval_s=3600)],
        on_epoch=hear,
        stop=stopping(*[False] * (last - 1), True),
    )
    assert isinstance(stopped, RunStopped)
    assert str(stopped) == f"stopped after epoch {last}"
    (resumed,) = finish([run], data, checkpoints=[Checkpoint(path)], on_epoch=hear)
    assert told == list(range(1, EPOCHS + 1))
    assert_same(resumed, whole)


def test_a_run_that_was_stopped_leaves_the_pack_and_the_others_go_on(
    data: MakeData, tmp_path: Path, compare: Compare
) -> None:
    one, two = run_of(fold=1), run_of(fold=3)
    alone = [finish([run], data)[0] for run in (one, two)]
    path = tmp_path / "one.pt"
    stopped, result = train(
        [one, two],
        [data(one), data(two)],
        device=CPU,
        checkpoints=[Checkpoint(path), None],
        stop=lambda run: run == one,
    )
    assert isinstance(stopped, RunStopped)
    assert isinstance(result, FinishedRun)
    compare(result, alone[1])
    compare(finish([one], data, checkpoints=[Checkpoint(path)])[0], alone[0])


def test_a_run_is_not_asked_to_stop_after_its_last_epoch(data: MakeData) -> None:
    asked: list[Run] = []
    run = run_of()
    finish([run], data, stop=lambda run: bool(asked.append(run)))
    assert asked == [run] * (EPOCHS - 1)


def test_checkpoints_are_not_written_more_often_than_asked(data: MakeData, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    finish([run_of()], data, checkpoints=[Checkpoint(path, interval_s=3600)])
    assert not path.exists()


def test_the_first_epoch_with_the_best_dev_score_counts(
    data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_dev(monkeypatch, [0.25, 0.5])
    (shorter,) = finish([run_of(max_epochs=2)], data)
    script_dev(monkeypatch, [0.25, 0.5, 0.5, 0.375])
    (result,) = finish([run_of(max_epochs=4, patience=4)], data)
    assert result.report.best_epoch == 2
    assert [e.dev_wa for e in result.report.curve] == [0.25, 0.5, 0.5, 0.375]
    # Weights and predictions are those of epoch 2, where the shorter run ended.
    expected, found = weights(shorter), weights(result)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    np.testing.assert_array_equal(
        result.predictions["test"].probabilities, shorter.predictions["test"].probabilities
    )
    assert result.report.curve[3].dev_loss != result.report.curve[1].dev_loss


@pytest.mark.parametrize(
    ("was", "patience", "epochs", "best"),
    [
        ([0.2, 0.5, 0.5, 0.4, 0.3, 0.9], 3, 5, 2),
        ([0.2, 0.5, 0.4, 0.6, 0.1, 0.1], 2, 6, 4),
        ([0.0, 0.0, 0.9, 0.9, 0.9, 0.9], 1, 2, 1),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1, 6, 6),
    ],
)
def test_a_run_stops_after_as_many_epochs_without_a_better_score_as_it_is_patient(
    data: MakeData,
    monkeypatch: pytest.MonkeyPatch,
    was: list[float],
    patience: int,
    epochs: int,
    best: int,
) -> None:
    script_dev(monkeypatch, was)
    (result,) = finish([run_of(max_epochs=6, patience=patience)], data)
    assert (len(result.report.curve), result.report.best_epoch) == (epochs, best)


@pytest.mark.parametrize("name", get_args(DevScore))
def test_the_score_that_is_asked_for_chooses_the_epoch_and_ends_the_patience(
    data: MakeData, monkeypatch: pytest.MonkeyPatch, name: DevScore
) -> None:
    script_dev(monkeypatch, [0.2, 0.5, 0.4, 0.4, 0.9], name)
    run = run_of(max_epochs=5, patience=2, select_by=name, learning_rate=1e-3)
    (result,) = finish([run], data)
    assert [getattr(e, f"dev_{name}") for e in result.report.curve] == [0.2, 0.5, 0.4, 0.4]
    assert result.report.best_epoch == 2


def test_the_curve_holds_every_score_of_dev(data: MakeData) -> None:
    (result,) = finish([run_of()], data)
    best = result.report.curve[result.report.best_epoch - 1]
    labels = result.predictions["dev"].labels
    predicted = result.predictions["dev"].probabilities.argmax(axis=1)
    assert best.dev_wa == metrics.accuracy_score(labels, predicted)
    assert best.dev_ua == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    macro_f1 = metrics.f1_score(labels, predicted, labels=range(4), average="macro")
    assert best.dev_macro_f1 == pytest.approx(macro_f1)


def test_a_step_on_weighed_classes_is_torch_s_on_the_sum_of_weighed_losses(
    uneven_data: MakeData,
) -> None:
    """One batch an epoch and one epoch; torch's weights are by class, ours by utterance."""
    training = {"class_weights": "balanced", "batch_size": 64, "max_epochs": 1}
    run = run_of(fold=1, model=WITHOUT_DROPOUT, **training)
    fold = uneven_data(run)
    train_part = np.asarray(fold.parts["train"])
    labels = torch.as_tensor(fold.labels("train"))
    per_class = compute_class_weight("balanced", classes=np.arange(4), y=labels.numpy())
    assert len(set(per_class.tolist())) > 2
    torch.manual_seed(learner.seed_of(run, "weights"))
    model = build_model(run.spec.model, fold.sizes)
    optimiser = torch.optim.Adam(model.parameters(), lr=run.spec.training.learning_rate)
    weight = torch.as_tensor(per_class, dtype=torch.float32)
    logits = model(replace(fold.batch(train_part), weights=None))
    loss = nn.functional.cross_entropy(logits, labels, weight, reduction="sum") / len(labels)
    loss.backward()
    optimiser.step()
    (result,) = finish([run], uneven_data)
    assert result.report.curve[0].train_loss == pytest.approx(loss.item(), rel=1e-5)
    for part in PARTS:
        indices = fold.parts[part]
        with torch.no_grad():
            expected = model.eval()(fold.batch(indices)).softmax(dim=1)
        found = result.predictions[part].probabilities
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_the_dev_loss_weighs_no_class(uneven_data: MakeData) -> None:
    (result,) = finish([run_of(class_weights="balanced")], uneven_data)
    dev = result.predictions["dev"]
    expected = metrics.log_loss(dev.labels, dev.probabilities, labels=range(4))
    best = result.report.curve[result.report.best_epoch - 1]
    assert best.dev_loss == pytest.approx(expected, rel=1e-5)


def test_weights_of_equal_classes_change_nothing(data: MakeData) -> None:
    (weighed,) = finish([run_of(class_weights="balanced")], data)
    (plain,) = finish([run_of()], data)
    assert_close(weighed, plain)


def test_weighing_finds_the_classes_that_are_rare(raw: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    raw.utterances.clear()
    for session, number in itertools.product(range(1, 6), range(40)):
        place = number % 4 if number < 8 else 2  # 34 utterances of one class, 2 of each other
        frames = rng.normal(size=(4, 5))
        frames[:, place] += 1.0
        raw.add(f"s{session}_{number}", FOUR[place], [(f"name{session}x{number}", ["N"])], frames)
    data = folds_of(raw.corpus, raw.write(tmp_path))
    training = {"learning_rate": 1e-2, "max_epochs": 8, "patience": 8, "select_by": "ua"}
    plain, weighed = (
        finish([run_of(fold=1, model=HEARING, class_weights=kind, **training)], data)[0]
        for kind in ("none", "balanced")
    )
    # Five seeds gave at most 0.5 without weights, and at least 0.93 with them.
    found = [result.report.scores["dev"]["ua"] for result in (plain, weighed)]
    assert found[1] > found[0] + 0.2


def test_weighed_runs_give_the_same_alone_interrupted_in_pieces_and_beside_others(
    uneven_data: MakeData, tmp_path: Path, compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighed = {"class_weights": "balanced", "select_by": "macro_f1"}
    runs = [run_of(fold=fold, **weighed) for fold in (1, 3)]
    alone = [finish([run], uneven_data)[0] for run in runs]
    plain = finish([run_of(fold=1, select_by="macro_f1")], uneven_data)[0]
    assert not torch.equal(
        weights(alone[0])["classifier.weight"], weights(plain)["classifier.weight"]
    )
    for one, other in zip(finish(runs, uneven_data), alone, strict=True):
        compare(one, other)

    checkpoint = Checkpoint(tmp_path / "state.pt", interval_s=0)
    train(
        [runs[0]],
        [uneven_data(runs[0])],
        device=CPU,
        checkpoints=[checkpoint],
        stop=stopping(False, True),
    )
    assert_same(finish([runs[0]], uneven_data, checkpoints=[checkpoint])[0], alone[0])

    monkeypatch.setattr(learner, "TRAINING_PAIRS", 1)
    assert_close(finish([runs[0]], uneven_data)[0], alone[0])


def test_a_pack_gives_what_its_runs_give_alone(data: MakeData, compare: Compare) -> None:
    # Folds 1 and 3 have other lengths, so that steps, batches and padding differ.
    runs = [run_of(fold=1, seed=3), run_of(fold=3, seed=3), run_of(fold=1, seed=4)]
    alone = [finish([run], data)[0] for run in runs]
    for one, other in zip(finish(runs, data), alone, strict=True):
        compare(one, other)


def test_a_run_that_stops_early_does_not_disturb_the_others(
    data: MakeData, monkeypatch: pytest.MonkeyPatch, compare: Compare
) -> None:
    first, second = (run_of(fold=f, max_epochs=4, patience=1) for f in (1, 3))
    script_dev(monkeypatch, [0.1, 0.2, 0.3, 0.4])
    (alone,) = finish([second], data)
    # Scores in the order of asking: the first run gets worse at once, the second ever better.
    script_dev(monkeypatch, [0.5, 0.1, 0.4, 0.2, 0.3, 0.4])
    short, long = finish([first, second], data)
    assert (len(short.report.curve), len(long.report.curve)) == (2, 4)
    compare(long, alone)


def test_runs_of_different_specifications_are_no_pack(data: MakeData) -> None:
    runs = [run_of(), run_of(learning_rate=1e-4)]
    with pytest.raises(ValueError, match="share one RunSpec"):
        train(runs, [data(run) for run in runs], device=CPU)


def poisoned(raw: Any, root: Path, run: Run) -> FoldData:
    """The fold, with one value of one training utterance not a number."""
    folds = make_folds(raw.corpus, FoldSpec())
    name = raw.utterances[folds[run.fold - 1].train[0]].id
    raw.frames[name] = raw.frames[name].copy()
    raw.frames[name][0, 0] = np.nan
    cache = raw.write(root)
    return FoldData(raw.corpus, folds[run.fold - 1], run.spec.features, cache)


def test_a_run_with_a_broken_feature_fails_alone(
    raw: Any, data: MakeData, tmp_path: Path, compare: Compare
) -> None:
    bad, good = run_of(fold=1), run_of(fold=3, seed=9)
    (expected,) = finish([good], data)
    broken = poisoned(raw, tmp_path / "poisoned", bad)
    told: list[Run] = []
    failure, result = train(
        [bad, good], [broken, data(good)], device=CPU, on_epoch=lambda run, epoch: told.append(run)
    )
    assert isinstance(failure, RunFailed)
    assert str(failure).startswith("the loss is nan in epoch 1; ")
    assert isinstance(result, FinishedRun)
    compare(result, expected)
    assert told == [good] * EPOCHS


@pytest.mark.parametrize("max_epochs", [1, 3])
def test_a_learning_rate_that_explodes_gives_a_failure_with_a_remedy(
    data: MakeData, max_epochs: int
) -> None:
    # One step an epoch: the first epoch's only loss is still that of the initial weights.
    run = run_of(learning_rate=1e10, batch_size=64, max_epochs=max_epochs)
    (failure,) = train([run], [data(run)], device=CPU)
    assert isinstance(failure, RunFailed)
    assert "lower training.learning_rate or set training.clip_norm" in str(failure)


def test_the_test_part_is_read_once_and_last(
    data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[str] = []
    original = FoldData.evaluation_order

    def spying(self: FoldData, part: str) -> list[np.ndarray]:
        parts.append(part)
        return original(self, part)

    monkeypatch.setattr(FoldData, "evaluation_order", spying)
    finish([run_of()], data)
    assert parts == ["dev"] * EPOCHS + ["dev", "test"]


def test_training_never_sees_an_utterance_of_dev_or_test(
    data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    original = learner.Learner.step

    def spying(self: learner.Learner, indices: np.ndarray) -> None:
        seen.append(indices.tolist())
        original(self, indices)

    monkeypatch.setattr(learner.Learner, "step", spying)
    run = run_of(max_epochs=2)
    finish([run], data)
    train_part = sorted(data(run).parts["train"])
    half = len(seen) // 2
    epochs = [[i for batch in part for i in batch] for part in (seen[:half], seen[half:])]
    assert [sorted(e) for e in epochs] == [train_part, train_part]
    assert epochs[0] != epochs[1]


def test_every_step_of_every_run_drops_out_by_a_key_of_its_own(
    data: MakeData, monkeypatch: pytest.MonkeyPatch, in_turn: None
) -> None:
    keys: list[tuple[int, ...]] = []
    original = learner.set_dropout_keys

    def spying(model: nn.Module, utterances: torch.Tensor, *parts: int) -> None:
        keys.append(parts)
        original(model, utterances, *parts)

    monkeypatch.setattr(learner, "set_dropout_keys", spying)
    finish([run_of(fold=f, seed=s) for f, s in ((1, 2), (2, 1), (1, 1))], data)
    # Five batches of at most five hold the 24 training utterances.
    assert len(set(keys)) == len(keys) == 3 * EPOCHS * 5


def test_predictions_are_probabilities_in_the_order_of_the_part(data: MakeData) -> None:
    run = run_of()
    (result,) = finish([run], data)
    fold = data(run)
    model = build_model(run.spec.model, fold.sizes).eval()
    model.load_state_dict(weights(result))
    for part in PARTS:
        predicted = result.predictions[part]
        indices = fold.parts[part]
        utterances = [fold.corpus.utterances[i] for i in indices]
        assert list(predicted.utterances) == [u.id for u in utterances]
        assert [FOUR[n] for n in predicted.labels] == [u.emotion for u in utterances]
        np.testing.assert_allclose(predicted.probabilities.sum(axis=1), 1, atol=1e-12)
        with torch.no_grad():
            alone = torch.cat([model(fold.batch([i])) for i in indices]).softmax(dim=1)
        np.testing.assert_allclose(predicted.probabilities, alone.numpy(), atol=1e-5)


def test_a_report_says_what_its_predictions_score(data: MakeData) -> None:
    run = run_of()
    (result,) = finish([run], data)
    report = result.report
    assert (report.digest, report.fold, report.seed) == (run.digest, 2, 7)
    assert report.spec == run.spec.as_dict()
    assert report.part_sizes == {"train": 24, "dev": 8, "test": 8}
    for part in PARTS:
        predicted = result.predictions[part]
        hits = predicted.probabilities.argmax(axis=1) == predicted.labels
        assert report.scores[part]["wa"] == hits.mean()
        assert np.sum(report.scores[part]["confusion"]) == 8
    assert report.scores["dev"]["wa"] == max(e.dev_wa for e in report.curve)
    assert report.environment["threads"] == "1"
    sizes = [p.numel() for p in build_model(MODEL, data(run).sizes).parameters()]
    assert report.num_parameters == sum(sizes)


def test_a_report_names_what_computed_features_and_trained(data: MakeData) -> None:
    run = run_of()
    spec = replace(
        run.spec,
        features=replace(run.spec.features, libraries="numpy 2.4.6, soundfile 0.14.0"),
        training=replace(run.spec.training, libraries="numpy 2.4.6, torch 2.11.0"),
    )
    (result,) = finish([replace(run, spec=spec)], data)
    found = result.report.environment
    assert (found["numpy"], found["soundfile"]) == ("2.4.6", "0.14.0")
    assert found["torch"] == torch.__version__  # that of this process, with the build


def test_clipping_bounds_the_gradient_of_every_step(
    data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []
    original = Adam.step

    def spying(self: Adam) -> None:
        found = [weight.grad for weight in self.weights]
        norms.append(float(torch.stack([g.norm() for g in found if g is not None]).norm()))
        original(self)

    monkeypatch.setattr(Adam, "step", spying)
    finish([run_of(max_epochs=1)], data)
    free, norms[:] = max(norms), []
    finish([run_of(max_epochs=1, clip_norm=free / 7)], data)
    assert max(norms) == pytest.approx(free / 7, rel=1e-3)


def test_torch_is_left_as_it_was_found(data: MakeData) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    finish([run_of(max_epochs=1)], data)
    assert not torch.are_deterministic_algorithms_enabled()


def test_training_loads_no_compiler() -> None:
    code = (
        "import sys, torch; from mlt_ray.training.loop import deterministic, products\n"
        "import mlt_ray.training.fit, mlt_ray.training.packs.trainer\n"
        "import mlt_ray.models.multilevel.network\n"
        "with deterministic(), products('float32'):\n"
        "    assert torch.are_deterministic_algorithms_enabled()\n"
        "assert not torch.are_deterministic_algorithms_enabled()\n"
        "print({'torch._dynamo', 'torch._inductor', 'sympy'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
