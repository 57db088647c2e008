"""The verb run: what it makes of its options."""

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mlt_ray.cli.app import app
from mlt_ray.cli.run import parse_numbers
from mlt_ray.errors import UserError
from mlt_ray.workflows import run as studies
from mlt_ray.workflows.run import Request


@pytest.mark.parametrize("option", ["encoder", "speech_encoder"])
@pytest.mark.parametrize("encoder", [None, "minilm"])
def test_an_encoder_option_reaches_the_request(
    encoder: str | None, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []

    def show_plan(request: Request, console: Console) -> None:
        asked.append(request)

    monkeypatch.setattr(studies, "show_plan", show_plan)
    arguments = ["run", "table3", "--corpus", str(tmp_path), "--dry-run"]
    given = [f"--{option.replace('_', '-')}", encoder] if encoder else []
    done = CliRunner().invoke(app, arguments + given)
    assert done.exit_code == 0, done.output
    [request] = asked
    found = {"encoder": request.places.encoder, "speech_encoder": request.places.speech_encoder}
    assert found.pop(option) == encoder
    assert list(found.values()) == [None]


def test_set_changes_only_the_rows_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []
    monkeypatch.setattr(studies, "show_plan", lambda request, console: asked.append(request))
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
