"""A system that sleeps in place of training and leaves a small report.

A process that unpickles one of its runs imports this module, which registers the system. So workers
can compute it without further set-up.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from mlt_ray.features.batching import FoldData
from mlt_ray.labels import FOUR
from mlt_ray.spec import ModelSpec, Run
from mlt_ray.storage.report import PARTS, Epoch, Predictions, RunReport
from mlt_ray.training.finish import FinishedRun, environment, milliseconds
from mlt_ray.training.fit import FITTERS

SYSTEM: Final = "sleeping"


@dataclass(frozen=True, kw_only=True)
class SleepingSpec(ModelSpec):
    """Sleeps for `sleep_s` seconds. `number` makes otherwise equal rows different."""

    system: str = SYSTEM
    sleep_s: float = 0.0
    number: int = 0


def sleep(
    runs: Sequence[Run],
    data: Sequence[FoldData],
    *,
    device: torch.device,
    on_epoch: Callable[[Run, Epoch], None] = lambda run, epoch: None,
    **options: Any,
) -> list[FinishedRun]:
    """Finish each run after one epoch, with random scores that depend on the run only."""
    finished = []
    for run, fold in zip(runs, data, strict=True):
        started, began = milliseconds(), time.perf_counter()
        time.sleep(run.spec.model.sleep_s)
        rng = np.random.default_rng([run.seed, run.fold, run.spec.model.number])
        dev_wa, dev_ua, test_wa, test_ua = rng.random(4).tolist()
        epoch = Epoch(
            epoch=1,
            train_loss=1.0,
            dev_loss=1.0,
            dev_wa=dev_wa,
            dev_ua=dev_ua,
            dev_macro_f1=dev_ua,
            ended_ms=milliseconds(),
        )
        on_epoch(run, epoch)
        scores = {"dev": scores_of(dev_wa, dev_ua), "test": scores_of(test_wa, test_ua)}
        report = RunReport(
            digest=run.digest,
            spec=run.spec.as_dict(),
            fold=run.fold,
            seed=run.seed,
            scores=scores,
            best_epoch=1,
            curve=(epoch,),
            part_sizes={part: len(ids) for part, ids in fold.parts.items()},
            num_parameters=0,
            started_ms=started,
            ended_ms=milliseconds(),
            computed_s=time.perf_counter() - began,
            environment=environment(device),
        )
        nothing = Predictions(
            utterances=(), classes=FOUR, labels=np.zeros(0), probabilities=np.zeros((0, len(FOUR)))
        )
        finished.append(
            FinishedRun(
                report=report,
                predictions=dict.fromkeys(PARTS, nothing),
                weights=b"",
                inputs=fold.fitted.as_dict(),
            )
        )
    return finished


def scores_of(wa: float, ua: float) -> dict[str, Any]:
    """Scores of a part, as in a report."""
    return {"wa": wa, "ua": ua, "macro_f1": ua, "confusion": np.eye(4, dtype=int).tolist()}


FITTERS[SYSTEM] = sleep  # type: ignore[index]
