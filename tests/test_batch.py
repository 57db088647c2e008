"""The mean loss of a batch, with labels and weights."""

import torch

from mlt_ray.batch import NO_LABEL, Batch


def batch_of(labels: list[int], weights: list[float] | None = None) -> Batch:
    size = len(labels)
    return Batch(
        utterances=torch.arange(size),
        labels=torch.tensor(labels),
        frames=torch.zeros(size, 2, 3),
        num_frames=torch.full((size,), 2),
        words=torch.zeros(size, 1, dtype=torch.int64),
        num_words=torch.ones(size, dtype=torch.int64),
        phonemes=torch.zeros(size, 1, 5, dtype=torch.int64),
        weights=None if weights is None else torch.tensor(weights),
    )


LOSSES = torch.tensor([2.0, 4.0, 64.0, 3.0])


def test_every_utterance_with_a_label_counts_once_without_weights() -> None:
    assert float(batch_of([0, 1, NO_LABEL, 1]).mean_loss(LOSSES)) == (2 + 4 + 3) / 3


def test_a_loss_counts_as_often_as_its_weight_and_the_mean_stays_one_over_utterances() -> None:
    batch = batch_of([0, 1, NO_LABEL, 1], [4.0, 0.25, 7.0, 1.0])
    assert float(batch.mean_loss(LOSSES)) == (4 * 2 + 0.25 * 4 + 1 * 3) / 3


def test_a_loss_that_is_not_finite_does_not_count_without_a_label() -> None:
    losses = torch.tensor([2.0, torch.nan])
    assert float(batch_of([0, NO_LABEL], [3.0, 1.0]).mean_loss(losses)) == 6.0


def test_weights_move_to_another_device_with_their_batch() -> None:
    moved = batch_of([0, 1], [3.0, 0.5]).to(torch.device("meta"))
    assert moved.weights is not None
    assert moved.weights.device.type == "meta"
    assert batch_of([0, 1]).to(torch.device("meta")).weights is None
