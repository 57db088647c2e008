"""What the shared options of the verbs become."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import typer
from rich.console import Console
from typer.models import OptionInfo
from typer.testing import CliRunner

from mlt_ray.cli.app import app
from mlt_ray.planning.resources import Resources
from mlt_ray.studies.space import SearchSpec
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


def numeric_options(verbs: typer.Typer = app, words: str = "") -> dict[str, OptionInfo]:
    """Every option that is a number, by the words of the command line, with what is said of it."""
    found: dict[str, OptionInfo] = {}
    for group in verbs.registered_groups:
        assert group.typer_instance is not None
        found |= numeric_options(group.typer_instance, f"{words}{group.name} ")
    for command in verbs.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        for parameter in inspect.signature(command.callback, eval_str=True).parameters.values():
            kind, *said = get_args(parameter.annotation) or (parameter.annotation,)
            if {int, float} & {kind, *get_args(kind)}:
                [option] = (one for one in said if isinstance(one, OptionInfo))
                found[f"{words}{name} --{parameter.name.replace('_', '-')}"] = option
    return found


NUMERIC = numeric_options()


def test_the_numeric_options_are_found() -> None:
    assert {"run --pack", "search --trials", "predict --hop", "corpus demo --seed"} <= set(NUMERIC)


@pytest.mark.parametrize("words", NUMERIC)
def test_a_numeric_option_has_a_lower_and_an_upper_bound(words: str) -> None:
    option = NUMERIC[words]
    assert option.min is not None, f"{words}: give it min"
    assert option.max is not None, f"{words}: give it max"
    assert 0 <= option.min < option.max <= 2**31


SETTINGS = {
    words: (kind, words.rpartition("--")[2].replace("-", "_"))
    for words in NUMERIC
    for kind in (Resources, SearchSpec)
    if words.rpartition("--")[2].replace("-", "_") in {f.name for f in fields(kind)}
}


@pytest.mark.parametrize("words", SETTINGS)
def test_an_option_has_the_upper_bound_of_the_setting_that_it_is_for(words: str) -> None:
    kind, name = SETTINGS[words]
    highest = NUMERIC[words].max
    kind(**{name: highest})
    with pytest.raises(ValueError, match=f"{name}: expected a number"):
        kind(**{name: highest + 1})
