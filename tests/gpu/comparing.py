"""Records the losses of training steps, and measures the difference between two trainings."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor

from mlt_ray.errors import RunFailed
from mlt_ray.features.batching import FoldData
from mlt_ray.spec import Run
from mlt_ray.storage.report import PARTS
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.learner import Learner
from mlt_ray.training.loop import deterministic
from mlt_ray.training.precision import products

OTHER_ORDER: Final = 1e-5
"""Tolerance for the median difference of losses if one device sums in another order.

The same as in `tests.training.runs`, which says why weights differ more."""

GROWN: Final = 2e-3
"""Tolerance for the largest difference. Rounding may change the sign of a gradient near zero, and
then Adam moves the weight by a whole learning rate. The largest seen on a CPU was 1.4e-4, of 700
losses."""


class Noted(Learner):
    """A learner that records the mean loss of each step."""

    def __init__(self, run: Run, data: FoldData, device: torch.device) -> None:
        super().__init__(run, data, device)
        self.noted: list[Tensor] = []

    def add_losses(self, total: Tensor, num_utterances: int) -> None:
        """Add the loss as every learner does, and record it."""
        super().add_losses(total, num_utterances)
        self.noted.append(total / num_utterances)


def steps(
    run: Run, data: FoldData, device: torch.device, count: int, recomputes: bool = False
) -> tuple[Tensor, Learner]:
    """Train `count` steps; returns their (count,) losses, on the CPU, and the learner."""
    with deterministic(), products(run.spec.training.precision):
        learner = Noted(run, data, device)
        if recomputes:
            learner.model.save_memory()
        for indices in islice(cycle(learner.order()), count):
            learner.step(indices)
        return torch.stack(learner.noted).cpu(), learner


def relative(one: Sequence[float] | Tensor, other: Sequence[float] | Tensor) -> float:
    """The largest relative difference; infinite if a value is not finite."""
    a, b = (torch.as_tensor(x, dtype=torch.float64) for x in (one, other))
    if not (a.isfinite().all() and b.isfinite().all()):
        return float("inf")
    return float(((a - b).abs() / b.abs().clamp(min=1e-9)).max())


def same_weights(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether all weights are the same to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def finished(results: Sequence[Any]) -> list[FinishedRun]:
    """The results, which must all be of finished runs; raises the error of a failed run."""
    for result in results:
        if isinstance(result, RunFailed):
            raise result
        if not isinstance(result, FinishedRun):
            raise TypeError(f"expected a finished run, got {result!r}")
    return list(results)


def apart(one: Sequence[FinishedRun], other: Sequence[FinishedRun]) -> dict[str, Any]:
    """The difference between two trainings of the same runs.

    ``loss_difference`` and ``median_difference``: largest and median relative difference of the
    training and dev losses of all epochs. ``same_bits``: whether learning curves, weights and
    probabilities are equal to the bit.
    """
    losses: list[float] = []
    probabilities, bits, epochs = 0.0, True, True
    for a, b in zip(one, other, strict=True):
        for name in ("train_loss", "dev_loss"):
            curves = [[getattr(e, name) for e in x.report.curve] for x in (a, b)]
            bits &= curves[0] == curves[1]
            losses += (relative([x], [y]) for x, y in zip(*curves, strict=True))
        epochs &= a.report.best_epoch == b.report.best_epoch
        for part in PARTS:
            pair = [x.predictions[part].probabilities for x in (a, b)]
            probabilities = max(probabilities, float(np.abs(pair[0] - pair[1]).max()))
        bits &= same_weights(*(weights(x) for x in (a, b)))
    return {
        "loss_difference": max(losses),
        "median_difference": statistics.median(losses),
        "probability_difference": probabilities,
        "same_best_epoch": epochs,
        "same_bits": bits and not probabilities,
    }


def agree(figures: Mapping[str, Any]) -> bool:
    """Whether two trainings differ by no more than rounding, from the figures of `apart`."""
    largest, median = figures["loss_difference"], figures["median_difference"]
    return bool(median <= OTHER_ORDER and largest <= GROWN)


def weights(result: FinishedRun) -> dict[str, Tensor]:
    """The stored weights of a finished run."""
    return load(result.weights)
