"""What the verb run makes of its options."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlt_ray.cli.app import app
from mlt_ray.cli.run import parse_numbers
from mlt_ray.errors import UserError
from mlt_ray.workflows import run
from mlt_ray.workflows.run import Request
from tests.affinity import ON_ONE_CPU, needs_affinity


def test_set_changes_only_the_rows_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []
    monkeypatch.setattr(run, "show_plan", lambda request, console: asked.append(request))
    arguments = ["run", "table1", "--corpus", str(tmp_path), "--dry-run"]
    arguments += ["--set", "model.highway_layers=3", "--rows", "highway network, concatenation"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    changed = [row.name for row in asked[0].studies[0].rows if row.changes]
    assert changed == ["concatenation", "highway network"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", []), ("3", [3]), ("1,3-5", [1, 3, 4, 5]), ("1 - 2, 2", [1, 2])],
)
def test_numbers_are_read_from_lists_and_ranges(text: str, numbers: list[int]) -> None:
    assert parse_numbers("--folds", text) == numbers


@pytest.mark.parametrize("text", ["5-1", ",", "1,", "1-", "-2", "²", "a", "1-2-3"])
def test_numbers_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--folds: expected numbers such as 1,3 or 1-5, got"):
        parse_numbers("--folds", text)


@needs_affinity
def test_a_run_that_wants_more_cpus_than_the_process_may_use_is_refused(tmp_path: Path) -> None:
    words = [*ON_ONE_CPU, Path(sys.executable).with_name("mlt-ray"), "run", "table1"]
    words += ["--corpus", tmp_path, "--cpus-per-run", 2, "--dry-run"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert "resources: expected 2 CPU for a run, found 1 CPU and 0 GPU" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2147483648", "expected numbers up to 2147483647, got '2147483648'"),
        ("1-99999999999999999999", "expected numbers up to 2147483647, got '1-9"),
        ("9" * 5000, "expected numbers up to 2147483647, got '999"),
        ("1-10001", "expected at most 10,000 numbers, got 1-10001"),
    ],
)
def test_more_or_higher_numbers_than_anyone_asks_for_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_numbers("--seeds", text)
    assert str(refused.value).startswith(f"--seeds: {message}")
    assert len(str(refused.value)) < 200
