"""Case: Ray itself dies under a command."""

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.crashes.journal import journal, wait_until
from tests.crashes.nodes import cluster
from tests.crashes.scene import (
    RUNS,
    Finding,
    Scene,
    check_resumed,
    checkpoints,
    finished_files,
    middle,
    started,
)
from tests.end_to_end.conftest import members

STOPPED_S = 5.0
"""Seconds for which the raylet is stopped before it is killed: that alone ends nothing."""

END_S = 60.0
"""Most seconds from the death to the end of the command, on a machine with much else to do."""

ENDED_S = 10.0
"""Most seconds until the last process of a Ray that has died is gone."""


def killed_ray(scene: Scene) -> Finding:
    """The command's own raylet is stopped, then killed; asked again on a cluster, its head is."""
    store, finding = scene.store("killed-ray"), Finding(case="Ray killed", damage="")
    with journal(store) as kept:
        with started(*scene.command(store)) as process:
            middle(kept, process, finished=0, epochs=2)
            raylet = one_called("raylet", members(process.pid))
            os.kill(raylet, signal.SIGSTOP)
            time.sleep(STOPPED_S)
            finding.expect(process.poll() is None, "a raylet that was stopped ended the command")
            os.kill(raylet, signal.SIGCONT)
            where = middle(kept, process, epochs=2)
            untouched = finished_files(store)
            os.kill(raylet, signal.SIGKILL)
            expect_death(finding, process, "this machine's raylet")
            wait_until(lambda: not members(process.pid), "the end of Ray's processes", ENDED_S)
            held = checkpoints(kept, store)
        finding.expect(where in held, f"run {where} left no checkpoint")
        with cluster() as nodes:
            nodes.add_node(num_cpus=1, object_store_memory=100_000_000)
            with started(*scene.command(store, "--address", nodes.address)) as process:
                middle(kept, process, finished=0)
                check_resumed(finding, store, {}, untouched)
                untouched = finished_files(store)
                nodes.head_node.kill_gcs_server()
                expect_death(finding, process, "Ray's head")
        finding.damage = f"raylet stopped {STOPPED_S:.0f} s, SIGKILL; a cluster's head, SIGKILL"
        with started(*scene.command(store)) as process:
            shown = finding.expect_exit(process, 0)
        finding.expect(f"{RUNS}/10" in shown, f"a table that is not complete: {shown}")
        check_resumed(finding, store, {}, untouched)
    finding.judge(kept, store, scene.undisturbed)
    return finding


def one_called(name: str, processes: list[int]) -> int:
    """The process of that name."""
    [found] = [p for p in processes if Path(f"/proc/{p}/comm").read_text().strip() == name]
    return found


def expect_death(finding: Finding, process: subprocess.Popen, what: str) -> None:
    """Expect that the command ends in one line on what has died, with exit code 2."""
    shown = finding.expect_exit(process, 2, timeout_s=END_S)
    said = [line for line in shown.splitlines() if line.startswith("mlt-ray: ")]
    once = len(said) == 1 and said[0].startswith(f"mlt-ray: Ray has died: expected {what}")
    finding.expect(once and "same command goes on" in said[0], f"expected one line, got: {shown}")
    finding.expect("resume=True" not in shown, f"Ray's advice is shown: {shown}")
    finding.expect("Raylet is terminated" not in shown, f"the raylet's log is shown: {shown}")
