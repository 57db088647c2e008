"""Adam for the weights of a pack, where each run has its own number of steps.

Shapes: R runs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mlt_ray.spec import TrainingSpec
from mlt_ray.training.adam import fused_step


class PackAdam:
    """The optimiser of the weights of R runs; equals `Adam` on the weights of each, to the bit.

    Each of `weights` is (R, …), and so are its moments, `means` and `squares`. `steps` (R,) are the
    steps that each run has taken.
    """

    def __init__(self, weights: Sequence[Tensor], spec: TrainingSpec) -> None:
        self._spec = spec
        self.weights = list(weights)
        self.means = [torch.zeros_like(w) for w in self.weights]
        self.squares = [torch.zeros_like(w) for w in self.weights]
        self.steps = torch.zeros(len(weights[0]), device=weights[0].device)
        self._rows = [by_run(x) for x in (self.weights, self.means, self.squares)]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], runs: Sequence[int]) -> None:
        """Take one step of `runs` with their rows of (R, …) gradients; other runs do not change."""
        # The fused step walks through memory and ignores strides, so gradients must be contiguous.
        rows = by_run([gradient.contiguous() for gradient in gradients])
        given = [self._rows[0], rows, *self._rows[1:]]
        counts = self.steps.unbind()
        torch._foreach_add_([counts[n] for n in runs], 1)
        steps = [counts[n] for n in runs for _ in self.weights]
        weights, grads, means, squares = ([t for n in runs for t in x[n]] for x in given)
        rate = self._spec.learning_rate
        fused_step(weights, grads, means, squares, steps, self._spec, rate)


def by_run(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """For each run, its rows of the (R, …) tensors."""
    return list(map(list, zip(*(x.unbind() for x in tensors), strict=True)))
