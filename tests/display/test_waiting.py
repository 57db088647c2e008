"""What a command says while it waits."""

import io
import time

import pytest
from rich.console import Console

from mlt_ray.display import waiting as module
from mlt_ray.display.waiting import waiting


def said(seconds: float, monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool = False) -> str:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    output = io.StringIO()
    with waiting(Console(file=output, force_terminal=is_terminal, width=60), "starting Ray"):
        time.sleep(seconds)
    return output.getvalue()


def test_a_long_wait_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(0.5, monkeypatch) == "starting Ray …\n"


def test_a_short_wait_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(0.0, monkeypatch) == ""


def test_a_terminal_shows_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "starting Ray" in said(0.0, monkeypatch, is_terminal=True)


def test_nothing_is_told_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    with pytest.raises(OSError, match="gone"), waiting(Console(file=output), "reading"):
        raise OSError("gone")
    time.sleep(0.2)
    assert output.getvalue() == ""
