"""Cases: the MLflow server is killed, or never answers."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.crashes.journal import journal, wait_until
from tests.crashes.scene import (
    ONE,
    Finding,
    Scene,
    finished_files,
    kill_session,
    middle,
    reports,
    started,
)
from tests.end_to_end.conftest import mlt_ray
from tests.ports import free_port

CURVE = ("train_loss", "dev_loss", "dev_wa", "dev_ua", "dev_macro_f1")
BIN = Path(sys.executable).parent
NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Without it MLflow starts six more processes, and leaves a folder in /dev/shm each time."""

Points = list[tuple[str, str, int, float, int]]
"""Points of curves: run, key, step, value, time in ms."""


def lost_server(scene: Scene) -> Finding:
    """The server is killed while runs are computed; after they have ended, `sync` sends them."""
    store, finding = scene.store("lost-server"), Finding(case="MLflow server lost", damage="")
    database, port = scene.folder / "server.db", free_port()
    tracking = ("--tracking-uri", f"http://127.0.0.1:{port}")
    with journal(store) as kept:
        with server(database, port) as mlflow, started(*scene.command(store, *tracking)) as process:
            middle(kept, process)
            kill_session(mlflow)
            finding.damage = f"SIGKILL of the server after {len(kept.finished)} runs; then sync"
            shown = finding.expect_exit(process, 0)
        finding.expect("cannot be written" in shown, f"the loss was not said: {shown}")
        before = points(database)
        sync_twice(finding, store, database, port)
    after = points(database)
    finding.expect(set(before) <= set(after), "points of before the loss are gone")
    finding.judge(kept, store, scene.undisturbed)
    return finding


def absent_server(scene: Scene) -> Finding:
    """No server answers while a run is computed; `sync` sends it to a server started later."""
    store = scene.store("absent-server")
    finding = Finding(case="MLflow server absent", damage="no server while computing; then sync")
    database, port = scene.folder / "late-server.db", free_port()
    command = scene.command(store, "--tracking-uri", f"http://127.0.0.1:{port}", few=ONE)
    with journal(store) as kept:
        with started(*command) as process:
            shown = finding.expect_exit(process, 0)
        finding.expect("cannot be written" in shown, f"the absence was not said: {shown}")
        sync_twice(finding, store, database, port)
    finding.judge(kept, store, scene.undisturbed, runs=1)
    return finding


def sync_twice(finding: Finding, store: Path, database: Path, port: int) -> None:
    """Sync twice to a server; expect every point of the curves once, with the store's times."""
    untouched, found = finished_files(store), []
    with server(database, port):
        for _ in range(2):
            done = mlt_ray("sync", "--store", store, "--tracking-uri", f"http://127.0.0.1:{port}")
            finding.expect(done.returncode == 0, f"sync: exit {done.returncode}: {done.stderr}")
            found.append(points(database))
    wanted = set()
    for report in reports(store).values():
        name = f"audio only, fold {report['fold']}, seed {report['seed']}"
        for epoch in report["curve"]:
            wanted |= {(name, key, epoch["epoch"], epoch[key], epoch["ended_ms"]) for key in CURVE}
    curves = {point for point in found[0] if point[1] in CURVE}
    finding.expect(curves == wanted, "the curves in MLflow are not those of the store")
    finding.expect(found[0] == found[1], "the second sync has changed points")
    finding.expect(finished_files(store) == untouched, "sync has changed the store")


def points(database: Path) -> Points:
    """All points in a server's database: run, key, step, value, time in ms."""
    with contextlib.closing(sqlite3.connect(database)) as opened:
        query = """select r.name, m.key, m.step, m.value, m.timestamp from metrics m
                   join runs r using (run_uuid) order by 1, 2, 3, 4, 5"""
        return opened.execute(query).fetchall()


@contextlib.contextmanager
def server(database: Path, port: int) -> Iterator[subprocess.Popen]:
    """A running MLflow server, killed at the end of the block at the latest."""
    options = {
        "backend-store-uri": f"sqlite:///{database}",
        "artifacts-destination": database.with_suffix(".artifacts"),
        "port": port,
        "workers": 1,
    }
    process = subprocess.Popen(
        [BIN / "mlflow", "server", *(f"--{name}={value}" for name, value in options.items())],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **NO_JOBS, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
    )
    try:
        wait_until(lambda: answers(port), "an answer of the MLflow server")
        yield process
    finally:
        kill_session(process)


def answers(port: int) -> bool:
    """Whether the server answers."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
    except OSError:
        return False
    return True
