"""Case: a node of the Ray cluster is lost."""

import contextlib
from collections.abc import Iterator

from ray.cluster_utils import Cluster

from tests.crashes.journal import journal
from tests.crashes.scene import (
    Finding,
    Scene,
    check_resumed,
    checkpoint_epochs,
    finished_files,
    middle,
    started,
)

MEMORY = 100_000_000
"""Bytes of each node's object store: small, since one machine has three nodes and uses none."""


def lost_node(scene: Scene) -> Finding:
    """The only node that computes is killed; a node that joins then finishes the study."""
    store, finding = scene.store("lost-node"), Finding(case="node lost", damage="")
    with journal(store) as kept, cluster() as nodes:
        victim = nodes.add_node(num_cpus=1, object_store_memory=MEMORY)
        command = scene.command(store, "--address", nodes.address)
        with started(*command) as process:
            digest = middle(kept, process)
            untouched = finished_files(store)
            # First of all: a node takes seconds to join, in which the run would end.
            nodes.remove_node(victim, allow_graceful=False)
            epochs = checkpoint_epochs(store, digest)
            nodes.add_node(num_cpus=1, object_store_memory=MEMORY)
            finding.damage = (
                f"the only node killed after a run's epoch {len(epochs)}; another joins"
            )
            shown = finding.expect_exit(process, 0)
        finding.expect("its worker failed; another goes on" in shown, f"no word of it: {shown}")
        check_resumed(finding, store, {digest: epochs}, untouched)
    finding.judge(kept, store, scene.undisturbed)
    return finding


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A Ray cluster with a head without CPUs; it is shut down at the end of the block."""
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY}
    )
    try:
        yield nodes
    finally:
        nodes.shutdown()
