"""What the shared options of the verbs become."""

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mlt_ray.cli.app import app
from mlt_ray.workflows import run
from mlt_ray.workflows.run import Request


@pytest.mark.parametrize("option", ["encoder", "speech_encoder"])
@pytest.mark.parametrize("encoder", [None, "minilm"])
def test_an_encoder_option_reaches_the_request(
    encoder: str | None, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []

    def show_plan(request: Request, console: Console) -> None:
        asked.append(request)

    monkeypatch.setattr(run, "show_plan", show_plan)
    arguments = ["run", "table3", "--corpus", str(tmp_path), "--dry-run"]
    given = [f"--{option.replace('_', '-')}", encoder] if encoder else []
    done = CliRunner().invoke(app, arguments + given)
    assert done.exit_code == 0, done.output
    [request] = asked
    found = {"encoder": request.places.encoder, "speech_encoder": request.places.speech_encoder}
    assert found.pop(option) == encoder
    assert list(found.values()) == [None]
