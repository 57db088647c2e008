"""Adam and clipping, of a run and over a run axis, against torch's own."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlt_ray.spec import TrainingSpec
from mlt_ray.training.adam import Adam, Coefficients, PackAdam, clip

NUM_RUNS, NUM_WEIGHTS, NUM_STEPS = 3, 11, 7
TAKEN = np.asarray([[1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0, 1], [0, 0, 1, 1, 1, 0, 0]]).T > 0
SPEC = TrainingSpec(learning_rate=0.03)


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def alone(start: Tensor, gradients: Tensor, taken: np.ndarray, spec: TrainingSpec) -> list[Tensor]:
    """A run's weights after every step, by torch."""
    weights = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([weights], spec.learning_rate, weight_decay=spec.weight_decay)
    history = []
    for gradient, takes in zip(gradients, taken, strict=True):
        weights.grad = gradient.clone()
        if spec.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([weights], spec.clip_norm)
        if spec.clip_value is not None:
            torch.nn.utils.clip_grad_value_([weights], spec.clip_value)
        if takes:
            optimiser.step()
        history.append(weights.detach().clone())
    return history


def weights_of(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(n, 3, generator=generator)) for n in (5, 1, 2)]


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, weight_decay=0.1)])
def test_a_run_is_optimised_as_by_torch_to_the_bit(spec: TrainingSpec) -> None:
    ours, theirs = weights_of(1), weights_of(1)
    optimiser = Adam(ours, spec)
    expected = torch.optim.Adam(
        theirs, spec.learning_rate, weight_decay=spec.weight_decay, fused=True
    )
    for number in range(NUM_STEPS):
        if number == 3:
            # A process ends, and the next one goes on from what it left.
            left = optimiser.state()
            optimiser = Adam(ours, spec)
            optimiser.load_state(left)
        for one, other, gradient in zip(ours, theirs, weights_of(10 + number), strict=True):
            # The last weight is out of use at times.
            used = number % 2 == 0 or len(one) != 2
            one.grad = gradient.detach().clone() if used else None
            other.grad = gradient.detach().clone() if used else None
        optimiser.step()
        expected.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert optimiser.steps == NUM_STEPS
    optimiser.zero_grad()
    assert all(weight.grad is None for weight in ours)


def test_a_step_loads_no_compiler() -> None:
    code = (
        "import sys, torch; from mlt_ray.spec import TrainingSpec\n"
        "from mlt_ray.training.adam import Adam\n"
        "weight = torch.nn.Parameter(torch.ones(2)); adam = Adam([weight], TrainingSpec())\n"
        "weight.sum().backward(); adam.step(); print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, weight_decay=0.1),
        replace(SPEC, clip_norm=2.0),
        replace(SPEC, clip_value=0.5),
        replace(SPEC, clip_norm=2.0, clip_value=0.5),
    ],
)
def test_every_run_is_optimised_as_by_torch_and_left_alone_where_it_sits_out(
    spec: TrainingSpec,
) -> None:
    start, gradients = random(NUM_RUNS, NUM_WEIGHTS), random(NUM_STEPS, NUM_RUNS, NUM_WEIGHTS)
    adam = PackAdam(start.clone(), spec)
    # An epoch of three steps, then one of four.
    for steps in (slice(0, 3), slice(3, NUM_STEPS)):
        done = TAKEN[: steps.start].sum(axis=0)
        by = Coefficients(spec, TAKEN[steps], done).to(adam.weights)
        for number, gradient in enumerate(gradients[steps]):
            before = [t.clone() for t in adam.tensors]
            adam.step(clip(gradient, spec), {name: c[number] for name, c in by.items()})
            for old, new in zip(before, adam.tensors, strict=True):
                out = torch.as_tensor(~TAKEN[steps][number])
                assert torch.equal(old[out], new[out])
    for run in range(NUM_RUNS):
        expected = alone(start[run], gradients[:, run], TAKEN[:, run], spec)[-1]
        torch.testing.assert_close(adam.weights[run], expected, rtol=1e-12, atol=1e-12)


def test_clipping_is_done_for_each_run_by_itself() -> None:
    gradient = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    clipped = clip(gradient, replace(SPEC, clip_norm=1.0))
    torch.testing.assert_close(clipped, torch.tensor([[0.6, 0.8], [0.3, 0.4]]), rtol=1e-5, atol=0)
