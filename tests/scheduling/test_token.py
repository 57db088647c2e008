"""Ray on this machine asks for a token, which nobody but the user can read."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mlt_ray.scheduling.token import keep_private

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
    return tmp_path


def test_a_token_that_all_may_read_becomes_private(home: Path) -> None:
    token = home / ".ray" / "auth_token"
    keep_private()
    token.parent.mkdir()
    token.write_text("0123")
    token.chmod(0o644)
    keep_private()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() == "0123"


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
    assert stat.S_IMODE((home / ".ray" / "auth_token").stat().st_mode) == 0o600
