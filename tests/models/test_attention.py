"""The weights of attention, which an explanation shows, against those of torch."""

import pytest
import torch
from torch import nn

from mlt_ray.batch import real
from mlt_ray.models.attention import FEW_KEYS, Attention

CLOSE = {"rtol": 1e-5, "atol": 1e-6}

B, T, S, HEADS, WIDTH = 5, 7, 11, 3, 39
LENGTHS = torch.tensor([2, 11, 1, 7, 5])


@pytest.fixture
def ours() -> Attention:
    torch.manual_seed(23)
    return Attention(WIDTH, HEADS, dropout=0.5).eval()


def torchs(ours: Attention) -> nn.MultiheadAttention:
    """Torch's module with the same weights."""
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
    return theirs


@pytest.mark.parametrize("steps", [S, FEW_KEYS + 1])
def test_the_weights_equal_those_of_torch(ours: Attention, steps: int) -> None:
    x, memory, mask = torch.randn(B, T, WIDTH), torch.randn(B, steps, WIDTH), real(LENGTHS, steps)
    _, expected = torchs(ours)(
        x, memory, memory, key_padding_mask=~mask, need_weights=True, average_attn_weights=False
    )
    torch.testing.assert_close(ours.weights(x, memory, mask), expected, **CLOSE)


def test_causal_weights_equal_those_of_torch(ours: Attention) -> None:
    x, mask = torch.randn(B, S, WIDTH), real(LENGTHS, S)
    later = torch.ones(S, S, dtype=torch.bool).triu(1)
    _, expected = torchs(ours)(
        x, x, x, key_padding_mask=~mask, attn_mask=later, average_attn_weights=False
    )
    torch.testing.assert_close(ours.weights(x, x, mask, causal=True), expected, **CLOSE)


def test_weights_sum_to_one_and_padding_has_none(ours: Attention) -> None:
    mask = real(LENGTHS, S)
    weights = ours.weights(torch.randn(B, T, WIDTH), torch.randn(B, S, WIDTH), mask)
    assert weights.shape == (B, HEADS, T, S)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, HEADS, T), **CLOSE)
    assert (weights.masked_select(~mask[:, None, None]) == 0).all()


def test_the_output_is_the_mean_that_the_weights_say(ours: Attention) -> None:
    x, memory, mask = torch.randn(B, T, WIDTH), torch.randn(B, S, WIDTH), real(LENGTHS, S)
    values = ours.key_value(memory)[..., WIDTH:].unflatten(-1, (HEADS, -1)).transpose(1, 2)
    mixed = ours.weights(x, memory, mask) @ values
    expected = ours.output(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(ours(x, memory, mask), expected, **CLOSE)
