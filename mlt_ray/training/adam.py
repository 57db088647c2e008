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

    `pretrained` are those of the weights that ``encoder_learning_rate`` is for.
    """

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        spec: TrainingSpec,
        pretrained: Iterable[nn.Parameter] = (),
    ) -> None:
        self._spec = spec
        self.weights = list(weights)
        own, slow = spec.learning_rate, spec.encoder_learning_rate or spec.learning_rate
        of_encoder = {id(weight) for weight in pretrained}
        self._rates = [slow if id(w) in of_encoder else own for w in self.weights]
        self.means = [torch.zeros_like(w) for w in self.weights]
        self.squares = [torch.zeros_like(w) for w in self.weights]
        self._steps = torch.zeros(len(self.weights), device=self.weights[0].device)
        # Counted here too, for a warm-up: a GPU would have to be waited for.
        self._taken = 0 if spec.warmup_steps else None

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
        counts = self._steps.unbind()
        state = zip(self.weights, self.means, self.squares, counts, self._rates, strict=True)
        given = [(w, w.grad, m, s, count, r) for w, m, s, count, r in state if w.grad is not None]
        if len(given) == len(self.weights):
            self._steps.add_(1)
        else:
            torch._foreach_add_([count for *_, count, _ in given], 1)
        share = self._warm_up()
        for rate in dict.fromkeys(self._rates):
            of_rate = [(w, g, m, s, count) for w, g, m, s, count, own in given if own == rate]
            if of_rate:
                weights, gradients, means, squares, steps = map(list, zip(*of_rate, strict=True))
                fused_step(weights, gradients, means, squares, steps, self._spec, share * rate)

    def _warm_up(self) -> float:
        """The share of a learning rate for the step that begins: n / N for the n-th of N steps."""
        if self._taken is None:
            return 1.0
        self._taken += 1
        return min(1.0, self._taken / self._spec.warmup_steps)

    def state(self) -> dict[str, Any]:
        """The state that a resumed run needs, for `torch.save`."""
        return {"means": self.means, "squares": self.squares, "steps": self._steps}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name, own in self.state().items():
            for tensor, saved in zip(own, state[name], strict=True):
                tensor.copy_(saved)
        if self._taken is not None:
            self._taken = int(self._steps.max())


def fused_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    spec: TrainingSpec,
    learning_rate: float,
) -> None:
    """Torch's fused step of Adam, in place. `steps` already count this step."""
    torch._fused_adam_(
        weights,
        gradients,
        means,
        squares,
        [],
        steps,
        lr=learning_rate,
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
