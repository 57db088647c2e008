"""How far long work is, in a terminal and as plain lines."""

import io

import pytest
from rich.console import Console

from mlt_ray.display.bars import Bars


def shown(is_terminal: bool, counts: tuple[int, ...]) -> str:
    output = io.StringIO()
    with Bars(Console(file=output, force_terminal=is_terminal, width=80)) as bars:
        for done in counts:
            bars.show("states", done, 7)
    assert bars.totals == {"states": 7}
    return output.getvalue()


def test_where_there_is_no_terminal_lines_say_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlt_ray.display.bars.LINE_INTERVAL_S", -1.0)
    lines = shown(False, (0, 2, 5, 7)).splitlines()
    assert lines[:2] == ["states: 2/7", "states: 5/7"]
    assert "7/7" in lines[2]
    assert "states: 2/7" not in shown(True, (0, 2, 7))


def test_lines_are_seldom() -> None:
    assert "states: " not in shown(False, (0, 2, 5, 7))
