"""How many CPUs this process may use, by affinity, control groups and Slurm."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mlt_ray
from mlt_ray.machine import installed_cpus, torch_threads, usable_cpus, usable_memory
from tests.affinity import ON_ONE_CPU, needs_affinity

MANY = 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system without control groups."""
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with many CPUs, of which the process may use all, outside Slurm."""
    monkeypatch.setattr(os, "cpu_count", lambda: MANY)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MANY)), raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


V1 = "9:name=systemd:/\n4:cpu,cpuacct:/slurm/job_7\n1:memory:/far/away\n0::/\n"


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 64),
        ({"proc/self/cgroup": "nonsense\n0::/\n"}, 64),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        # A container, which sees its own group as the root.
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        # It may not use a third CPU whole.
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        # A container that sees the machine's name of its group.
        ({"proc/self/cgroup": "0::/kube/pod\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3),
        # The least of a group and those above it.
        (
            {
                "proc/self/cgroup": "0::/user/job/step\n",
                "sys/fs/cgroup/user/job/step/cpu.max": "max 100000\n",
                "sys/fs/cgroup/user/job/cpu.max": "700000 100000\n",
                "sys/fs/cgroup/user/cpu.max": "900000 100000\n",
                "sys/fs/cgroup/other/cpu.max": "100000 100000\n",
            },
            7,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us": "500000\n",
                "sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_period_us": "100000\n",
            },
            5,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "1200000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "200000\n",
            },
            6,
        ),
    ],
)
def test_the_least_quota_of_the_control_groups_counts(
    root: Path, files: dict[str, str], cpus: int
) -> None:
    write(root, files)
    assert usable_cpus(root) == cpus
    assert installed_cpus() == MANY


def test_the_memory_is_that_of_the_machine_or_of_a_control_group(root: Path) -> None:
    installed = usable_memory(root)
    assert installed > 2**28
    assert usable_memory() <= installed
    write(root, {"proc/self/cgroup": "0::/pod\n", "sys/fs/cgroup/pod/memory.max": "max\n"})
    assert usable_memory(root) == installed
    write(root, {"sys/fs/cgroup/memory.max": "67108864\n"})
    assert usable_memory(root) == 2**26
    write(root, {"sys/fs/cgroup/pod/memory.max": "33554432\n"})
    assert usable_memory(root) == 2**25
    write(root, {"proc/self/cgroup": V1, "sys/fs/cgroup/memory.max": "max\n"})
    limit = "sys/fs/cgroup/memory/far/away/memory.limit_in_bytes"
    write(root, {limit: "9223372036854771712\n"})
    assert usable_memory(root) == installed
    write(root, {limit: "16777216\n"})
    assert usable_memory(root) == 2**24


def test_no_more_than_the_affinity_allows(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8})
    assert usable_cpus(root) == 3
    write(root, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "800000 100000"})
    assert usable_cpus(root) == 3


def test_slurm_is_asked_where_it_did_not_set_the_affinity(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert usable_cpus(root) == 4
    # Several tasks of one process, or a user who has chosen: the affinity is what holds.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert usable_cpus(root) == 8


def test_a_system_without_affinity_has_all_its_cpus(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cpus(root) == MANY


@needs_affinity
def test_a_process_on_one_cpu_sees_one() -> None:
    code = "from mlt_ray.machine import usable_cpus; print(usable_cpus())"
    command = [*ON_ONE_CPU, sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


def test_torch_has_no_more_threads_than_asked_for_while_the_block_lasts() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for most, inside in ((2, 2), (5, 3)):
            with torch_threads(most):
                assert torch.get_num_threads() == inside
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_cpus_are_counted_in_one_place() -> None:
    package = Path(mlt_ray.__file__).parent
    names = {"cpu_count", "process_cpu_count", "sched_getaffinity", "get_num_cpus"}
    counting = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.alias) and node.name in names)
    }
    assert counting == {"machine.py"}


def test_no_pool_of_threads_or_processes_has_its_default_size() -> None:
    """By default it follows the CPUs of the whole machine."""
    package = Path(mlt_ray.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                sized = node.args or any(k.arg == "max_workers" for k in node.keywords)
                assert sized or not node.func.id.endswith("PoolExecutor"), path
