"""Predictions as a table, lines of JSON, and CSV."""

import io
import json
from collections.abc import Sequence

import pytest

from mlt_ray.display.predictions import PRINTERS
from mlt_ray.inference.prediction import Prediction, Window
from mlt_ray.storage.spreadsheet import csv_rows

CLASSES = ("calm", 'a,b "x"')
SHORT = Prediction(
    audio="=cmd().wav",
    text="-so, [bold]glad[/bold]",
    text_source="given",
    label="calm",
    probabilities={"calm": 0.75, 'a,b "x"': 0.25},
)
LONG = Prediction(
    audio="b.wav",
    text="it is it is",
    text_source="asr: tiny",
    label='a,b "x"',
    probabilities={"calm": 0.375, 'a,b "x"': 0.625},
    windows=(
        Window(
            start_s=0.0,
            end_s=30.0,
            text="it is",
            label="calm",
            probabilities={"calm": 0.5, 'a,b "x"': 0.5},
        ),
        Window(
            start_s=30.0,
            end_s=47.25,
            text="it is",
            label='a,b "x"',
            probabilities={"calm": 0.125, 'a,b "x"': 0.875},
        ),
    ),
)


def printed(form: str, *blocks: Sequence[Prediction], classes: Sequence[str] = CLASSES) -> str:
    output = io.StringIO()
    printer = PRINTERS[form](output, classes)
    for block in blocks:
        printer.show(block)
    printer.end()
    return output.getvalue()


def test_a_table_has_a_line_for_each_recording_and_each_window() -> None:
    lines = printed("table", [SHORT], [LONG]).splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert cells == [
        ["=cmd().wav", "calm", "0.75", "0.25", "-so, [bold]glad[/bold]"],
        ["b.wav", 'a,b "x"', "0.38", "0.62", "it is it is"],
        ["0.0–30.0 s", "calm", "0.50", "0.50", "it is"],
        ["30.0–47.2 s", 'a,b "x"', "0.12", "0.88", "it is"],
    ]
    [head] = [line for line in lines if line.startswith("┃")]
    assert [c.strip() for c in head.split("┃")[1:-1]] == ["file", "label", *CLASSES, "text"]
    assert any("│   0.0–30.0 s " in line for line in lines)


def test_a_table_in_a_file_is_not_as_narrow_as_a_terminal() -> None:
    name = "n" * 97
    assert name in printed("table", [Prediction(**{**vars(SHORT), "audio": name})])


def test_json_has_a_line_for_each_recording() -> None:
    short, long = printed("json", [SHORT], [LONG]).splitlines()
    assert short == (
        '{"audio": "=cmd().wav", "text": "-so, [bold]glad[/bold]", "text_source": "given", '
        '"label": "calm", "probabilities": {"calm": 0.75, "a,b \\"x\\"": 0.25}}'
    )
    found = json.loads(long)
    assert [*found] == ["audio", "text", "text_source", "label", "probabilities", "windows"]
    assert found["windows"][1] == {
        "start_s": 30.0,
        "end_s": 47.25,
        "text": "it is",
        "label": 'a,b "x"',
        "probabilities": {"calm": 0.125, 'a,b "x"': 0.875},
    }


def test_csv_has_its_columns_once_and_no_cell_that_a_spreadsheet_computes() -> None:
    assert printed("csv", [SHORT, LONG]) == (
        'audio,start_s,end_s,label,p_calm,"p_a,b ""x""",text,text_source\n'
        "'=cmd().wav,,,calm,0.75,0.25,\"'-so, [bold]glad[/bold]\",given\n"
        'b.wav,,,"a,b ""x""",0.375,0.625,it is it is,asr: tiny\n'
        "b.wav,0.0,30.0,calm,0.5,0.5,it is,asr: tiny\n"
        'b.wav,30.0,47.25,"a,b ""x""",0.125,0.875,it is,asr: tiny\n'
    )


def test_csv_is_the_same_in_one_block_and_in_several() -> None:
    assert printed("csv", [SHORT], [LONG], []) == printed("csv", [SHORT, LONG])


def test_csv_keeps_the_order_of_the_classes_that_it_was_given() -> None:
    [_, row] = csv_rows(printed("csv", [SHORT], classes=CLASSES[::-1]))
    assert row[3:6] == ["calm", "0.25", "0.75"]


@pytest.mark.parametrize("form", PRINTERS)
def test_a_name_that_is_no_text_is_printed_all_the_same(form: str) -> None:
    """The name of a file on disk may hold bytes that are no UTF-8."""
    shown = printed(form, [Prediction(**{**vars(SHORT), "audio": "a\udcff.wav"})])
    assert shown.encode()
    assert ("a\\udcff.wav" if form == "json" else "a?.wav") in shown


@pytest.mark.parametrize(("form", "lines"), [("table", 0), ("json", 0), ("csv", 1)])
def test_without_any_prediction_csv_has_its_columns_alone(form: str, lines: int) -> None:
    assert len(printed(form).splitlines()) == len(printed(form, []).splitlines()) == lines


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_block_is_printed_as_soon_as_it_is_there(form: str) -> None:
    output = io.StringIO()
    PRINTERS[form](output, CLASSES).show([SHORT])
    assert "=cmd().wav" in output.getvalue()
