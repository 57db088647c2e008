"""Adam for the weights of one run, and gradient clipping for the weights of several.

Shapes: R runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mlt_ray.spec import TrainingSpec

BETAS, EPS = (0.9, 0.999), 1e-8
"""The defaults of `torch.optim.Adam`."""


class Adam:
    """The optimiser of one run's weights; equals `torch.optim.Adam` with ``fused``, to the bit.

    It calls the same fused step. Torch's class would import torch's compiler, which takes a second
    in every worker, and keep the step count of each weight in a tensor of its own.
    """

    def __init__(self, weights: Iterable[nn.Parameter], spec: TrainingSpec) -> None:
        self._spec = spec
        self.weights = list(weights)
        self.means = [torch.zeros_like(w) for w in self.weights]
        self.squares = [torch.zeros_like(w) for w in self.weights]
        self._steps = torch.zeros(len(self.weights), device=self.weights[0].device)

    @property
    def steps(self) -> int:
        """Steps taken."""
        return int(self._steps[0])

    @steps.setter
    def steps(self, number: int) -> None:
        self._steps.fill_(float(number))

    def zero_grad(self) -> None:
        """Remove the gradients."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take one step with every weight that has a gradient."""
        everything = zip(self.weights, self.means, self.squares, self._steps.unbind(), strict=True)
        given = [(w, w.grad, *state) for w, *state in everything if w.grad is not None]
        weights, gradients, means, squares, steps = map(list, zip(*given, strict=True))
        if len(given) == len(self.weights):
            self._steps.add_(1)
        else:
            torch._foreach_add_(steps, 1)
        fused_step(weights, gradients, means, squares, steps, self._spec)

    def state(self) -> dict[str, Any]:
        """The state that a resumed run needs, for `torch.save`."""
        return {"means": self.means, "squares": self.squares, "steps": self._steps}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name, own in self.state().items():
            for tensor, saved in zip(own, state[name], strict=True):
                tensor.copy_(saved)


def fused_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    spec: TrainingSpec,
) -> None:
    """Torch's fused step of Adam, in place. `steps` already count this step."""
    torch._fused_adam_(
        weights,
        gradients,
        means,
        squares,
        [],
        steps,
        lr=spec.learning_rate,
        beta1=BETAS[0],
        beta2=BETAS[1],
        weight_decay=spec.weight_decay,
        eps=EPS,
        amsgrad=False,
        maximize=False,
    )


def clip(gradients: Sequence[Tensor], spec: TrainingSpec) -> Sequence[Tensor]:
    """(R, …) gradients of R runs, each run's clipped as by `torch.nn.utils`: norm, then value."""
    if spec.clip_norm is not None:
        flat = (gradient.reshape(len(gradient), -1) for gradient in gradients)
        norms = torch.stack([torch.linalg.vector_norm(x, dim=1) for x in flat])
        norm = torch.linalg.vector_norm(norms, dim=0)
        factor = (spec.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        gradients = [g * factor.view(-1, *(1 for _ in g.shape[1:])) for g in gradients]
    if spec.clip_value is not None:
        gradients = [g.clamp(-spec.clip_value, spec.clip_value) for g in gradients]
    return gradients
