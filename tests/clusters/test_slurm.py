"""The Slurm script with a fake Slurm, which has two nodes that are both this machine."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "clusters/slurm/submit.sh"
BIN = Path(sys.executable).parent

SRUN = """#!/usr/bin/env bash
echo "srun $*" >>"$CALLS"
[[ $SRUN_CPUS_PER_TASK == "$SLURM_CPUS_PER_TASK" ]] || exit 1
while [[ $1 == --* ]]; do shift; done
# Both nodes are one machine, so their agents need different ports.
[[ $* == *--head* ]] || set -- "$@" --dashboard-agent-listen-port $((AGENT_PORT + 1))
[[ $* != *--head* ]] || set -- "$@" --dashboard-agent-listen-port $AGENT_PORT
exec "$@"
"""

SCONTROL = """#!/usr/bin/env bash
[[ $* == "show hostnames node[1-2]" ]] && printf 'node1\\nnode2\\n'
"""

# Instead of running a study, it prints the nodes of the cluster, its arguments and the token.
MLT_RAY = """#!/usr/bin/env bash
exec python - "$@" <<'PYTHON'
import os, stat, sys, time
import ray

ray.init(address="auto", log_to_driver=False)
end = time.monotonic() + 60
while len(ray.nodes()) < 2 and time.monotonic() < end:
    time.sleep(0.5)
mode = stat.S_IMODE(os.stat(os.environ["RAY_AUTH_TOKEN_PATH"]).st_mode)
print("nodes", sorted(n["Resources"].get("CPU", 0) for n in ray.nodes() if n["Alive"]))
print("arguments", sys.argv[1:])
print("token", os.environ["RAY_AUTH_MODE"], oct(mode))
sys.exit(int(sys.argv[-1]))
PYTHON
"""


@pytest.fixture
def submitted(tmp_path: Path) -> dict[str, str]:
    """The environment of a batch script on the first of two nodes."""
    fakes = tmp_path / "venv/bin"
    fakes.mkdir(parents=True)
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "mlt-ray": MLT_RAY}.items():
        (fakes / name).write_text(text)
        (fakes / name).chmod(0o755)
    (fakes / "activate").write_text(f'PATH="{fakes}:{BIN}:$PATH"\n')
    job = 10_000 + secrets.randbelow(9_000)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return inherited | {
        "VENV": str(fakes.parent),
        "CALLS": str(tmp_path / "calls"),
        "AGENT_PORT": str(30_000 + job % 1000 * 2),
        "OMP_NUM_THREADS": "1",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": str(job),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_CPUS_PER_TASK": "3",
    }


ENDED_S = 10.0
"""Seconds that processes which were told to end may take to be gone."""


def of_session(leader: int) -> list[int]:
    """Ids of the processes of a session."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "-s", str(leader)], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]


def test_all_nodes_join_one_cluster_with_a_token_and_no_process_is_left(
    submitted: dict[str, str], tmp_path: Path
) -> None:
    job = submitted["SLURM_JOB_ID"]
    process = subprocess.Popen(
        [SCRIPT, "run", "table1", "--store", "some where", "7"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=submitted,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=240)
    finally:
        until = time.monotonic() + ENDED_S
        while (left := of_session(process.pid)) and time.monotonic() < until:
            time.sleep(0.1)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(f"/tmp/ray-{job}", ignore_errors=True)
    assert "nodes [3.0, 3.0]" in output, output
    assert "arguments ['run', 'table1', '--store', 'some where', '7']" in output
    assert "token token 0o600" in output
    assert process.returncode == 7, "the script ends with the exit code of mlt-ray"
    assert not left
    assert not list(tmp_path.glob(".ray-token-*"))
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert first.startswith("srun --nodes=1 --ntasks=1 --nodelist=node1 ray start ")
    assert second.startswith("srun --nodes=1 --ntasks=1 --exclude=node1 ray start ")
    assert "--num-gpus 0" in first
