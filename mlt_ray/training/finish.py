"""The result of a finished run, which goes into the store; networks and classical systems alike."""

import dataclasses
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

import mlt_ray
from mlt_ray.libraries import versions_of
from mlt_ray.spec import Run
from mlt_ray.storage.report import Epoch, Predictions, RunReport
from mlt_ray.training.weights import WEIGHTS_FILE


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """The result of a run for the store; `weights_file` is the name of the file of `weights`."""

    report: RunReport
    predictions: Mapping[str, Predictions]
    weights: bytes
    inputs: dict[str, Any]
    weights_file: str = WEIGHTS_FILE


def finished_run(
    run: Run,
    *,
    predictions: Mapping[str, Predictions],
    curve: Sequence[Epoch],
    best_epoch: int,
    part_sizes: Mapping[str, int],
    num_parameters: int,
    started_ms: int,
    computed_s: float,
    environment: Mapping[str, str],
    weights: bytes,
    inputs: dict[str, Any],
    weights_file: str = WEIGHTS_FILE,
    details: Mapping[str, Any] = MappingProxyType({}),
) -> FinishedRun:
    """The result of a run that ends now, with its report and scores.

    `predictions` are those for dev and test, by part. `inputs` are the values that the fold fitted
    on its training part. `environment` says where it was computed; the versions of the libraries
    that the run's specification names are added. `details` are those of `RunReport`.
    """
    spec = run.spec.as_dict()
    report = RunReport(
        digest=run.digest,
        spec=spec,
        fold=run.fold,
        seed=run.seed,
        scores={part: dataclasses.asdict(found.scores()) for part, found in predictions.items()},
        best_epoch=best_epoch,
        curve=tuple(curve),
        part_sizes=dict(part_sizes),
        num_parameters=num_parameters,
        started_ms=started_ms,
        ended_ms=milliseconds(),
        computed_s=computed_s,
        environment={**versions_of(spec), **environment},
        details=dict(details),
    )
    return FinishedRun(
        report=report,
        predictions=predictions,
        weights=weights,
        inputs=inputs,
        weights_file=weights_file,
    )


def environment(device: torch.device) -> dict[str, str]:
    """Versions and hardware that a run was computed with."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "mlt_ray": mlt_ray.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": f"{device.type} {name}",
        "threads": str(torch.get_num_threads()),
    }


def milliseconds() -> int:
    """The Unix time in milliseconds."""
    return int(time.time() * 1000)
