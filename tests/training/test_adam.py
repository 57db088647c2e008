"""Adam and clipping, of a run and over a run axis, against torch's own."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mlt_ray.spec import TrainingSpec
from mlt_ray.training.adam import Adam, clip
from mlt_ray.training.packs.adam import PackAdam

NUM_RUNS, NUM_STEPS = 3, 7
TAKEN = np.asarray([[1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0, 1], [0, 0, 1, 1, 1, 0, 0]]).T > 0
SPEC = TrainingSpec(learning_rate=0.03)


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
            # In some steps the last weight has no gradient.
            used = number % 2 == 0 or len(one) != 2
            one.grad = gradient.detach().clone() if used else None
            other.grad = gradient.detach().clone() if used else None
        optimiser.step()
        expected.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert optimiser.steps == NUM_STEPS
    optimiser.zero_grad()
    assert all(weight.grad is None for weight in ours)


@pytest.mark.parametrize("warmup_steps", [0, 4])
def test_an_encoder_has_a_rate_of_its_own_and_rates_rise_over_the_first_steps(
    warmup_steps: int,
) -> None:
    ours, theirs = weights_of(1), weights_of(1)
    spec = replace(SPEC, encoder_learning_rate=0.002, warmup_steps=warmup_steps)
    optimiser = Adam(ours, spec, pretrained=ours[:2])
    groups = [{"params": theirs[:2], "lr": 0.002}, {"params": theirs[2:], "lr": 0.03}]
    expected = torch.optim.Adam(groups, fused=True)
    rise = torch.optim.lr_scheduler.LambdaLR(
        expected, lambda taken: min(1.0, (taken + 1) / max(1, warmup_steps))
    )
    for number in range(NUM_STEPS):
        if number == 2:  # a process ends in the middle of it
            left = optimiser.state()
            optimiser = Adam(ours, spec, pretrained=ours[:2])
            optimiser.load_state(left)
        for one, other, gradient in zip(ours, theirs, weights_of(10 + number), strict=True):
            one.grad, other.grad = gradient.detach().clone(), gradient.detach().clone()
        optimiser.step()
        expected.step()
        rise.step()
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


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
    starts = [weights_of(run) for run in range(NUM_RUNS)]
    adam = PackAdam(
        [torch.stack([w.detach() for w in ws]) for ws in zip(*starts, strict=True)], spec
    )
    optimisers = [
        torch.optim.Adam(ws, spec.learning_rate, weight_decay=spec.weight_decay, fused=True)
        for ws in starts
    ]
    for number, taken in enumerate(TAKEN):
        runs = np.flatnonzero(taken).tolist()
        gradients = [weights_of(10 * number + run + 3) for run in range(NUM_RUNS)]
        stacked = [torch.stack([g.detach() for g in gs]) for gs in zip(*gradients, strict=True)]
        adam.step(clip(stacked, spec), runs)
        for run in runs:
            for weight, gradient in zip(starts[run], gradients[run], strict=True):
                weight.grad = gradient.detach().clone()
            if spec.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(starts[run], spec.clip_norm)
            if spec.clip_value is not None:
                torch.nn.utils.clip_grad_value_(starts[run], spec.clip_value)
            optimisers[run].step()
        for run in range(NUM_RUNS):
            for whole, alone in zip(adam.weights, starts[run], strict=True):
                # A norm is summed in another order; the rest is the same to the bit.
                tolerance = 0.0 if spec.clip_norm is None else 1e-6
                torch.testing.assert_close(
                    whole[run], alone.detach(), rtol=tolerance, atol=tolerance
                )
    assert adam.steps.tolist() == TAKEN.sum(axis=0).tolist()


def test_clipping_is_done_for_each_run_by_itself_over_all_its_weights() -> None:
    gradients = [torch.tensor([[3.0], [0.3]]), torch.tensor([[[4.0]], [[0.4]]])]
    clipped = clip(gradients, replace(SPEC, clip_norm=1.0))
    torch.testing.assert_close(clipped[0], torch.tensor([[0.6], [0.3]]), rtol=1e-5, atol=0)
    torch.testing.assert_close(clipped[1], torch.tensor([[[0.8]], [[0.4]]]), rtol=1e-5, atol=0)
