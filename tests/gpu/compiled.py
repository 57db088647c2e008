"""A trial: how fast a pack's gradient is if torch compiles it. The package does not compile it.

Dynamo does not follow functions with a `vmap` rule of their own. So the operations of one step are
traced below `vmap` and autograd, with the shapes of one batch, and the graph of these is compiled.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from mlt_ray.models.dropout import site_keys
from mlt_ray.training.learner import Learner
from mlt_ray.training.loop import deterministic
from mlt_ray.training.packs.device_batches import batches_for
from mlt_ray.training.packs.trainer import PackTrainer, common_sizes, steps_of_epoch
from mlt_ray.training.precision import products
from tests.gpu.comparing import relative
from tests.gpu.findings import Findings
from tests.gpu.inputs import ROW
from tests.gpu.setting import Setting
from tests.gpu.speeds import runs_of, sizes

REPEATS: Final = 10

Gradient = Callable[[Sequence[Tensor], Any, Tensor], tuple[Tensor, Sequence[Tensor]]]
"""From (R, …) weights, a batch and dropout's keys it makes (R,) losses and (R, …) gradients."""


def run(setting: Setting, findings: Findings) -> None:
    """Try it with a pack of 15. An error is recorded but is no failure of the kit."""
    size = sizes(setting)[0]
    made: dict[str, Any] = {}

    def taken() -> dict[str, Any]:
        made["inputs"] = inputs_of(setting, made, size)
        frames = made["inputs"][1]["frames"].shape[2]
        return {"frames": frames, **timed(setting, made["taken"], made["inputs"])}

    def traced() -> dict[str, Any]:
        made["graph"] = make_fx(made["taken"])(*made["inputs"])
        return {"operations": len(made["graph"].graph.nodes)}

    def compiled() -> dict[str, Any]:
        backend = "inductor" if setting.is_gpu else "eager"
        made["compiled"] = torch.compile(made["graph"], backend=backend)
        with deterministic(), products("float32"):
            first_s, found = setting.timed(lambda: made["compiled"](*made["inputs"]))
            losses, _ = made["taken"](*made["inputs"])
        difference = relative(found[0].detach().cpu(), losses.cpu())
        figures = timed(setting, made["compiled"], made["inputs"])
        return {"compiling_s": first_s, "loss_difference": difference, **figures}

    findings.attempt(f"gradient of a pack of {size}, taken", taken)
    findings.attempt(f"gradient of a pack of {size}, traced", traced)
    findings.attempt(f"gradient of a pack of {size}, compiled", compiled)


def inputs_of(setting: Setting, made: dict[str, Any], size: int) -> tuple[Any, ...]:
    """Weights, a batch of medium length, and keys. The gradient is put into ``made``."""
    setting.forget()
    runs = runs_of(setting, ROW)[:size]
    data = {run.fold: setting.inputs.fold(run) for run in runs}
    with deterministic():
        learners = [Learner(run, data[run.fold], setting.device) for run in runs]
        pack: Any = PackTrainer(learners)
        pack._system.train()
        resident = batches_for(data, common_sizes(learners).num_learned_words, setting.device)
        steps = steps_of_epoch(learners)
        batches = list(resident.batches(steps[:9], [run.fold for run in runs]))
        batch = sorted(batches, key=lambda b: b["frames"].shape[2])[len(batches) // 2]
        codes = pack._codes(np.ones((1, size), bool))[0]

    def gradient(
        weights: Sequence[Tensor], batch: Any, keys: Tensor
    ) -> tuple[Tensor, Sequence[Tensor]]:
        pack._adam.weights = list(weights)
        found: tuple[Tensor, Sequence[Tensor]] = pack._gradient(batch, keys)
        return found

    made["taken"] = gradient
    return pack._adam.weights, batch, site_keys(codes, batch["utterances"])


def timed(setting: Setting, gradient: Gradient, inputs: Sequence[Any]) -> dict[str, float]:
    """Milliseconds per gradient; on a GPU also if it is replayed from a CUDA graph."""
    repeats = 1 if setting.quick else REPEATS
    with deterministic(), products("float32"):
        for _ in range(2):
            gradient(*inputs)
        seconds = [setting.timed(lambda: gradient(*inputs))[0] for _ in range(repeats)]
        found = {"ms_per_call": 1000 * statistics.median(seconds), **setting.memory()}
        if setting.is_gpu:
            replay = setting.recorder()(lambda: gradient(*inputs))
            replay()
            seconds = [setting.timed(replay)[0] for _ in range(repeats)]
            found["replayed_ms_per_call"] = 1000 * statistics.median(seconds)
    return found
