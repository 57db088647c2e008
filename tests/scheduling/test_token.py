"""Ray on this machine asks for a token, which nobody but the user can read."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mlt_ray.scheduling.token import CHOSEN, make_private

STRANGER = """
import ray
try:
    ray.init("{address}", logging_level="ERROR")
except Exception as error:
    print("refused:", error)
else:
    print("joined")
"""

HOST = """
import os, subprocess, sys
import ray
from mlt_ray.planning.resources import Resources
from mlt_ray.scheduling.connection import connection

with connection(None, Resources()):
    address = ray.get_runtime_context().gcs_address
    stranger = sys.argv[1].replace("{address}", address)
    for token in ("0" * 64, ""):
        others = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        if not token:
            others["RAY_AUTH_MODE"] = "disabled"
        done = subprocess.run(
            [sys.executable, "-c", stranger], capture_output=True, text=True, env=others
        )
        print(done.stdout.strip() or done.stderr)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (
        "RAY_AUTH_MODE",
        *CHOSEN,
    ):  # set first, then they are put back
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_token_is_made_that_nobody_else_reads(home: Path) -> None:
    make_private()
    token = home / ".ray" / "auth_token"
    assert mode(token) == 0o600
    first = token.read_text()
    assert len(first) == 64
    token.chmod(0o644)
    make_private()
    assert mode(token) == 0o600
    assert token.read_text() == first
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_without_a_home_the_token_is_in_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/dev/null/nowhere")
    make_private()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_what_the_user_says_of_tokens_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    make_private()
    assert not (home / ".ray").exists()


@pytest.mark.slow
def test_who_has_no_token_is_refused(home: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", HOST, STRANGER],
        capture_output=True,
        text=True,
        timeout=300,
        env=kept,
        check=True,
    )
    answers = [line for line in done.stdout.splitlines() if line.strip()]
    assert sum(line.startswith("refused:") for line in answers) == 2, done.stdout
    assert "joined" not in done.stdout
    assert mode(home / ".ray" / "auth_token") == 0o600


def test_ray_s_own_mode_of_tokens_is_no_token(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    make_private()
    assert mode(home / ".ray" / "auth_token") == 0o600
