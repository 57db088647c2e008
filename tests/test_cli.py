"""What the command line makes of its options."""

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mlt_ray.cli import app
from mlt_ray.orchestration import studies
from mlt_ray.orchestration.studies import Request


@pytest.mark.parametrize("encoder", [None, "minilm"])
def test_an_encoder_is_handed_on(
    encoder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []

    def show_plan(request: Request, console: Console) -> None:
        asked.append(request)

    monkeypatch.setattr(studies, "show_plan", show_plan)
    arguments = ["run", "table3", "--corpus", str(tmp_path), "--dry-run"]
    done = CliRunner().invoke(app, arguments + (["--encoder", encoder] if encoder else []))
    assert done.exit_code == 0, done.output
    assert [request.encoder for request in asked] == [encoder]
