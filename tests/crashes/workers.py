"""Cases: a worker is killed in the middle of a run."""

import os
import signal
import subprocess

from tests.crashes.journal import journal
from tests.crashes.scene import (
    ONE,
    Finding,
    Scene,
    check_resumed,
    checkpoint_epochs,
    finished_files,
    holder,
    middle,
    started,
)
from tests.end_to_end.conftest import mlt_ray

SPREAD = (*ONE, "--workers", "2")


def killed_worker(scene: Scene) -> Finding:
    """The worker that trains a run is killed; the command goes on with another worker."""
    store, finding = scene.store("killed-worker"), Finding(case="worker killed", damage="")
    with journal(store) as kept, started(*scene.command(store)) as process:
        digest = middle(kept, process)
        untouched = finished_files(store)
        os.kill(holder(store, digest), signal.SIGKILL)
        epochs = checkpoint_epochs(store, digest)
        finding.damage = f"SIGKILL of a run's process after its epoch {len(epochs)}"
        shown = finding.expect_exit(process, 0)
        finding.expect("its worker failed; another goes on" in shown, f"no word of it: {shown}")
        check_resumed(finding, store, {digest: epochs}, untouched)
    finding.judge(kept, store, scene.undisturbed)
    return finding


def killed_train_worker(scene: Scene) -> Finding:
    """One of two processes that share a run is killed; Ray Train starts both again."""
    finding = Finding(case="Train worker killed", damage="")
    undisturbed, store = scene.store("undisturbed-spread"), scene.store("killed-train-worker")
    done = mlt_ray(*scene.command(undisturbed, few=SPREAD))
    finding.expect(done.returncode == 0, f"undisturbed: {done.stderr}")
    with journal(store) as kept, started(*scene.command(store, few=SPREAD)) as process:
        digest = middle(kept, process, finished=0)
        victims = train_workers(process.pid)
        os.kill(victims[-1], signal.SIGKILL)
        epochs = checkpoint_epochs(store, digest)
        finding.damage = f"SIGKILL of one of {len(victims)} processes after epoch {len(epochs)}"
        finding.expect_exit(process, 0)
        finding.expect(len(victims) == 2, f"expected 2 processes of the run, found {len(victims)}")
        check_resumed(finding, store, {digest: epochs}, {})
    finding.judge(kept, store, undisturbed, runs=1)
    return finding


def train_workers(session: int) -> list[int]:
    """Process ids of Ray Train's workers in a session, found by their process title."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "-s", str(session)], capture_output=True, text=True, check=False
    )
    return [int(row.split()[0]) for row in listed.stdout.splitlines() if "RayTrainWorker" in row]
