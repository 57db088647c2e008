"""The convolution that a GPU computes as a matrix product, against torch's own."""

import warnings

import pytest
import torch
from torch import nn

from mlt_ray.models.convolution import Conv1d

BATCH, INPUTS, OUTPUTS, LENGTH = 5, 11, 17, 13


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.filterwarnings("ignore:Using padding:UserWarning")
def test_the_matrix_product_is_torchs_convolution(kernel: int, padding: str) -> None:
    torch.manual_seed(2)
    ours = Conv1d(INPUTS, OUTPUTS, kernel, padding=padding)
    theirs = nn.Conv1d(INPUTS, OUTPUTS, kernel, padding=padding)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(BATCH, INPUTS, LENGTH, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    expected, found = theirs(x), ours.as_product(y)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    torch.testing.assert_close(y.grad, x.grad, rtol=1e-5, atol=1e-5)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kernel", [2, 3, 4, 9])
def test_a_cpu_computes_it_as_torch_does_to_the_bit_and_without_a_warning(kernel: int) -> None:
    torch.manual_seed(3)
    ours = Conv1d(INPUTS, OUTPUTS, kernel, padding="same")
    theirs = nn.Conv1d(INPUTS, OUTPUTS, kernel, padding="same")
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(BATCH, INPUTS, LENGTH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ours(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs(x)
    assert torch.equal(found, expected)
