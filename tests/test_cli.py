"""What the command line makes of its options."""

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mlt_ray.cli import app, parse_numbers
from mlt_ray.errors import UserError
from mlt_ray.orchestration import studies
from mlt_ray.orchestration.studies import Request


@pytest.mark.parametrize("option", ["encoder", "speech_encoder"])
@pytest.mark.parametrize("encoder", [None, "minilm"])
def test_an_encoder_is_handed_on(
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
    setting = request.setting
    found = {"encoder": setting.encoder, "speech_encoder": setting.speech_encoder}
    assert found.pop(option) == encoder
    assert list(found.values()) == [None]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", []), ("3", [3]), ("1,3-5", [1, 3, 4, 5]), ("1 - 2, 2", [1, 2])],
)
def test_numbers_are_listed_or_in_ranges(text: str, numbers: list[int]) -> None:
    assert parse_numbers("--folds", text) == numbers


@pytest.mark.parametrize("text", ["5-1", ",", "1,", "1-", "-2", "²", "a", "1-2-3"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--folds: expected numbers such as 1,3 or 1-5, got"):
        parse_numbers("--folds", text)
