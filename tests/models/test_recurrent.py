"""The recurrent layer against torch's own, packed; and its gradients."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mlt_ray.batch import real
from mlt_ray.models.recurrent import Recurrent, last_states, reversed_each

B, T, C, H = 5, 11, 7, 3
LENGTHS = torch.tensor([11, 1, 3, 7, 5])
KINDS = {"lstm": nn.LSTM, "gru": nn.GRU}


def copied(ours: Recurrent, cell: str) -> nn.RNNBase:
    """Torch's layer with our weights."""
    theirs = KINDS[cell](C, H, batch_first=True, bidirectional=ours.back is not None)
    weights = dict(ours.ahead.state_dict())
    if ours.back is not None:
        weights |= {f"{n}_reverse": p for n, p in ours.back.state_dict().items()}
    theirs.load_state_dict(weights)
    return theirs


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_states_are_those_of_torch_for_packed_sequences(cell, bidirectional):
    torch.manual_seed(23)
    ours = Recurrent(cell, C, H, bidirectional)
    theirs = copied(ours, cell)
    x = torch.randn(B, T, C, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    packed = pack_padded_sequence(y, LENGTHS, batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(theirs(packed)[0], batch_first=True)[0]
    mask = real(LENGTHS, T)
    states = ours(x, LENGTHS)
    assert states.shape == (B, T, ours.width) == (B, T, H * (2 if bidirectional else 1))
    torch.testing.assert_close(states[mask], expected[mask])
    weights = torch.randn(int(LENGTHS.sum()), ours.width)
    (states[mask] * weights).sum().backward()
    (expected[mask] * weights).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_a_sequence_is_turned_round_within_its_length():
    x = torch.arange(B * T * 2.0).reshape(B, T, 2)
    turned = reversed_each(x, LENGTHS)
    for n, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(turned[n, :length], x[n, :length].flip(0))
        torch.testing.assert_close(turned[n, length:], x[n, length:])
    torch.testing.assert_close(reversed_each(turned, LENGTHS), x)


def test_the_last_state_is_that_of_the_last_real_position():
    x = torch.randn(B, T, C)
    expected = torch.stack([x[n, length - 1] for n, length in enumerate(LENGTHS)])
    assert torch.equal(last_states(x, LENGTHS), expected)


def test_gradients_are_the_same_bits_again():
    torch.use_deterministic_algorithms(True)
    try:
        grads = []
        for _ in range(2):
            torch.manual_seed(0)
            layer = Recurrent("lstm", C, H, bidirectional=True)
            layer(torch.randn(B, T, C), LENGTHS).square().sum().backward()
            grads.append([p.grad for p in layer.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
