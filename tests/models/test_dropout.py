"""Keyed dropout: rates and independence of its masks, and that only the keys decide them.

Tolerances are five standard deviations of the figure for independent bits, unless a test says
otherwise. Masks are a fixed function of their keys, so no test can fail by chance.
"""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from mlt_ray.models.dropout import Dropout, least_code, scaled_mask, set_dropout_keys

SIGMAS = 5
SHAPE = (11, 97, 101)
UTTERANCES = torch.arange(11) + 5


def mask(
    shape: tuple[int, ...] = SHAPE,
    utterances: Tensor = UTTERANCES,
    p: float = 0.1,
    parts: tuple[int, ...] = (1, 2, 3),
    site: int = 0,
) -> Tensor:
    """True where the dropout at `site`, one of three, keeps a value."""
    model = nn.Sequential(*(Dropout(p) for _ in range(3)))
    set_dropout_keys(model, utterances, *parts)
    return model[site](torch.ones(shape)) != 0


def assert_independent(a: Tensor, b: Tensor, p: float) -> None:
    """The correlation of two masks is as small as that of independent bits."""
    a, b = (x.flatten().double() - (1 - p) for x in (a, b))
    correlation = float((a * b).mean()) / (p * (1 - p))
    assert abs(correlation) < SIGMAS / math.sqrt(a.numel())


@pytest.mark.parametrize("p", [0.01, 0.1, 0.2, 0.5, 0.9])
def test_the_share_of_dropped_values_is_the_rate(p: float) -> None:
    dropped = ~mask(p=p)
    deviation = math.sqrt(p * (1 - p) / dropped.numel())
    assert abs(float(dropped.double().mean()) - p) < SIGMAS * deviation


@pytest.mark.parametrize("p", [1e-4, 1 - 1e-4])
def test_a_rate_near_its_ends_is_that_rate(p: float) -> None:
    found = ~mask((11, 400, 300), p=p)
    deviation = math.sqrt(p * (1 - p) / found.numel())
    assert abs(float(found.double().mean()) - p) < SIGMAS * deviation


@pytest.mark.parametrize("p", [1e-12, 0.1, 0.5, 1 - 1e-12])
def test_a_rate_is_rounded_to_a_share_of_the_codes_that_is_neither_none_nor_all(p: float) -> None:
    codes = least_code(p) + 2**31
    assert 1 <= codes <= 2**32 - 1
    assert abs(codes / 2**32 - p) <= 2**-32


def test_any_two_channels_are_independent_over_positions() -> None:
    p, width = 0.3, 200
    bits = mask((11, 3000, width), p=p).double().flatten(0, 1) - (1 - p)
    correlations = bits.T @ bits / (len(bits) * p * (1 - p))
    worst = (correlations - torch.diag(correlations.diag())).abs().max()
    # Of 20,000 pairs, one in 200 tries has a pair beyond 5.5 standard deviations.
    assert float(worst) < 5.5 / math.sqrt(len(bits))


def test_any_two_positions_are_independent_over_channels() -> None:
    p, length = 0.3, 200
    bits = mask((1, length, 30_000), UTTERANCES[:1], p=p)[0].double() - (1 - p)
    correlations = bits @ bits.T / (bits.shape[1] * p * (1 - p))
    worst = (correlations - torch.diag(correlations.diag())).abs().max()
    assert float(worst) < 5.5 / math.sqrt(bits.shape[1])


def test_the_values_of_two_positions_and_two_channels_are_independent() -> None:
    """Their codes are products, so that three of the four decide the last."""
    bits = mask((11, 1000, 300), p=0.5).double() * 2 - 1
    cycles = bits[:, 0::2] * bits[:, 1::2]
    cycles = cycles[..., 0::2] * cycles[..., 1::2]
    assert abs(float(cycles.mean())) < SIGMAS / math.sqrt(cycles.numel())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_utterance_position_and_channel_is_dropped_at_the_rate(axis: int) -> None:
    p = 0.2
    others = [a for a in range(3) if a != axis]
    shares = (~mask(p=p)).double().mean(dim=others)
    deviation = math.sqrt(p * (1 - p) / math.prod(SHAPE[a] for a in others))
    assert float((shares - p).abs().max()) < SIGMAS * deviation


def test_kept_values_are_scaled_and_the_others_are_zero() -> None:
    dropout = Dropout(0.2)
    set_dropout_keys(dropout, UTTERANCES, 1)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    output = dropout(x)
    kept = output != 0
    factors = scaled_mask(dropout.positions(x), x.shape[-1], 0.2)
    assert set(factors.unique().tolist()) == {0.0, factors.max().item()}
    assert torch.equal(output, x * factors)
    torch.testing.assert_close(output[kept], x[kept] / 0.8)


def test_padding_does_not_change_a_mask() -> None:
    longer = mask((11, 131, 101))
    assert torch.equal(longer[:, :97], mask())
    wider = mask((11, 97, 127))
    assert torch.equal(wider[..., :101], mask())


@pytest.mark.parametrize("longer", [(11, 13), (300, 301)])
def test_padding_does_not_change_a_mask_of_attention(longer: tuple[int, int]) -> None:
    short, long = mask((3, 2, 5, 7), UTTERANCES[:3]), mask((3, 2, *longer), UTTERANCES[:3])
    assert torch.equal(long[:, :, :5, :7], short)


def test_batch_order_does_not_change_masks() -> None:
    order = torch.tensor([3, 10, 0, 7, 1, 9, 2, 8, 4, 6, 5])
    assert torch.equal(mask(utterances=UTTERANCES[order]), mask()[order])


def test_batch_mates_do_not_change_a_mask() -> None:
    alone = mask((1, *SHAPE[1:]), UTTERANCES[4:5])
    assert torch.equal(alone[0], mask()[4])


def test_the_same_step_gives_the_same_mask_again() -> None:
    assert torch.equal(mask(), mask())


@pytest.mark.parametrize(
    "parts", [(1, 2, 4), (1, 3, 3), (2, 2, 3), (2, 1, 3), (3, 2, 1), (12, 3), (1, 2, 3, 0)]
)
def test_masks_of_other_runs_and_steps_are_independent(parts: tuple[int, ...]) -> None:
    assert_independent(mask(p=0.3), mask(p=0.3, parts=parts), 0.3)


def test_masks_of_the_places_in_a_model_are_independent() -> None:
    for a, b in itertools.combinations(range(3), 2):
        assert_independent(mask(p=0.3, site=a), mask(p=0.3, site=b), 0.3)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_are_independent(axis: int, lag: int) -> None:
    if lag >= SHAPE[axis]:
        lag = SHAPE[axis] - 1
    bits = mask(p=0.3)
    size = SHAPE[axis] - lag
    assert_independent(bits.narrow(axis, 0, size), bits.narrow(axis, lag, size), 0.3)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_neighbours_in_attention_are_independent(axis: int) -> None:
    bits = mask((11, 5, 61, 67), p=0.3)
    size = bits.shape[axis] - 1
    assert_independent(bits.narrow(axis, 0, size), bits.narrow(axis, 1, size), 0.3)


def test_the_order_of_time_and_channel_matters() -> None:
    bits = mask((11, 101, 101), p=0.3)
    above = torch.triu(torch.ones(101, 101), diagonal=1).bool()
    assert_independent(bits[:, above], bits.transpose(1, 2)[:, above], 0.3)


def test_the_gradient_passes_where_values_do() -> None:
    dropout = Dropout(0.2)
    set_dropout_keys(dropout, UTTERANCES, 1)
    x = torch.ones(SHAPE, requires_grad=True)
    output = dropout(x)
    output.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, (output != 0) / 0.8)


def test_evaluation_changes_nothing() -> None:
    dropout = Dropout(0.5).eval()
    x = torch.randn(2, 3, 5)
    assert torch.equal(dropout(x), x)


def test_a_rate_of_zero_changes_nothing_and_needs_no_keys() -> None:
    x = torch.randn(2, 3, 5)
    assert torch.equal(Dropout(0.0)(x), x)


def test_training_without_keys_is_refused() -> None:
    with pytest.raises(RuntimeError, match="set_dropout_keys"):
        Dropout(0.1)(torch.ones(2, 3))


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5])
def test_a_rate_outside_zero_to_one_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=f"got {p}"):
        Dropout(p)
