"""Checks of every system on the device: as on a CPU, reproducible, resumable, at low precision."""

import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from mlt_ray.encoders.text import cls_vectors
from mlt_ray.errors import RunStopped
from mlt_ray.spec import Precision, Run
from mlt_ray.training.checkpoint import Checkpoint
from mlt_ray.training.loop import deterministic, never, train
from tests.gpu.comparing import Noted, apart, finished, relative, same_weights, steps
from tests.gpu.findings import Findings, Outcome
from tests.gpu.inputs import ROW, changed, distinct, networks
from tests.gpu.setting import Setting

CPU: Final = torch.device("cpu")
STEPS: Final = 10
ON_CPU: Final = 1e-3
LESS_PRECISION: Final[Mapping[Precision, float]] = {"tf32": 0.01, "bfloat16": 0.05}
ENCODED: Final = 1e-4

WAITS: Final[Mapping[str, int]] = {"li": 1, "bert": 2, "multigranularity": 2}
"""Allowed waits per step, by system. Li's network asks for the longest word. Transformers asks
whether a mask hides anything, and copies a number to the GPU. Such runs are not packed."""

WAITS_ON_CPU: Final[Mapping[str, int]] = {"li": 1, "bert": 1, "multigranularity": 1, "yoon": 2}
"""The same on a CPU, where nothing is copied, but torch's ``one_hot`` checks its values."""

PAPER_SIZES: Final = f"{ROW} at the paper's sizes"
QUICK: Final = (ROW, "H. Li et al.", "Multi-granularity model", "speech encoder, fine-tuned")
"""Rows of a quick try."""


def row_names() -> tuple[str, ...]:
    """Every row of the studies with distinct runs; the one at the paper's sizes first."""
    return (PAPER_SIZES, *distinct(networks("")[0]))


def rows_to_resume() -> tuple[str, ...]:
    """One row of each system, where it can be packed and where it cannot."""
    specs = networks("")[0]
    found: dict[tuple[str, bool], str] = {}
    for name in distinct(specs):
        found.setdefault((specs[name].model.system, specs[name].model.can_be_packed), name)
    return tuple(found.values())


def run(setting: Setting, findings: Findings) -> None:
    """Run all checks, kind by kind: after a crash, one kind for all rows says more than one row."""
    names = QUICK if setting.quick else row_names()
    for aspect, check in CHECKS.items():
        for name in names:
            if aspect == RESUMED and name not in rows_to_resume():
                continue
            findings.check(
                f"{name}: {aspect}", lambda c=check, n=name: c(setting, run_of(setting, n))
            )
    findings.check("text encoder as on a CPU", lambda: text_encoder(setting))
    for precision in LESS_PRECISION:
        for name in names:
            if setting.is_gpu or on_any_cpu(precision, run_of(setting, name)):
                findings.check(
                    f"{name}: {precision}",
                    lambda n=name, p=precision: less_precise(setting, run_of(setting, n), p),
                )


def on_any_cpu(precision: Precision, run: Run) -> bool:
    """Whether every CPU can train the run in this precision; not all have an LSTM in bfloat16."""
    return precision == "bfloat16" and run.spec.model.can_be_packed


def run_of(setting: Setting, name: str) -> Run:
    """The first run of a row, at small sizes unless the name asks for the paper's."""
    if name == PAPER_SIZES:
        return setting.inputs.rows[ROW][0]
    return setting.inputs.small_rows[name][0]


@functools.cache
def ten_steps(setting: Setting, run: Run) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses and weights of ten steps on the device, which several checks compare with others."""
    losses, learner = steps(run, setting.inputs.fold(run), setting.device, STEPS)
    return losses, learner.model.state_dict()


def as_on_a_cpu(setting: Setting, run: Run) -> Outcome:
    """The losses of ten steps equal those of a CPU; dropout is the same on any device."""
    here, _ = ten_steps(setting, run)
    there, _ = steps(run, setting.inputs.fold(run), CPU, STEPS)
    difference = relative(here, there)
    return Outcome(
        ok=difference <= ON_CPU,
        figures={
            "loss_difference": difference,
            "first_loss_difference": relative(here[:1], there[:1]),
            "losses": [round(float(x), 4) for x in here],
        },
        tolerance=ON_CPU,
    )


def same_bits_twice(setting: Setting, run: Run) -> Outcome:
    """Ten steps, taken twice, give the same losses and weights."""
    data = setting.inputs.fold(run)
    (one, first), (other, second) = (
        ten_steps(setting, run),
        steps(run, data, setting.device, STEPS),
    )
    losses = torch.equal(one, other)
    weights = same_weights(first, second.model.state_dict())
    return Outcome(
        ok=losses and weights, figures={"losses_are_equal": losses, "weights_are_equal": weights}
    )


def nothing_waits(setting: Setting, run: Run) -> Outcome:
    """The third step makes the host wait for the device no more often than `WAITS` allows."""
    with deterministic():
        learner = Noted(run, setting.inputs.fold(run), setting.device)
        order = learner.order()
        for indices in order[:2]:
            learner.step(indices)
        with setting.watching() as waits:
            learner.step(order[2])
    known = (WAITS if setting.is_gpu else WAITS_ON_CPU).get(run.spec.model.system, 0)
    return Outcome(
        ok=waits.total() <= known,
        figures={"waits": waits.total(), "known": known, "places": dict(waits)},
    )


def resumed(setting: Setting, run: Run) -> Outcome:
    """A run that stops after an epoch and goes on gives the bits of one that never stopped."""
    return resumed_equals_uninterrupted(setting, [run])


def resumed_equals_uninterrupted(setting: Setting, runs: list[Run]) -> Outcome:
    """Runs that stop after an epoch and go on give the same bits.

    They are packed, and their steps recorded, where that is possible.
    """
    data = [setting.inputs.fold(run) for run in runs]
    straight = finished(train(runs, data, device=setting.device, recorder=setting.recorder()))
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / f"{n}.pt" for n in range(len(runs))]

        def checkpoints() -> list[Checkpoint]:
            return [Checkpoint(place, interval_s=0) for place in places]

        def train_on(stop: Callable[[Run], bool]) -> list[Any]:
            return train(
                runs,
                data,
                device=setting.device,
                checkpoints=checkpoints(),
                stop=stop,
                recorder=setting.recorder(),
            )

        stopped = train_on(lambda run: True)
        went_on = finished(train_on(never))
    figures = apart(went_on, straight)
    figures["stopped"] = sum(isinstance(x, RunStopped) for x in stopped)
    return Outcome(ok=figures["same_bits"] and figures["stopped"] == len(runs), figures=figures)


def less_precise(setting: Setting, run: Run, precision: Precision) -> Outcome:
    """The losses of ten steps are close to those in float32."""
    data = setting.inputs.fold(run)
    rounded = changed(run, "training", precision=precision)
    exact, _ = ten_steps(setting, run)
    less, _ = steps(rounded, data, setting.device, STEPS)
    difference, tolerance = relative(less, exact), LESS_PRECISION[precision]
    # Torch may not use TF32 for narrow layers.
    is_other = difference > 0 or precision == "tf32"
    return Outcome(
        ok=is_other and difference <= tolerance,
        figures={"loss_difference": difference},
        tolerance=tolerance,
    )


def text_encoder(setting: Setting) -> Outcome:
    """CLS vectors of a small BERT with random weights equal those of a CPU."""
    from tests.tiny_encoder import write_encoder

    texts = ["a few letters", "b", "one more text of a few more letters"]
    with tempfile.TemporaryDirectory() as folder:
        encoder = write_encoder(Path(folder))
        here = np.concatenate(list(cls_vectors(encoder, texts)))
        with patch("torch.cuda.is_available", return_value=False):
            there = np.concatenate(list(cls_vectors(encoder, texts)))
    return close(here, there)


def close(here: np.ndarray, there: np.ndarray) -> Outcome:
    """Values of an encoder equal those of a CPU."""
    difference = float(np.abs(here - there).max() / np.abs(there).max())
    return Outcome(
        ok=difference <= ENCODED, figures={"largest_difference": difference}, tolerance=ENCODED
    )


RESUMED: Final = "resumed equals uninterrupted"
CHECKS: Final[Mapping[str, Callable[[Setting, Run], Outcome]]] = {
    "as on a CPU": as_on_a_cpu,
    "no step waits": nothing_waits,
    "the same bits twice": same_bits_twice,
    RESUMED: resumed,
}
