"""A trial: what torch.compile makes of a pack's loss, which the package does not compile."""

from typing import Any, Final

import torch

from mlt_ray.training.learner import Learner
from mlt_ray.training.loop import deterministic
from mlt_ray.training.pack import Pack
from mlt_ray.training.precision import products
from tests.gpu.findings import Findings
from tests.gpu.inputs import ROW, cut
from tests.gpu.setting import Setting
from tests.gpu.speeds import runs_of, sizes

TRIED_STEPS: Final = 8


def run(setting: Setting, findings: Findings) -> None:
    """The pack of 15, compiled; whatever goes wrong is noted, and is no failure of the kit's."""
    size = sizes(setting)[0]
    findings.attempt(f"pack of {size}, compiled", lambda: speed(setting, size))


def speed(setting: Setting, size: int) -> dict[str, Any]:
    """Steps a second where the vectorised loss is compiled, beside those where it is not.

    Few steps, of two lengths, so that sizes are dynamic after the first few. On a CPU nothing is
    generated: only the graphs are captured.
    """
    runs = runs_of(setting, ROW)[:size]
    utterances = TRIED_STEPS * runs[0].spec.training.batch_size
    data = [cut(setting.inputs.fold(run), utterances) for run in runs]
    found: dict[str, Any] = {"runs": size}
    with deterministic(), products("float32"):
        for way in ("taken", "compiled"):
            setting.forget()
            learners = [Learner(r, d, setting.device) for r, d in zip(runs, data, strict=True)]
            pack: Any = Pack(learners)
            if way == "compiled":
                backend = "inductor" if setting.is_gpu else "eager"
                pack._call = torch.compile(pack._call, dynamic=True, backend=backend)
            first_s, _ = setting.timed(pack.train_epoch)
            second_s, _ = setting.timed(pack.train_epoch)
            epoch_s, _ = setting.timed(pack.train_epoch)
            steps = sum(x.num_batches for x in learners)
            found |= {
                f"{way}_first_epoch_s": first_s,
                f"{way}_second_epoch_s": second_s,
                f"{way}_training_steps_per_s": steps / epoch_s,
                f"{way}_loss": float(torch.stack(learners[0]._losses[-1:]).mean()),
            }
            found |= {f"{way}_{key}": value for key, value in setting.memory().items()}
    counters = torch._dynamo.utils.counters
    found["graphs"] = counters["stats"].get("unique_graphs", 0)
    found["graph_breaks"] = sum(counters["graph_break"].values())
    found["reasons"] = [reason[:200] for reason in list(counters["graph_break"])[:5]]
    return found
