"""What the verb run makes of its options."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlt_ray.cli.app import app
from mlt_ray.cli.run import parse_numbers
from mlt_ray.errors import UserError
from mlt_ray.workflows import run
from mlt_ray.workflows.run import Request


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
