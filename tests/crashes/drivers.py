"""Cases: the command is killed, interrupted, or given twice at once."""

import os
import signal
import subprocess
import time

from tests.crashes.journal import journal
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

SHUTDOWN_S = 30.0
"""Most seconds from the second Ctrl-C to the end of a command; Ray needs some of them."""


def killed_driver(scene: Scene) -> Finding:
    """The command is killed; the same command is given again immediately."""
    store, finding = scene.store("killed-driver"), Finding(case="driver killed", damage="")
    with journal(store) as kept:
        with started(*scene.command(store)) as process:
            middle(kept, process)
            untouched = finished_files(store)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            held = checkpoints(kept, store)
        where = ", ".join(str(len(epochs)) for epochs in held.values())
        finding.damage = f"SIGKILL of the command with runs after epoch {where}; asked again"
        with started(*scene.command(store)) as process:
            finding.expect_exit(process, 0)
        check_resumed(finding, store, held, untouched)
    finding.judge(kept, store, scene.undisturbed)
    return finding


def two_drivers(scene: Scene) -> Finding:
    """The same command is given twice within a second."""
    store = scene.store("two-drivers")
    finding = Finding(case="two drivers", damage="the same command twice at once on one store")
    with (
        journal(store) as kept,
        started(*scene.command(store)) as first,
        started(*scene.command(store)) as second,
    ):
        for process in (first, second):
            shown = finding.expect_exit(process, 0)
            finding.expect(f"{RUNS}/10" in shown, f"a table that is not complete: {shown}")
            finding.expect("cannot be written" not in shown, f"MLflow had one of them: {shown}")
    finding.judge(kept, store, scene.undisturbed)
    finding.expect(finding.repeated == 0, f"{finding.repeated} epochs were computed by both")
    return finding


def interrupted(scene: Scene) -> Finding:
    """Ctrl-C, then SIGTERM, then Ctrl-C twice; the command is given again after each."""
    store = scene.store("interrupted")
    finding = Finding(
        case="interrupted", damage="Ctrl-C; asked again, SIGTERM; again, Ctrl-C twice; again"
    )
    with journal(store) as kept:
        for number, damage in enumerate((ctrl_c, terminate)):
            with started(*scene.command(store)) as process:
                middle(kept, process, finished=number)
                untouched = finished_files(store)
                damage(process)
                shown = finding.expect_exit(process, 130)
            finding.expect("the same command goes on from here" in shown, f"no advice: {shown}")
            lost = sum((kept.computed - kept.saved).values())
            finding.expect(not lost, f"{damage.__name__}: {lost} epochs left no checkpoint")
            changed = untouched.items() - finished_files(store).items()
            finding.expect(not changed, f"files of finished runs have changed: {changed}")
        with started(*scene.command(store)) as process:
            middle(kept, process, finished=1, epochs=2)
            untouched = finished_files(store)
            ctrl_c(process)
            time.sleep(0.05)
            ctrl_c(process)
            began = time.monotonic()
            finding.expect_exit(process, 130)
            took_s = time.monotonic() - began
            finding.expect(took_s < SHUTDOWN_S, f"Ctrl-C twice took {took_s:.1f} s")
            held = checkpoints(kept, store)
        with started(*scene.command(store)) as process:
            finding.expect_exit(process, 0)
        check_resumed(finding, store, held, untouched)
    finding.judge(kept, store, scene.undisturbed)
    return finding


def ctrl_c(process: subprocess.Popen) -> None:
    """Do as a terminal does: SIGINT to all processes of the command's process group."""
    os.killpg(process.pid, signal.SIGINT)


def terminate(process: subprocess.Popen) -> None:
    """Do as a batch system does before SIGKILL: SIGTERM to the command."""
    process.send_signal(signal.SIGTERM)
