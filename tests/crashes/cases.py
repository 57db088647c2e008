"""The cases of the crash table, by the names that the command line takes."""

from collections.abc import Callable, Mapping

from tests.crashes import workers
from tests.crashes.scene import Finding, Scene

CASES: Mapping[str, Callable[[Scene], Finding]] = {
    "worker": workers.killed_worker,
    "train-worker": workers.killed_train_worker,
}
