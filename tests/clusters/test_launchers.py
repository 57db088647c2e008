"""The launchers' files agree with Ray's schema and with the pinned versions."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from typer.main import get_command

from mlt_ray.cli.app import app
from mlt_ray.planning.profile import profile_names
from tests.affinity import ON_ONE_CPU, needs_affinity

ROOT = Path(__file__).parents[2]
CLUSTERS = ROOT / "clusters"
LAUNCHERS = [p for p in sorted(CLUSTERS.rglob("*")) if p.is_file() and p.parent != CLUSTERS]
CLOUDS = {"aws": "GPU", "gcp": "CPU"}
RAY = next(
    line.removeprefix("ray==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line.startswith("ray==")
)
PYTHON = "3.11"
TAGS = {f"{RAY}-py{PYTHON.replace('.', '')}{platform}" for platform in ("", "-gpu")}


def config(cloud: str) -> dict:
    return yaml.safe_load((CLUSTERS / cloud / "cluster.yaml").read_text())


@pytest.fixture
def ray_job() -> dict:
    return yaml.safe_load((CLUSTERS / "kuberay/rayjob.yaml").read_text())


def pods(job: dict) -> list[dict]:
    """Specifications of the pods: the head's, then those of the worker groups."""
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def relative_path(path: Path) -> str:
    return str(path.relative_to(CLUSTERS))


def test_there_is_a_launcher_for_each_place() -> None:
    assert {p.parent.name for p in LAUNCHERS} == {"local", "aws", "gcp", "kuberay", "slurm"}


@pytest.mark.parametrize("path", LAUNCHERS, ids=relative_path)
def test_every_ray_version_and_image_is_the_pinned_one(path: Path) -> None:
    text = path.read_text()
    images = re.findall(r"rayproject/ray\S*", text)
    named = [image for image in images if not image.startswith("rayproject/ray's")]
    assert {image.partition(":")[2] for image in named} <= TAGS
    assert set(re.findall(r"rayVersion: *(\S+)", text)) <= {RAY}
    assert set(re.findall(r"ray\S*==(\S+)", text)) <= {RAY}
    assert set(re.findall(r"python(3[.0-9]*)", text)) <= {PYTHON}


@pytest.mark.parametrize("path", LAUNCHERS, ids=relative_path)
def test_the_comment_at_the_top_of_a_launcher_has_two_commands_to_use_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    top = lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))]
    used = [line for line in top if line.startswith("#   ")]
    assert len(used) == 2
    assert any(relative_path(path) in line for line in used)
    for line in used:
        assert shlex.split(line.removeprefix("#"), comments=True)


@pytest.mark.parametrize("path", LAUNCHERS, ids=relative_path)
def test_a_launcher_names_shipped_profiles_only(path: Path) -> None:
    named = re.findall(r"--profile ([a-z_]+)", path.read_text())
    assert set(named) <= set(profile_names())


@pytest.mark.parametrize("path", LAUNCHERS, ids=relative_path)
def test_a_launcher_uses_only_options_that_mlt_ray_has(path: Path) -> None:
    known = {option for p in get_command(app).commands["run"].params for option in p.opts}
    commands = re.findall(r"(?:mlt-ray|submit\.sh) run .*(?:\n +--.*)*", path.read_text())
    assert commands
    for command in commands:
        assert set(re.findall(r" (--[a-z-]+)", command)) <= known


@pytest.mark.parametrize("path", LAUNCHERS, ids=relative_path)
def test_a_launcher_requires_a_token_and_contains_none(path: Path) -> None:
    text = path.read_text()
    assert re.search(r"RAY_AUTH_MODE=token|authOptions:\s+mode: token", text)
    assert not re.search(r"RAY_AUTH_TOKEN[=:]", text)
    assert not re.search(r"\b[0-9a-f]{32,}\b|AKIA[0-9A-Z]{16}|PRIVATE KEY", text)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_cluster_file_agrees_with_rays_schema(cloud: str) -> None:
    filled = prepare_config(config(cloud))
    validate_config(filled)
    assert filled["provider"]["type"] == cloud
    assert filled["head_node_type"] == "head"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_rays_schema_refuses_a_misspelt_key(cloud: str) -> None:
    misspelt = config(cloud) | {"idle_timeout_minuts": 5}
    with pytest.raises(Exception, match="idle_timeout_minuts"):
        validate_config(prepare_config(misspelt))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_nodes_get_the_token_and_install_this_project_with_its_constraints(cloud: str) -> None:
    values = config(cloud)
    mounts = dict(values["file_mounts"])
    assert mounts.pop("/home/ray/auth_token") == "~/.ray/auth_token"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    built = [*wheel["packages"], *wheel["force-include"], *project["project"]["license-files"]]
    needed = {*built, project["project"]["readme"], "pyproject.toml", "constraints.txt"}
    assert mounts == {f"/home/ray/checkout/{name}": name for name in needed}
    assert all((ROOT / name).exists() for name in needed)
    assert values["docker"]["run_options"] == [
        "--env RAY_AUTH_MODE=token",
        "--env RAY_AUTH_TOKEN_PATH=/home/ray/auth_token",
    ]
    [install] = values["setup_commands"]
    checkout = "/home/ray/checkout"
    assert install == f'pip install -c {checkout}/constraints.txt "{checkout}[opensmile]"'
    assert "opensmile" in project["project"]["optional-dependencies"]


@pytest.mark.parametrize(("cloud", "kind"), CLOUDS.items())
def test_the_head_computes_no_runs_and_at_least_one_worker_does(cloud: str, kind: str) -> None:
    types = prepare_config(config(cloud))["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    worker = types[kind.lower()]
    assert worker["min_workers"] >= 1
    assert worker["max_workers"] >= worker["min_workers"]


def test_googles_image_is_rays_default() -> None:
    default = prepare_config({"provider": {"type": "gcp"}})["available_node_types"]

    def images(types: dict) -> set[str]:
        disks = [d for t in types.values() for d in t["node_config"]["disks"]]
        return {disk["initializeParams"]["sourceImage"] for disk in disks}

    assert images(config("gcp")["available_node_types"]) == images(default)


def test_the_rayjob_has_what_kuberay_requires(ray_job: dict) -> None:
    assert (ray_job["apiVersion"], ray_job["kind"]) == ("ray.io/v1", "RayJob")
    assert ray_job["metadata"]["name"] == "mlt-ray"
    assert ray_job["spec"]["shutdownAfterJobFinishes"] is True
    cluster = ray_job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == RAY
    assert cluster["authOptions"] == {"mode": "token"}
    for group in cluster["workerGroupSpecs"]:
        assert {"groupName", "minReplicas", "maxReplicas"} <= set(group)
        assert 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        # KubeRay's API has a map of texts here and refuses numbers.
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    head, *workers = [[c["name"] for c in pod["containers"]] for pod in pods(ray_job)]
    assert head == ["ray-head"]
    assert workers == [["ray-worker"]]


def test_a_pod_of_the_rayjob_has_the_gpu_image_if_it_has_a_gpu(ray_job: dict) -> None:
    for pod in pods(ray_job):
        [container] = pod["containers"]
        limits = container["resources"]["limits"]
        assert limits == container["resources"]["requests"]
        assert container["image"].endswith("-gpu") == ("nvidia.com/gpu" in limits)


def test_all_pods_of_the_rayjob_see_the_volume_that_the_job_reads(ray_job: dict) -> None:
    for pod in pods(ray_job):
        [container] = pod["containers"]
        [mount] = container["volumeMounts"]
        [volume] = pod["volumes"]
        assert mount == {"name": volume["name"], "mountPath": "/mnt/mlt-ray"}
        assert volume["persistentVolumeClaim"] == {"claimName": "mlt-ray"}
    paths = re.findall(r"/mnt/\S+", ray_job["spec"]["entrypoint"])
    assert paths == ["/mnt/mlt-ray/IEMOCAP_full_release", "/mnt/mlt-ray/runs"]


def test_the_rayjob_names_the_images_that_the_dockerfile_says_how_to_build(ray_job: dict) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    built = re.findall(r"-t (\S+)", (CLUSTERS / "Dockerfile").read_text())
    assert built == [f"mlt-ray:{version}", f"mlt-ray:{version}-gpu"]
    named = [container["image"] for pod in pods(ray_job) for container in pod["containers"]]
    assert named == [f"REGISTRY/{image}" for image in built]


@pytest.mark.parametrize("path", [p for p in LAUNCHERS if p.suffix == ".sh"], ids=relative_path)
def test_shellcheck_finds_nothing_in_a_script(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    shellcheck = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([shellcheck, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert os.access(path, os.X_OK)


@needs_affinity
def test_the_local_head_gives_out_the_cpus_that_its_shell_may_use(tmp_path: Path) -> None:
    fake = tmp_path / "ray"
    fake.write_text('#!/usr/bin/env bash\n[[ $1 != start ]] || echo "$@"\n')
    fake.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment["PATH"] = path
    command = [*ON_ONE_CPU, "bash", CLUSTERS / "local/head.sh", "--port", "7000"]
    started = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=True
    ).stdout
    # The user's own options come last, so that they count.
    assert started.split()[-4:] == ["--num-cpus", "1", "--port", "7000"]
