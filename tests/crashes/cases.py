"""The cases of the crash table, by their names on the command line."""

from collections.abc import Callable, Mapping

from tests.crashes import disks, drivers, nodes, rays, searches, servers, stores, workers
from tests.crashes.scene import Finding, Scene

CASES: Mapping[str, Callable[[Scene], Finding]] = {
    "worker": workers.killed_worker,
    "train-worker": workers.killed_train_worker,
    "driver": drivers.killed_driver,
    "two-drivers": drivers.two_drivers,
    "interrupted": drivers.interrupted,
    "node": nodes.lost_node,
    "raylet": rays.killed_ray,
    "search": searches.killed_search,
    "server-lost": servers.lost_server,
    "server-absent": servers.absent_server,
    "disk": disks.full_disk,
    "store-stopped": stores.stopped_store,
    "store-emptied": stores.emptied_store,
    "store-swapped": stores.swapped_store,
}
