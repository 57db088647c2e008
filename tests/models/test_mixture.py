"""The mixture of layers is a weighted mean, alone and for several runs at once."""

import numpy as np
import pytest
import torch
from torch.func import functional_call, stack_module_state

from mlt_ray.models.mixture import LayerMixture

LAYERS = torch.randn(2, 5, 3, 7, generator=torch.Generator().manual_seed(1))
"""Of two utterances and five states, three layers of seven values."""


def mixture(*scores: float) -> LayerMixture:
    made = LayerMixture(len(scores))
    with torch.no_grad():
        made.scores.copy_(torch.tensor(scores))
    return made


def test_at_first_it_is_the_plain_mean() -> None:
    torch.testing.assert_close(LayerMixture(3)(LAYERS), LAYERS.mean(dim=2))


@pytest.mark.parametrize("shape", [(2, 5), (5,), ()])
def test_it_is_the_mean_with_softmax_weights(shape: tuple[int, ...]) -> None:
    layers = LAYERS.flatten(0, 1)[: int(np.prod(shape))].reshape(*shape, 3, 7)
    expected = np.average(layers.numpy(), axis=-2, weights=np.exp([0.5, -1, 2]))
    found = mixture(0.5, -1, 2)(layers)
    np.testing.assert_allclose(found.detach(), expected, atol=1e-6)


def test_several_runs_at_once_have_weights_of_their_own() -> None:
    runs = [mixture(0.5, -1, 2), mixture(3, 0, 1)]
    weights, _ = stack_module_state(runs)
    found = torch.vmap(lambda w, x: functional_call(runs[0], w, (x,)))(weights, LAYERS)
    for one, layers, together in zip(runs, LAYERS, found, strict=True):
        torch.testing.assert_close(together, one(layers))


def test_weights_are_told_by_the_number_of_their_layer() -> None:
    assert mixture(0, 0).details() == {"0": 0.5, "1": 0.5}
    told = mixture(*np.log([1, 3, 4])).details(first_layer=9)
    assert told == {"9": 0.125, "10": 0.375, "11": 0.5}
