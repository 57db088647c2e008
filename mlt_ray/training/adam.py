"""Adam for one run's weights, and over a run axis, where each run has its own number of steps.

Shapes: R runs, P weights of a run, S steps.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from mlt_ray.spec import TrainingSpec

BETAS, EPS = (0.9, 0.999), 1e-8
"""The defaults of `torch.optim.Adam`."""


class Adam:
    """The optimiser of one run's weights: that of torch, fused.

    By torch's functional form: the class of torch imports torch's compiler for what it decorates,
    which takes every worker a second.
    """

    def __init__(self, weights: Iterable[nn.Parameter], spec: TrainingSpec) -> None:
        self._spec = spec
        self.weights = list(weights)
        self.means = [torch.zeros_like(w) for w in self.weights]
        self.squares = [torch.zeros_like(w) for w in self.weights]
        self._steps = [torch.zeros((), device=w.device) for w in self.weights]

    @property
    def steps(self) -> int:
        """Steps taken."""
        return int(self._steps[0])

    @steps.setter
    def steps(self, number: int) -> None:
        for step in self._steps:
            step.fill_(float(number))

    def zero_grad(self) -> None:
        """Forget the gradient."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step of every weight that has a gradient."""
        everything = zip(self.weights, self.means, self.squares, self._steps, strict=True)
        given = [(w, w.grad, *state) for w, *state in everything if w.grad is not None]
        weights, gradients, means, squares, steps = map(list, zip(*given, strict=True))
        adam(
            weights,
            gradients,
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self._spec.learning_rate,
            weight_decay=self._spec.weight_decay,
            eps=EPS,
            maximize=False,
        )

    def state(self) -> dict[str, list[Tensor]]:
        """Everything that a resumed run needs, for `torch.save`."""
        return {"means": self.means, "squares": self.squares, "steps": self._steps}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Sequence[Tensor]]) -> None:
        """Go on from what `state` returned."""
        for name, own in self.state().items():
            for tensor, saved in zip(own, state[name], strict=True):
                tensor.copy_(saved)


class Coefficients:
    """What Adam's formula multiplies with, for every step of an epoch: (S, R, 1) each.

    A run that sits a step out has coefficients under which nothing changes, so that no step asks
    who takes part.
    """

    def __init__(self, spec: TrainingSpec, taken: np.ndarray, done: np.ndarray) -> None:
        """`taken` is (S, R) bool, `done` the (R,) steps before this epoch."""
        steps = np.maximum(done + taken.cumsum(axis=0), 1)
        (beta1, beta2), share = BETAS, taken.astype(np.float64)
        self._columns = {
            "mean": share * (1 - beta1),
            "decay": 1 - share * (1 - beta2),
            "square": share * (1 - beta2),
            "rescale": 1 / np.sqrt(1 - beta2**steps),
            "minus_rate": -share * spec.learning_rate / (1 - beta1**steps),
        }

    def to(self, like: Tensor) -> dict[str, Tensor]:
        """The coefficients by name, on the device and in the dtype of `like`."""
        return {k: torch.as_tensor(v[..., None]).to(like) for k, v in self._columns.items()}


class PackAdam:
    """The optimiser of (R, P) weights; equals `torch.optim.Adam` on each row."""

    def __init__(self, weights: Tensor, spec: TrainingSpec) -> None:
        self.weights = weights
        self.weight_decay = spec.weight_decay
        self.mean, self.square = torch.zeros_like(weights), torch.zeros_like(weights)

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """The weights and both moments."""
        return self.weights, self.mean, self.square

    @torch.no_grad()
    def step(self, gradient: Tensor, by: Mapping[str, Tensor]) -> None:
        """One step along the (R, P) gradient, which must be finite even where a run sits out.

        `by` holds the step's (R, 1) coefficients.
        """
        if self.weight_decay:
            gradient = gradient + self.weight_decay * self.weights
        self.mean.lerp_(gradient, by["mean"])
        self.square.mul_(by["decay"]).addcmul_(gradient * by["square"], gradient)
        size = self.square.sqrt().mul_(by["rescale"]).add_(EPS)
        self.weights.addcmul_(self.mean / size, by["minus_rate"])


def clip(gradient: Tensor, spec: TrainingSpec) -> Tensor:
    """The (R, P) gradient, each run's clipped as `torch.nn.utils` clips it, norm before value."""
    if spec.clip_norm is not None:
        norms = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        gradient = gradient * (spec.clip_norm / (norms + 1e-6)).clamp(max=1.0)
    if spec.clip_value is not None:
        gradient = gradient.clamp(-spec.clip_value, spec.clip_value)
    return gradient
