"""Runs of a pack give the numbers of each run alone, to the tolerance of `tests.training.runs`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from mlt_ray.batch import NO_LABEL
from mlt_ray.corpus.folds import make_folds
from mlt_ray.features.batching import FoldData
from mlt_ray.features.extras import FoldInput
from mlt_ray.models.dropout import _axis_up_to, _channel_codes_up_to, site_keys
from mlt_ray.models.layers import sinusoid
from mlt_ray.models.multigranularity.values import MultigranularitySpec
from mlt_ray.models.registry import build_model
from mlt_ray.models.speech.values import SpeechSpec
from mlt_ray.models.yoon.values import YoonSpec
from mlt_ray.spec import ClassWeights, FoldSpec, ModelSpec
from mlt_ray.training.adam import clip
from mlt_ray.training.checkpoint import Checkpoint
from mlt_ray.training.learner import Learner
from mlt_ray.training.packs import device_batches as resident
from mlt_ray.training.packs import trainer as pack_module
from mlt_ray.training.packs.adam import PackAdam
from mlt_ray.training.packs.device_batches import DeviceBatches, batches_for
from mlt_ray.training.packs.host_batches import HostBatches, stacked
from mlt_ray.training.packs.trainer import PackTrainer, weights_and_moments
from tests.training.runs import CPU, MODEL, MakeData, assert_close, assert_same, finish, run_of

pytestmark = pytest.mark.slow

WHO = ((1, 3), (3, 3), (1, 4))
"""Fold and seed. Fold 3 trains on the first session, fold 1 does not."""

VARIANTS = {
    "highway": MODEL,
    "concatenation": replace(MODEL, text="concatenation"),
    "phoneme": replace(MODEL, text="phoneme"),
    "word": replace(MODEL, text="word"),
    "without deep fusion": replace(MODEL, deep_fusion_layers=0),
    "audio only": replace(MODEL, inputs="audio"),
    "text only": replace(MODEL, inputs="text"),
    "text only without deep fusion": replace(MODEL, inputs="text", deep_fusion_layers=0),
    "other depths": replace(
        MODEL,
        text_encoder_layers=2,
        cross_modality_layers=0,
        deep_fusion_layers=2,
        prenet_layers=2,
        highway_layers=0,
    ),
    "speech synthesis": replace(MODEL, tts_weight=0.3),
    "multigranularity": MultigranularitySpec(fine_tune=False, multilevel=MODEL, projection=7),
    "pooled layers": SpeechSpec(hidden_width=7),
    "states": SpeechSpec(head="states", hidden_width=7),
    "pooled layers beside frames": MultigranularitySpec(
        encoder=None,
        speech_encoder="heard@1",
        speech_layer="weighted",
        multilevel=MODEL,
        projection=7,
    ),
}


@pytest.fixture
def raw(raw: Any) -> Any:
    """The five sessions, with more utterances, words and phonemes in the first."""
    rng = np.random.default_rng(5)
    for number in range(3):
        words = [(f"rare{number}{n}", [f"R{number}", f"A{n}"]) for n in range(2 + number)]
        raw.add(f"s1_{8 + number}", "sad", words, rng.normal(size=(5 + number, 5)))
    return raw


class Vectors(FoldInput):
    """An utterance's text as a vector, as a frozen encoder would give it."""

    dim = 13
    moments = None

    def batch(self, indices: Any) -> Tensor:
        return torch.stack([torch.sin(torch.arange(1.0, 14) * (1 + int(i))) for i in indices])


class Layers(FoldInput):
    """Three layers of an utterance's recording, as a frozen encoder would give them."""

    dim = 22
    moments = None

    def batch(self, indices: Any) -> Tensor:
        values = torch.arange(1.0, 67).reshape(3, 22)
        return torch.stack([torch.sin(values * (1 + int(i))) for i in indices])


@pytest.fixture
def data_with_vectors(raw: Any, tmp_path: Path) -> MakeData:
    """Folds with vectors and layers. Frames are five layers of one value where states are read."""
    corpus, cache = raw.corpus, raw.write(tmp_path)
    folds = make_folds(corpus, FoldSpec())

    def make(run: Any) -> FoldData:
        extras = {"text_embedding": Vectors(), "speech_layers": Layers()}
        weighing = run.spec.training.class_weights
        fold = folds[run.fold - 1]
        layers = 5 if run.spec.model.speech_encoder else 1
        return FoldData(
            corpus,
            fold,
            run.spec.features,
            cache,
            extras,
            weighing=weighing,
            frame_layers=layers,
        )

    return make


@pytest.mark.parametrize("model", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_every_variant_gives_what_it_gives_alone(
    data_with_vectors: MakeData, model: ModelSpec, class_weights: ClassWeights
) -> None:
    training = {"max_epochs": 2, "class_weights": class_weights}
    runs = [run_of(fold=fold, seed=seed, model=model, **training) for fold, seed in WHO]
    alone = [finish([run], data_with_vectors)[0] for run in runs]
    for one, other in zip(finish(runs, data_with_vectors), alone, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize(
    "training",
    [
        {"clip_norm": 0.3},
        {"clip_value": 0.01},
        {"weight_decay": 0.1},
        # 24 utterances: one batch of 23, and one of a single utterance.
        {"batch_size": 23},
        {"select_by": "macro_f1"},
    ],
    ids=lambda training: next(iter(training)),
)
def test_every_kind_of_training_gives_what_it_gives_alone(
    data: MakeData, training: dict[str, Any]
) -> None:
    runs = [run_of(fold=fold, seed=seed, **training) for fold, seed in WHO]
    alone = [finish([run], data)[0] for run in runs]
    for one, other in zip(finish(runs, data), alone, strict=True):
        assert_close(one, other)


def test_the_same_pack_gives_the_same_bits(data: MakeData) -> None:
    runs = [run_of(fold=fold, seed=seed, max_epochs=2) for fold, seed in WHO]
    for one, other in zip(finish(runs, data), finish(runs, data), strict=True):
        assert_same(one, other)


def short(make: MakeData, fold: int, size: int) -> MakeData:
    """Folds as `make` gives them, with a smaller training part in one."""

    def made(run: Any) -> FoldData:
        data = make(run)
        if run.fold == fold:
            data.parts["train"] = data.parts["train"][:size]
        return data

    return made


def test_a_run_with_fewer_batches_sits_out_the_last_steps(data: MakeData) -> None:
    fewer = short(data, fold=3, size=11)
    runs = [run_of(fold=fold, seed=seed) for fold, seed in WHO]
    alone = [finish([run], fewer)[0] for run in runs]
    for one, other in zip(finish(runs, fewer), alone, strict=True):
        assert_close(one, other)


def test_runs_that_do_not_fit_into_memory_together_are_computed_in_parts(
    data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [run_of(fold=fold, seed=seed, max_epochs=2) for fold, seed in WHO]
    whole = finish(runs, data)
    parts: list[int] = []
    original = pack_module.chunks

    def spying(batch: Any) -> list[slice]:
        parts.append(len(original(batch)))
        return original(batch)

    monkeypatch.setattr(pack_module, "chunks", spying)
    # Five utterances of at most 7 steps and 5 words: two runs have at most 490 pairs.
    monkeypatch.setattr(pack_module, "MAX_PAIRS", 300)
    for one, other in zip(finish(runs, data), whole, strict=True):
        assert_close(one, other)
    assert {2, 3} <= set(parts)


def test_a_packed_run_leaves_the_checkpoint_that_it_leaves_alone(
    data: MakeData, tmp_path: Path
) -> None:
    runs = [run_of(fold=fold, seed=seed, max_epochs=2) for fold, seed in WHO]
    alone, packed = ([tmp_path / f"{kind}{n}.pt" for n in range(3)] for kind in ("alone", "packed"))
    for run, path in zip(runs, alone, strict=True):
        finish([run], data, checkpoints=[Checkpoint(path, interval_s=0)])
    finish(runs, data, checkpoints=[Checkpoint(path, interval_s=0) for path in packed])
    for one, other in zip(alone, packed, strict=True):
        assert outline(torch.load(one)) == outline(torch.load(other))
        assert other.stat().st_size == pytest.approx(one.stat().st_size, rel=0.01)


def outline(state: Any) -> Any:
    """The structure of a state, without its numbers."""
    if isinstance(state, dict):
        return {key: outline(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [outline(value) for value in state]
    if isinstance(state, Tensor):
        counted = float(state) if state.ndim == 0 and float(state).is_integer() else None
        return (state.shape, state.dtype, state.device, state.is_contiguous(), counted)
    return type(state)


def test_runs_start_from_the_weights_that_they_have_alone(data: MakeData) -> None:
    learners = [Learner(run, data(run), CPU) for run in (run_of(fold=f, seed=s) for f, s in WHO)]
    sizes = {x.sizes.num_learned_words for x in learners}
    assert len(sizes) == 2, "folds with the same vocabulary would test nothing"
    packed = PackTrainer(learners)
    for run, learner in enumerate(learners):
        packed_ones, own = weights_and_moments(packed._adam, run, learner)
        assert len(own) == 3 * len(list(learner.model.parameters()))
        assert all(torch.equal(a, b) for a, b in zip(packed_ones, own, strict=True))


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("kind", [HostBatches, DeviceBatches])
def test_batches_of_runs_are_stacked_with_padding_that_no_loss_counts(
    data_with_vectors: MakeData,
    kind: type[HostBatches | DeviceBatches],
    class_weights: ClassWeights,
) -> None:
    # Fold 3 has more of one class, and so weights of its own.
    runs = [run_of(fold=number, class_weights=class_weights) for number in (1, 3)]
    folds = {run.fold: data_with_vectors(run) for run in runs}
    learned = {number: f.num_learned_words for number, f in folds.items()}
    most = max(learned.values())
    train = {number: np.asarray(f.parts["train"]) for number, f in folds.items()}
    numbers = [3, 1, 3]
    steps = [
        [train[3][:5], train[1][:2], train[3][7:9]],
        [train[3][[4, 1]], None, np.asarray(folds[3].parts["test"][:5])],
    ]
    batches = list(kind(folds, most, CPU).batches(steps, numbers))
    for step, batch in zip(steps, batches, strict=True):
        for n, (number, indices) in enumerate(zip(numbers, step, strict=True)):
            fold = folds[number]
            alone = fold.batch(train[number][:1] if indices is None else indices)
            shift = most - learned[number]
            words = alone.words + shift * (alone.words >= learned[number])
            parts = {**vars(alone), "words": words, **alone.extras}
            fill = {"labels": NO_LABEL, "num_frames": 1, "num_words": 1}
            for name, value in {**batch, **batch["extras"]}.items():
                # Neither the empty utterance's number nor its vector counts.
                if name == "extras":
                    continue
                expected = torch.full_like(value[n], fill.get(name, 0))
                expected[tuple(map(slice, parts[name].shape))] = parts[name]
                assert torch.equal(value[n], expected), name
        assert batch["frames"].shape[:2] == (3, 5)
        assert ("weights" in batch) == (class_weights == "balanced")


def test_frames_stay_on_the_host_where_a_device_has_no_room(
    data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = {1: data(run_of(fold=1))}
    num_bytes = 4 * int(folds[1].num_steps.sum()) * 5
    for room, kind in ((num_bytes, DeviceBatches), (num_bytes - 1, HostBatches)):
        monkeypatch.setattr(resident, "KEPT_BYTES", room)
        assert type(batches_for(folds, 99, CPU)) is kind


def test_extra_inputs_count_among_what_a_device_must_hold(
    data_with_vectors: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = {1: data_with_vectors(run_of(fold=1))}
    num_steps = folds[1].num_steps
    num_bytes = 4 * (int(num_steps.sum()) * 5 + len(num_steps) * (13 + 3 * 22))
    for room, kind in ((num_bytes, DeviceBatches), (num_bytes - 1, HostBatches)):
        monkeypatch.setattr(resident, "KEPT_BYTES", room)
        assert type(batches_for(folds, 99, CPU)) is kind


def test_a_pack_whose_frames_stay_on_the_host_gives_the_same_numbers(
    data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [run_of(fold=fold, seed=seed, max_epochs=2) for fold, seed in WHO]
    there = finish(runs, data)
    monkeypatch.setattr(resident, "KEPT_BYTES", 0)
    for one, other in zip(finish(runs, data), there, strict=True):
        assert_close(one, other)


def test_tensors_of_differing_sizes_are_stacked() -> None:
    whole = stacked([torch.ones(2, 3), torch.full((1, 5), 2)], fill=7)
    assert whole.tolist() == [
        [[1, 1, 1, 7, 7], [1, 1, 1, 7, 7]],
        [[2, 2, 2, 2, 2], [7, 7, 7, 7, 7]],
    ]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (MODEL, True),
        (MultigranularitySpec(fine_tune=False), True),
        (MultigranularitySpec(), False),
        (YoonSpec(), False),
    ],
)
def test_planning_can_ask_which_systems_pack(model: ModelSpec, expected: bool) -> None:
    assert model.can_be_packed is expected


@pytest.mark.parametrize("model", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_loss_leaves_out_what_only_fills_up_a_batch(
    data_with_vectors: MakeData, model: ModelSpec
) -> None:
    data = data_with_vectors(run_of(model=model))
    system = build_model(model, data.sizes).eval()
    batch = data.batch([3, 17, 0, 30, 8])
    labels = torch.cat([batch.labels[:3], torch.full((2,), NO_LABEL)])
    for weights in (None, torch.tensor([0.5, 3.0, 1.0, 7.0, 2.0])):
        filled = system.loss(replace(batch, labels=labels, weights=weights))
        given = None if weights is None else weights[:3]
        real = replace(data.batch([3, 17, 0]), weights=given)
        torch.testing.assert_close(filled, system.loss(real))


def test_a_step_on_a_gpu_mixes_no_devices_and_waits_for_no_value(data: MakeData) -> None:
    """Without a GPU: fake tensors have a device and a shape but no values, and so refuse both.

    Only the backward pass, which is torch's own, needs a GPU and is not tested here.
    """
    training = {"clip_norm": 0.5, "clip_value": 0.1, "weight_decay": 0.1}
    runs = [run_of(fold=fold, seed=seed, **training) for fold, seed in WHO]
    packed = PackTrainer([Learner(run, data(run), CPU) for run in runs])
    step, spec = [x.order()[0] for x in packed.learners], runs[0].spec.training
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:

        def on_gpu(tensor: Tensor) -> Tensor:
            return mode.from_tensor(tensor).to("cuda")

        packed._constants = {name: on_gpu(value) for name, value in packed._constants.items()}
        adam = packed._adam
        shapes = [w.shape for w in adam.weights]
        adam = PackAdam([torch.zeros(shape, device="cuda") for shape in shapes], spec)
        folds = {x.run.fold: x.data for x in packed.learners}
        there = DeviceBatches(folds, 99, torch.device("cuda"))
        [batch] = there.batches([step], [x.run.fold for x in packed.learners])
        codes = torch.zeros(len(runs), len(packed._sites), dtype=torch.int32, device="cuda")
        packed._system.train()
        keys = site_keys(codes, batch["utterances"])
        losses = packed._call(packed._loss, adam.weights, batch, keys)
        gradients = [w * losses.view(-1, *(1 for _ in w.shape[1:])) for w in adam.weights]
        adam.step(clip(gradients, spec), range(len(runs)))
        assert adam.weights[0].device.type == losses.device.type == "cuda"
    for cached in (sinusoid, _axis_up_to, _channel_codes_up_to):
        cached.cache_clear()
