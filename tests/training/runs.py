"""Small runs on forty utterances for all tests of training, and comparisons of two results."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.features.batching import FoldData
from mlt_ray.metrics import Scores
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.spec import DevScore, FeatureSpec, ModelSpec, Run, RunSpec, TrainingSpec
from mlt_ray.storage.report import PARTS, Epoch, Predictions
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.learner import Learner
from mlt_ray.training.loop import train

CPU = torch.device("cpu")
SCORES, CLOSE_EPOCH = Predictions.scores, Learner.close_epoch
EPOCHS = 3
MODEL = MultilevelSpec(
    width=6,
    num_heads=2,
    feed_forward=7,
    deep_fusion_layers=1,
    phoneme_dim=3,
    phoneme_channels=5,
    phoneme_kernel=3,
    prenet_layers=1,
    prenet_kernel=3,
    mel_prenet_width=11,
)
TRAINING = TrainingSpec(
    learning_rate=3e-3, batch_size=5, max_epochs=EPOCHS, patience=EPOCHS, bucket_batches=2
)
SPEC = RunSpec(
    corpus="five sessions", model=MODEL, features=FeatureSpec(frames_per_step=2), training=TRAINING
)
WALL_CLOCK = ("started_ms", "ended_ms", "computed_s")

TOLERANCE = 1e-5
"""For runs whose gradients are summed in another order, by processes or packs: losses and
probabilities then agree to rounding (a relative 2⁻²⁴ an addition), which was seen to change them by
up to 3e-7. Weights agree less: Adam divides a gradient by its own size, so that one that is
nothing but rounding moves its weight by a whole learning rate, where the output does not care.
"""

MakeData = Callable[[Run], FoldData]


def run_of(fold: int = 2, seed: int = 7, model: ModelSpec = MODEL, **training: Any) -> Run:
    spec = replace(SPEC, model=model, training=replace(TRAINING, **training))
    return Run(spec=spec, fold=fold, seed=seed)


def finish(runs: Sequence[Run], data: MakeData, **options: Any) -> list[FinishedRun]:
    results = train(runs, [data(run) for run in runs], device=CPU, **options)
    finished = [r for r in results if isinstance(r, FinishedRun)]
    assert len(finished) == len(runs)
    return finished


def weights(result: FinishedRun) -> dict[str, torch.Tensor]:
    return load(result.weights)


def assert_same(one: FinishedRun, other: FinishedRun) -> None:
    """Asserts the same bits in everything except times."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    for part in PARTS:
        assert one.predictions[part].utterances == other.predictions[part].utterances
        np.testing.assert_array_equal(
            one.predictions[part].probabilities, other.predictions[part].probabilities
        )
    assert without_clock(one) == without_clock(other)
    assert one.inputs == other.inputs


def without_clock(result: FinishedRun) -> dict[str, Any]:
    values = dataclasses.asdict(result.report)
    for where in (values, *values["curve"]):
        for key in WALL_CLOCK:
            where.pop(key, None)
    return values


def uneven(corpus: Corpus) -> Corpus:
    """The corpus of five sessions with classes of unlike size, another in each session."""

    def stays(utterance: Utterance) -> bool:
        session, number = (int(n) for n in utterance.id.removeprefix("s").split("_"))
        return number < 4 or number % 4 >= session % 4

    return replace(corpus, utterances=tuple(filter(stays, corpus.utterances)))


def script_dev(
    monkeypatch: pytest.MonkeyPatch, scores: Sequence[float], name: DevScore = "wa"
) -> None:
    """Makes a score of dev these values, one an epoch, whatever was predicted."""
    scripted = iter(scores)

    def scored(predictions: Predictions) -> Scores:
        return replace(SCORES(predictions), **{name: next(scripted)})

    def closed(self: Learner, dev_logits: Tensor) -> Epoch:
        with patch.object(Predictions, "scores", scored):
            return CLOSE_EPOCH(self, dev_logits)

    monkeypatch.setattr(Learner, "close_epoch", closed)


def assert_close(one: FinishedRun, other: FinishedRun) -> None:
    """Asserts equal losses and predictions to `TOLERANCE`, and the same decisions from them."""
    for a, b in zip(one.report.curve, other.report.curve, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=TOLERANCE)
        assert a.dev_loss == pytest.approx(b.dev_loss, rel=TOLERANCE)
        assert (a.dev_wa, a.dev_ua, a.dev_macro_f1) == (b.dev_wa, b.dev_ua, b.dev_macro_f1)
    assert one.report.best_epoch == other.report.best_epoch
    for part in PARTS:
        first, second = one.predictions[part], other.predictions[part]
        assert first.utterances == second.utterances
        np.testing.assert_allclose(first.probabilities, second.probabilities, atol=TOLERANCE)
