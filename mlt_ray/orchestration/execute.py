"""Runs what is left of a plan as trials of Ray Tune."""

import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import ray
from ray import tune

from mlt_ray.errors import UserError
from mlt_ray.orchestration.resources import Resources
from mlt_ray.orchestration.trial import trial
from mlt_ray.spec import Run
from mlt_ray.store import Epoch, Store

NOISY_LOGGERS = (
    "ray._private.authentication.authentication_token_setup",
    "ray.tune.analysis.experiment_analysis",
    "ray.tune.utils.util",
)
"""They warn of token authentication, of result files that are switched off, of slow callbacks."""


class Observer(Protocol):
    """What is told of runs while they are computed."""

    def started(self, run: Run) -> None:
        """A worker begins the run, or begins it again after a crash."""

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """Epochs have ended."""

    def finished(self, run: Run) -> None:
        """The run's report stands in the store."""

    def failed(self, run: Run, reason: str) -> None:
        """The run left no report."""


class _Callback(tune.Callback):
    """Passes Tune's events on to observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = observers

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks for Tuner.restore, which is never used here.
        return {"observers": ()}

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        for observer in self.observers:
            observer.started(trial.config["cell"]["run"])

    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict, **info: Any
    ) -> None:
        for observer in self.observers:
            if result["epochs"]:
                observer.epochs(trial.config["cell"]["run"], result["epochs"])

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        reason = trial.last_result.get("failed")
        for observer in self.observers:
            if reason:
                observer.failed(trial.config["cell"]["run"], reason)
            else:
                observer.finished(trial.config["cell"]["run"])

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        lines = (trial.get_error() and str(trial.get_error()).strip().splitlines()) or ["crashed"]
        for observer in self.observers:
            observer.failed(trial.config["cell"]["run"], lines[-1])


def execute(
    runs: Sequence[Run],
    store: Store,
    resources: Resources,
    observers: Sequence[Observer],
    address: str | None = None,
) -> None:
    """Compute runs on the cluster at `address`, or on a private one of this machine.

    Returns when each has finished or failed. An interruption leaves all finished runs in the
    store; asking again computes the others.
    """
    with connection(address):
        gpus = resources.gpus_per_run
        if gpus is None:
            gpus = 1.0 if ray.cluster_resources().get("GPU", 0) >= 1 else 0.0
        asked = {"CPU": resources.cpus_per_run, "GPU": gpus}
        check_fits(asked)
        threads = max(1, int(resources.cpus_per_run))
        cells = [{"run": run, "store": str(store.root), "threads": threads} for run in runs]
        # A folder of this call alone: nothing in it outlives the call, since a later call asks the
        # store what is left and never restores a Tuner.
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        tuner = tune.Tuner(
            tune.with_resources(trial, asked),
            param_space={"cell": tune.grid_search(cells)},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(store.root / "ray"),
                callbacks=[_Callback(observers)],
                failure_config=tune.FailureConfig(max_failures=2),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(store.root / "ray" / name, ignore_errors=True)


def check_fits(asked: Mapping[str, float]) -> None:
    """`UserError` where no node can ever hold one run: Tune would wait for one in silence."""
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    if not any(all(node.get(k, 0) >= v for k, v in asked.items()) for node in nodes):
        wanted = ", ".join(f"{v:g} {k}" for k, v in asked.items() if v)
        found = ", ".join(f"{n.get('CPU', 0):g} CPU and {n.get('GPU', 0):g} GPU" for n in nodes)
        raise UserError(
            f"resources: expected a node with {wanted} for a run, found {found}; "
            "lower --cpus-per-run or --gpus-per-run"
        )


@contextmanager
def connection(address: str | None) -> Iterator[None]:
    """Ray, connected to `address` (or `RAY_ADDRESS`, as under `ray job submit`) or started here."""
    # Tune's own loggers write five files a trial that nobody reads; the store and MLflow have all.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    # Ctrl-C ends the call at once: what is finished stands in the store, and Tune's own handler
    # would return as if all had been computed.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        ray.init(address=where, log_to_driver=False, logging_level=logging.WARNING)
    except (ConnectionError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        remedy = "start one (ray start --head) or leave --address out"
        raise UserError(
            f"--address {where}: expected a Ray cluster, got: {reason}; {remedy}"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
