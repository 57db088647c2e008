"""The image's file keeps hadolint's rules, and brings in no more than pip needs."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "clusters/Dockerfile"
RAY = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


def hadolint(text: str) -> str:
    """What hadolint finds in a Dockerfile; empty if it finds nothing."""
    program = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [program, "-"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert bool(done.returncode) == bool(done.stdout), done.stderr
    return done.stdout


def test_hadolint_finds_nothing() -> None:
    assert hadolint(DOCKERFILE.read_text()) == ""


@pytest.mark.parametrize(
    ("kept", "broken", "rule"),
    [
        ("2.60.0-py311${PLATFORM}", "latest", "DL3007"),
        ("USER 1000:100", "USER root", "DL3002"),
        ("--no-cache-dir ", "", "DL3042"),
    ],
)
def test_hadolint_finds_what_is_broken(kept: str, broken: str, rule: str) -> None:
    text = DOCKERFILE.read_text()
    assert kept in text
    assert rule in hadolint(text.replace(kept, broken))


def test_the_image_is_rays_of_the_pinned_version_and_nobody_is_root_in_it() -> None:
    lines = DOCKERFILE.read_text().splitlines()
    assert RAY is not None
    [base] = [line for line in lines if line.startswith("FROM")]
    assert base == f"FROM rayproject/ray:{RAY[1]}-py311${{PLATFORM}}"
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:100"]
    assert lines.index("USER 1000:100") < next(
        n for n, line in enumerate(lines) if line.startswith("RUN")
    )


def test_the_image_gets_what_pip_needs_of_the_checkout_alone() -> None:
    ignored = Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    built = {*wheel["packages"], *wheel["force-include"], *project["project"]["license-files"]}
    needed = {*built, project["project"]["readme"], "pyproject.toml", "constraints.txt"}
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == needed


def test_the_image_holds_no_secret_and_asks_for_a_token() -> None:
    text = DOCKERFILE.read_text()
    assert "RAY_AUTH_MODE=token" in text
    assert not re.search(r"RAY_AUTH_TOKEN=|AWS_|\b[0-9a-f]{32,}\b", text)


def test_what_the_image_starts_is_in_it() -> None:
    [command] = re.findall(r'^CMD \["/home/ray/checkout/(\S+)"\]', DOCKERFILE.read_text(), re.M)
    assert (ROOT / command).stat().st_mode & 0o111
