"""An epoch holds every utterance once, in batches of similar length, in random order."""

import itertools

import numpy as np
import pytest

from mlt_ray.features.batch_order import step_order, training_batches
from mlt_ray.spec import TrainingSpec


@pytest.mark.parametrize(("num", "batch_size", "bucket"), [(101, 4, 5), (7, 11, 3), (24, 4, 2)])
def test_an_epoch_holds_every_utterance_once(num: int, batch_size: int, bucket: int) -> None:
    indices = np.arange(num) * 3 + 1
    lengths = np.random.default_rng(1).integers(1, 100, indices.max() + 1)
    batches = training_batches(indices, lengths, batch_size, bucket, np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == indices.tolist()
    sizes = sorted(len(b) for b in batches)
    assert len(batches) == -(-num // batch_size)
    assert sizes[1:] == [batch_size] * (len(batches) - 1)


def test_a_bucket_is_sorted_by_length_before_it_is_cut() -> None:
    num, batch_size, bucket = 103, 4, 5
    lengths = np.random.default_rng(1).permutation(num)
    batches = training_batches(
        np.arange(num), lengths, batch_size, bucket, np.random.default_rng(0)
    )
    assert all((np.diff(lengths[b]) > 0).all() for b in batches)
    shuffled = np.random.default_rng(0).permutation(num)
    size = batch_size * bucket
    expected = set()
    for start in range(0, num, size):
        ordered = sorted(shuffled[start : start + size].tolist(), key=lambda i: lengths[i])
        pieces = range(0, len(ordered), batch_size)
        expected |= {tuple(ordered[i : i + batch_size]) for i in pieces}
    assert {tuple(b.tolist()) for b in batches} == expected


def test_the_order_is_a_function_of_the_generator() -> None:
    indices, lengths = np.arange(101), np.random.default_rng(1).integers(1, 100, 101)

    def order(seed: int) -> list[list[int]]:
        rng = np.random.default_rng(seed)
        return [b.tolist() for b in training_batches(indices, lengths, 4, 3, rng)]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_the_longest_batches_come_first() -> None:
    lengths = np.random.default_rng(1).integers(1, 1000, 640)
    batches = training_batches(np.arange(640), lengths, 4, 16, np.random.default_rng(0))
    longest = [int(lengths[batch].max()) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_a_bucket_is_at_most_half_of_all_so_that_no_epoch_repeats_its_batches() -> None:
    lengths, seen = np.arange(40), set()
    for seed in range(20):
        batches = training_batches(np.arange(40), lengths, 4, 100, np.random.default_rng(seed))
        seen |= {tuple(batch.tolist()) for batch in batches}
    assert len(seen) > 150


def test_utterances_meet_unless_they_are_the_shortest_and_the_longest() -> None:
    lengths, met = np.arange(12), set()
    for seed in range(1500):
        for batch in training_batches(np.arange(12), lengths, 2, 2, np.random.default_rng(seed)):
            met.add(tuple(batch.tolist()))
    # Two of a bucket of four form a batch if the other two are both shorter or both longer.
    pairs = itertools.combinations(range(12), 2)
    assert met == {(a, b) for a, b in pairs if a >= 2 or b <= 9}


def test_an_epoch_takes_every_batch_once_in_an_order_of_its_own() -> None:
    orders = [step_order(101, epoch).tolist() for epoch in range(30)]
    assert all(sorted(order) == list(range(101)) for order in orders)
    assert len({tuple(order) for order in orders}) == 30
    # The longest batch comes early in some epochs and late in others.
    first = np.asarray([order.index(0) for order in orders])
    assert first.min() < 25
    assert first.max() > 75


@pytest.mark.parametrize("fewer", [1, 57, 100])
def test_the_order_of_fewer_batches_is_that_of_more_without_the_places_they_lack(
    fewer: int,
) -> None:
    more = step_order(101, 7)
    assert step_order(fewer, 7).tolist() == more[more < fewer].tolist()


def test_runs_beside_one_another_compute_little_padding() -> None:
    """With lengths distributed as in speech: batches of one run, and fifteen runs per step."""
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.lognormal(5.73, 0.59, 3300), 60, 4500).astype(int)
    runs = [
        training_batches(np.arange(num), lengths, 4, TrainingSpec().bucket_batches, rng)
        for num in (3300, 3139, 3200) * 5
    ]
    real = sum(int(lengths[batch].sum()) for run in runs for batch in run)
    alone = sum(len(batch) * int(lengths[batch].max()) for run in runs for batch in run)
    steps = [[run[n] for run in runs if n < len(run)] for n in range(len(runs[0]))]
    padded = sum(4 * len(runs) * max(int(lengths[b].max()) for b in step) for step in steps)
    assert real / alone > 0.9
    assert real / padded > 0.9
