"""Joins a Ray cluster, or starts Ray on this machine."""

import gc
import logging
import os
import platform
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._common.utils import get_default_ray_temp_dir
from ray.exceptions import RayActorError

from mlt_ray import signals
from mlt_ray.errors import UserError, first_line
from mlt_ray.logs import are_logs_shown
from mlt_ray.planning.resources import LOCAL, Node, Resources, cpus_here, ray_address
from mlt_ray.scheduling.cluster import START, check_address, unusable
from mlt_ray.scheduling.death import Watch, shut_down_dead
from mlt_ray.scheduling.sockets import folder_for_ray, mark, own_sessions
from mlt_ray.scheduling.token import make_private

NOISY_LOGGERS = (
    "ray._private.authentication.authentication_token_setup",
    "ray.tune.analysis.experiment_analysis",
    "ray.tune.utils.util",
)
"""Loggers that warn of token authentication, missing result files and slow callbacks."""

MUTED_LOGGERS = ("ray.tune.execution.experiment_state",)
"""Loggers that complain when Tune's state cannot be saved on a full disk; it is never restored."""

LOGGER_OF_FAILURES = "ray.tune.execution.tune_controller"
"""Logger that prints a trial's traceback. Silenced for a killed worker, which has none."""

OWN_PROCESSES = ("gcs_server", "raylet")
"""Processes that a Ray which is started here has as children; theirs end with them."""

KILLED_S = 5.0
"""Most seconds that the processes of a start that failed get to be gone, once they are killed."""

SETTINGS = {
    # Tune's own loggers write five files a trial that nobody reads; the store and MLflow have all.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Tune's handler would return from an interruption as if all had been computed.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune writes what Tuner.restore needs, which is never used: as seldom as it can.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
}


def is_no_death(record: logging.LogRecord) -> bool:
    """False for the log record of a worker that died, which `TuneCallbacks` reports itself."""
    return not (record.exc_info and isinstance(record.exc_info[1], RayActorError))


@contextmanager
def connection(address: str | None, resources: Resources) -> Iterator[Resources]:
    """Join the Ray cluster at `address` (or `RAY_ADDRESS`), or start Ray on this machine.

    Yields `resources` with the GPUs filled in that they leave open. Raises `UserError` if there is
    no cluster at the address, or if this process has joined one itself, as a notebook may have.
    If Ray dies while the block lasts, the block ends by `KeyboardInterrupt`, and that by `RayDied`.
    """
    os.environ.update(SETTINGS)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in MUTED_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    logging.getLogger(LOGGER_OF_FAILURES).addFilter(is_no_death)
    if ray.is_initialized():
        raise UserError(
            "expected Ray not to be connected in this process, found it connected; call "
            "ray.shutdown() first, and name its cluster by address"
        )
    check_address(address)
    is_local = ray_address(address) == LOCAL
    # The dashboard's processes cost as much as a run where there are few cores. A head that the
    # user starts has one.
    own: dict[str, Any] = {}
    if is_local:
        own = {"include_dashboard": False, "num_cpus": cpus_here()}
        make_private()
    with folder_for_ray() if is_local else nullcontext() as folder:
        place = Path(folder or get_default_ray_temp_dir())
        with signals.kept(), own_sessions(place) if is_local else nullcontext():
            _start(address, own if folder is None else own | {"_temp_dir": folder})
            watch = None
            try:
                if threading.current_thread() is threading.main_thread():
                    # Ray's own handler would end this process without a word.
                    signal.signal(signal.SIGTERM, signals.interrupt)
                watch = Watch(is_local)
                with watch.watching():
                    yield resources.with_gpus(ray.cluster_resources().get("GPU", 0))
            finally:
                if watch and watch.died:
                    shut_down_dead()
                else:
                    _shut_down()


def _start(address: str | None, own: Mapping[str, Any]) -> None:
    """`ray.init`; nothing of a Ray that it cannot start here is left. `UserError` if it fails.

    `own` is what a Ray that is started here is told.
    """
    try:
        _init_own(address, own) if own else _init(address, {})
    except SystemExit:  # from Ray's own handler of SIGTERM, as from Ctrl-C
        raise KeyboardInterrupt from None
    except Exception as error:
        reason = first_line(error)
        if not own:
            raise unusable(address, f"got: {reason}", START) from error
        raise UserError(
            f"expected Ray to start here, got: {reason}; free memory and processors, then ask again"
        ) from error


def _init_own(address: str | None, own: Mapping[str, Any], is_first: bool = True) -> None:
    """`_init`, once more where Ray did not start within its 30 s, as on a machine that is busy."""
    before = _own_processes()
    try:
        return mark(Path(_init(address, own).address_info["session_dir"]))
    except BaseException as error:  # a plain Exception of Ray; an interruption, too, leaves nothing
        made = _own_processes() - before
        # Ray itself kills its raylet; the agents of one that is not up yet would stay a minute.
        for process in tuple(made):
            with suppress(psutil.NoSuchProcess):
                made |= {*process.children(recursive=True)}
        _shut_down()
        for process in made:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(made, timeout=KILLED_S)
        if not (is_first and "timed out during startup" in str(error)):
            raise
    return _init_own(address, own, is_first=False)


def _own_processes() -> set[psutil.Process]:
    found = set()
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if child.name() in OWN_PROCESSES:
                found.add(child)
    return found


def _init(address: str | None, own: Mapping[str, Any]) -> Any:
    return ray.init(
        address=ray_address(address),
        log_to_driver=are_logs_shown(),
        logging_level=logging.INFO if are_logs_shown() else logging.WARNING,
        **own,
    )


def _shut_down() -> None:
    """`ray.shutdown`, during which no thread drops what refers to Ray's objects.

    Tune leaves such references in cycles. If the garbage collector frees one while Ray is half shut
    down, Ray ends this process; and the collector runs in any thread, such as MLflow's.
    """
    gc.freeze()
    ray.shutdown()
    # Not if it raised: Ray shuts down again when the process ends.
    gc.unfreeze()


def cluster_nodes() -> list[Node]:
    """The machines of the cluster that this process is connected to, with what Ray gives out."""
    return [Node.of(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def examine() -> str:
    """Start Ray here and let a worker answer; returns what was found."""
    with connection(None, Resources()):
        found = ray.cluster_resources()
        answer = ray.get(ray.remote(num_cpus=1)(platform.node).remote(), timeout=120)
    cpus, gpus = found.get("CPU", 0), found.get("GPU", 0)
    return f"a worker on {answer} answered; {cpus:.0f} CPUs, {gpus:.0f} GPUs"
