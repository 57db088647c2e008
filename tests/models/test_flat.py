"""Layers across runs against torch's own layers, run by run."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from mlt_ray.models.convolution import Conv1d
from mlt_ray.models.flat import FLAT

NUM_RUNS, BATCH, LENGTH, INPUTS = 3, 5, 7, 11


def numbers() -> Tensor:
    return torch.randn(NUM_RUNS, BATCH, INPUTS, LENGTH, generator=torch.Generator().manual_seed(1))


def ids() -> Tensor:
    return torch.arange(NUM_RUNS * BATCH * LENGTH).view(NUM_RUNS, BATCH, LENGTH) % 13


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (lambda: nn.Linear(LENGTH, 17), numbers()),
        (lambda: nn.Linear(LENGTH, 17), numbers()[:, :, 0]),
        (lambda: nn.Linear(INPUTS, 17), numbers().transpose(2, 3)),
        (lambda: Conv1d(INPUTS, 17, 1, padding="same"), numbers()),
        (lambda: Conv1d(INPUTS, 17, 3, padding="same"), numbers()),
        (lambda: Conv1d(INPUTS, 17, 4, padding="same"), numbers()),
        (lambda: Conv1d(INPUTS, 17, 9, padding="same"), numbers()),
        (lambda: nn.Embedding(13, 17), ids()),
        (lambda: nn.Embedding(13, 17, padding_idx=0), ids()),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding:UserWarning")
def test_a_layer_of_many_runs_gives_what_torch_gives_for_each(make, x: Tensor) -> None:
    torch.manual_seed(2)
    layers = [make() for _ in range(NUM_RUNS)]
    expected = torch.stack([layer(part) for layer, part in zip(layers, x, strict=True)])
    expected.square().sum().backward()

    weights, _ = stack_module_state(layers)
    skeleton = make().to("meta")
    skeleton.__class__ = FLAT[type(skeleton)]
    found = torch.vmap(lambda own, part: functional_call(skeleton, own, (part,)))(weights, x)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    for name, weight in weights.items():
        gradients = torch.stack([layer.get_parameter(name).grad for layer in layers])
        torch.testing.assert_close(weight.grad, gradients, rtol=1e-5, atol=1e-4)
