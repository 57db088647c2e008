"""The configurations of a search as a table and as files."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mlt_ray.reports.search import ConfigurationResult, search_table, write_search
from mlt_ray.studies.space import SearchSpace, parse_space


@pytest.fixture
def space() -> SearchSpace:
    values = {
        "title": "Widths",
        "base": {"model": {"system": "multilevel"}},
        "space": {"model.width": {"choice": [64, 128]}, "model.dropout": {"float": [0.0, 0.5]}},
    }
    return parse_space(Path("mini.yaml"), values)


RESULTS = (
    ConfigurationResult(
        number=1,
        values={"model.width": 64, "model.dropout": 0.25},
        state="complete",
        reason="",
        runs_done=5,
        runs_planned=5,
        means={"dev_ua": 0.7125},
        place=1,
    ),
    ConfigurationResult(
        number=2,
        values={"model.width": 128, "model.dropout": 0.5},
        state="failed",
        reason="the loss is nan",
        runs_done=0,
        runs_planned=5,
        means={},
        place=None,
    ),
)


def test_a_table_shows_every_configuration_with_its_state_and_place(space: SearchSpace) -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(search_table(space, RESULTS))
    lines = console.file.getvalue().splitlines()
    assert "Widths (dev scores)" in lines[0]
    assert lines[-2].split() == ["1", "64", "0.25", "5/5", "0.7125", "complete,", "best", "1"]
    assert lines[-1].split()[:4] == ["2", "128", "0.5", "0/5"]
    assert lines[-1].rstrip().endswith("failed: the loss is nan")


def test_files_hold_every_digit_and_nothing_where_there_is_no_mean(
    space: SearchSpace, tmp_path: Path
) -> None:
    said = write_search(space, RESULTS, tmp_path)
    assert said == f"search.csv, search.json in {tmp_path}"
    found = json.loads((tmp_path / "search.json").read_text())
    assert (found["search"], found["title"]) == ("mini", "Widths")
    first, second = found["configurations"]
    assert (first["model.width"], first["dev_ua"], first["cells_done"]) == (64, 0.7125, 5)
    assert (second["state"], second["reason"], second["dev_ua"]) == (
        "failed",
        "the loss is nan",
        None,
    )
    with (tmp_path / "search.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["number"] for row in rows] == ["1", "2"]
    assert rows[1]["dev_ua"] == ""


def test_no_text_in_csv_is_a_formula_for_a_spreadsheet_and_numbers_stay_numbers(
    space: SearchSpace, tmp_path: Path
) -> None:
    values = {"model.width": "-wide", "model.dropout": -0.5}
    write_search(space, [replace(RESULTS[0], values=values, reason="=1")], tmp_path)
    with (tmp_path / "search.csv").open() as file:
        [row] = csv.DictReader(file)
    found = (row["model.width"], row["model.dropout"], row["reason"])
    assert found == ("'-wide", "-0.5", "'=1")
