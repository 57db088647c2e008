"""How far long work is, in a terminal and as plain lines."""

import io

import pytest
from rich.console import Console

from mlt_ray.display.bars import Bars, reading


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


@pytest.mark.parametrize("is_terminal", [False, True])
def test_reading_a_corpus_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=is_terminal, width=80)
    with reading(console) as progress:
        for done in range(1, 8):
            progress(done, 7)
    lines = output.getvalue()
    assert ("recordings" in lines) == is_terminal
    # The bar's line is erased at the end, and nothing stands in its place.
    assert not is_terminal or lines.rstrip().endswith("\x1b[2K")


def test_reading_a_long_corpus_is_said_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlt_ray.display.bars.LINE_INTERVAL_S", -1.0)
    output = io.StringIO()
    with reading(Console(file=output, width=80)) as progress:
        for done in (3, 7):
            progress(done, 7)
    assert output.getvalue() == "recordings: 3/7\n"


def test_a_bar_is_not_drawn_for_each_of_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    with Bars(Console(file=io.StringIO(), force_terminal=True)) as bars:
        monkeypatch.setattr(bars._progress, "update", lambda *_, **values: drawn.append(values))
        for done in range(1, 1001):
            bars.show("files", done, 1000)
    assert len(drawn) < 100
    assert drawn[-1] == {"completed": 1000, "total": 1000}
