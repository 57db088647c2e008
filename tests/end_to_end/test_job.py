"""Studies as Ray jobs, as a user submits them to a cluster from the top of a checkout:

    bash clusters/local/head.sh
    RAY_AUTH_MODE=token ray job submit --address http://127.0.0.1:8265 --working-dir . -- \\
        mlt-ray run table1 --corpus /shared/corpus --store /shared/runs

The package in the working directory is the one that runs; paths are absolute, because a job works
in a copy of that directory.
"""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlt_ray.studies.study import load_study
from tests.end_to_end.conftest import environment, members, reports, tables
from tests.ports import free_ports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
METRIC = "ray_mlt_ray_epoch{"
PORT_OPTIONS = (
    "--port",
    "--dashboard-port",
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--metrics-export-port",
    "--ray-client-server-port",
)


def settings(**more: str) -> dict[str, str]:
    """The environment of a user who has said nothing of tokens, and whose home holds none."""
    inherited = {k: v for k, v in environment().items() if not k.startswith("RAY_AUTH")}
    path = f"{BIN}{os.pathsep}{inherited['PATH']}"
    return inherited | {"PATH": path, "OMP_NUM_THREADS": "1"} | more


@dataclass(frozen=True)
class Head:
    """A running cluster of one node, and what its users need to know."""

    address: str
    token: Path
    home: Path
    metrics_port: int

    def submit(self, *entrypoint: object, **more: str) -> subprocess.CompletedProcess[str]:
        command = [BIN / "ray", "job", "submit", "--address", self.address, "--working-dir", "."]
        return subprocess.run(
            [*command, "--", *map(str, entrypoint)],
            capture_output=True,
            text=True,
            timeout=900,
            cwd=ROOT,
            env=settings(HOME=str(self.home), COLUMNS="120", **more),
            check=False,
        )

    def task_names(self) -> set[str]:
        """What the dashboard's table of tasks lists."""
        url = f"{self.address}/api/v0/tasks?limit=10000&detail=1&timeout=60"
        headers = {"Authorization": f"Bearer {self.token.read_text()}"}
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            found = json.load(answer)["data"]["result"]["result"]
        return {task["name"] for task in found}

    def metrics(self) -> str:
        """What Prometheus reads of the node."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.read().decode()

    @property
    def credentials(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)}


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A head of two CPUs in a session of its own, which nothing survives."""
    folder = tmp_path_factory.mktemp("head")
    (home := folder / "home").mkdir()
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    ports = free_ports(len(PORT_OPTIONS))
    options = [f"{o}={p}" for o, p in zip(PORT_OPTIONS, ports, strict=True)]
    # Ray's sockets lie there, and their paths are limited to 107 bytes.
    scratch = Path(f"/tmp/mlt-{os.getpid()}")
    log = folder / "head.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [
                ROOT / "clusters/local/head.sh",
                "--num-cpus=2",
                "--object-store-memory=200000000",
                f"--temp-dir={scratch}",
                *options,
            ],
            stdout=file,
            stderr=file,
            env=settings(RAY_AUTH_TOKEN_PATH=str(token)),
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{ports[1]}"
        wait_until_it_answers(address, process, log)
        wait_until_it_listens(ports[4])
        yield Head(address=address, token=token, home=home, metrics_port=ports[4])
    finally:
        stop(process)
        shutil.rmtree(scratch, ignore_errors=True)


def wait_until_it_answers(address: str, process: subprocess.Popen, log: Path) -> None:
    """Returns when the job server is up: it then asks for a token."""
    end = time.monotonic() + 120
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        try:
            urllib.request.urlopen(f"{address}/api/jobs/", timeout=5).close()
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return
            raise
        except OSError:
            time.sleep(0.5)
        else:
            raise AssertionError("the job server asks for no token")


def wait_until_it_listens(port: int) -> None:
    """Returns when the agent that tells metrics is up: it starts after the job server."""
    end = time.monotonic() + 60
    while True:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        assert time.monotonic() < end, f"nobody listens on {port}"
        time.sleep(0.5)


def stop(process: subprocess.Popen) -> None:
    """End the head and whatever it started: Ray keeps its processes in the session of the head."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    finally:
        for pid in members(process.pid):
            os.kill(pid, signal.SIGKILL)


def test_the_demo_as_a_job_leaves_its_table_in_the_log(head, corpus, tmp_path):
    """The whole demo: 75 runs of the shipped study, as the README has a user submit it.

    Its corpus is there already, a smaller one, so that the runs are short.
    """
    store = tmp_path / "store"
    shutil.copytree(corpus, store / "demo-corpus")
    command = ("mlt-ray", "demo", "--store", store)
    # Ray forgets the metrics of processes that have ended: they are read while the job goes on.
    metrics: set[str] = set()
    with ThreadPoolExecutor(1) as pool:
        submitted = pool.submit(head.submit, *command, **head.credentials)
        while not submitted.done():
            metrics |= {x for x in head.metrics().splitlines() if x.startswith(METRIC)}
            time.sleep(2)
    done = submitted.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    assert "runs: 75 asked for, 0 in the store, 75 to compute" in done.stdout
    found = tables(store, "demo")["tables"][0]["rows"]
    assert [row["name"] for row in found] == [row.name for row in load_study("demo").rows]
    for row in found:
        assert (row["runs_done"], row["runs_planned"]) == (15, 15)
        measured = row["measured"]
        printed = f"{measured['wa_mean']:.3f}±{measured['wa_std']:.3f} "
        [line] = [x for x in done.stdout.splitlines() if x.strip().startswith(row["name"])]
        assert printed in line
        assert line.rstrip().endswith(" 15/15")
    assert len(reports(store)) == 75

    cells = [(fold, seed) for fold in range(1, 6) for seed in range(1, 4)]
    names = {f"demo: highway network, fold {fold}, seed {seed}" for fold, seed in cells}
    assert names <= head.task_names()
    for fold, seed in cells:
        tags = (f'fold="{fold}"', 'row="highway network"', f'seed="{seed}"', 'study="demo"')
        assert any(all(tag in line for tag in tags) for line in metrics)

    again = head.submit(*command, **head.credentials)
    assert "runs: 75 asked for, 75 in the store, 0 to compute" in again.stdout


def test_the_package_of_the_working_directory_runs_and_nothing_large_goes_with_it(head):
    code = (
        "import os, pathlib, mlt_ray; "
        "print('here', pathlib.Path(mlt_ray.__file__).parents[1] == pathlib.Path.cwd()); "
        "print('bytes', sum(p.stat().st_size for p in pathlib.Path().rglob('*') if p.is_file())); "
        "print('joined', 'RAY_ADDRESS' in os.environ)"
    )
    # -P keeps Python itself from looking into the current directory, as it does for mlt-ray.
    done = head.submit(sys.executable, "-P", "-c", code, **head.credentials)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "here True" in done.stdout
    assert "joined True" in done.stdout
    [size] = re.findall(r"^bytes (\d+)$", done.stdout, re.MULTILINE)
    assert 0 < int(size) < 100 * 2**20


def test_a_failed_study_fails_the_job_with_the_users_line_in_its_log(head, tmp_path):
    command = ("mlt-ray", "run", "tabel1", "--corpus", tmp_path)
    done = head.submit(*command, **head.credentials)
    assert done.returncode == 1
    assert "unknown study tabel1; did you mean table1?" in done.stdout + done.stderr
    assert "failed" in done.stdout


@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_the_token_nothing_is_submitted(head, tmp_path, token):
    more = {}
    if token:
        (tmp_path / "token").write_text(secrets.token_hex(32))
        more = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    done = head.submit("true", **more)
    assert done.returncode != 0
    assert "Unauthorized" in done.stderr or "Invalid authentication token" in done.stderr
    assert "submitted successfully" not in done.stdout
