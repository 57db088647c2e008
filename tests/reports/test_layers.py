"""What a row's runs say of layers is summed up in numbers and lines; other details are left."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlt_ray.reports.layers import layer_lines, layer_numbers
from mlt_ray.reports.results import results_of
from mlt_ray.reports.tables import as_csv, as_json, as_latex, as_markdown
from mlt_ray.storage.record import RowRecord, RunRecord, StudyRecord
from mlt_ray.storage.store import Store
from tests.reports.test_tables import in_terminal
from tests.stored import PREDICTIONS, report_with

POOLED = [{"layer_weights": {"9": 0.25, "10": 0.75}}, {"layer_weights": {"9": 0.5, "10": 0.5}}]
FRAMES = [{"frame_layer_weights": {"0": 0.875, "1": 0.125}} for _ in POOLED]
CHOSEN = [
    {"layer": 2, "dev_ua_of_layers": [0.25, 0.5, 0.75]},
    {"layer": 1, "dev_ua_of_layers": [0.75, 1.0, 0.5]},
    {"layer": 2, "dev_ua_of_layers": [0.5, 0.0, 1.0]},
]


def test_weights_are_means_over_the_runs_in_the_order_of_layers() -> None:
    numbers = layer_numbers([a | b for a, b in zip(POOLED, FRAMES, strict=True)])
    assert numbers == {
        "layer_weights": {"9": 0.375, "10": 0.625},
        "frame_layer_weights": {"0": 0.875, "1": 0.125},
    }
    assert layer_lines(numbers, 2) == [
        "layer weights, mean of 2 runs: 9: 0.38, 10: 0.62; largest: layer 10",
        "frame layer weights, mean of 2 runs: 0: 0.88, 1: 0.12; largest: layer 0",
    ]


def test_weights_that_are_nearly_equal_have_no_largest() -> None:
    numbers = layer_numbers([{"layer_weights": {"0": 0.32, "1": 0.36, "2": 0.32}}])
    assert layer_lines(numbers, 1) == [
        "layer weights, one run: 0: 0.32, 1: 0.36, 2: 0.32; nearly equal"
    ]


def test_layers_that_dev_chose_are_counted() -> None:
    numbers = layer_numbers(CHOSEN)
    assert numbers == {
        "chosen": {"1": 1, "2": 2},
        "dev_ua": {"0": 0.5, "1": 0.5, "2": 0.75},
    }
    assert layer_lines(numbers, 3) == [
        "layer chosen by dev: 1 in 1, 2 in 2 of 3 runs; mean dev UA of each: "
        "0: 0.500, 1: 0.500, 2: 0.750"
    ]


@pytest.mark.parametrize("details", [{}, {"layer": 3}, {"layer_weights": [0.5]}, {"depth": {}}])
def test_other_details_say_nothing_of_layers(details: dict[str, Any]) -> None:
    """Of a layer that the study names there is nothing to tell; a user's model may say anything."""
    assert layer_numbers([details, details]) == {}
    assert layer_lines({}, 2) == []


def stored(store: Store, details: list[dict[str, Any]]) -> RowRecord:
    runs = []
    for fold, each in enumerate(details, start=1):
        report = replace(report_with(fold, 1, digest=f"{fold:016x}"), details=each)
        store.write_run(report, PREDICTIONS, b"", {})
        runs.append(RunRecord(digest=report.digest, fold=fold, seed=1))
    return RowRecord(
        name="[heard]", spec={"corpus": "c0ffee", "folds": {"by": "session"}}, runs=tuple(runs)
    )


def test_a_table_shows_the_layers_of_a_stored_row_below_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    row = stored(store, CHOSEN)
    none = replace(row, name="none", runs=())
    record = StudyRecord(
        study="mine", title="Mine", corpus="c", fingerprint="c0ffee", rows=(row, none)
    )
    found = results_of([record], store)
    [table] = found.tables
    said = "[heard]: layer chosen by dev: 1 in 1, 2 in 2 of 3 runs; mean dev UA of each: 0: 0.500"
    assert said in " ".join(in_terminal(table).split())
    above, rule, below = as_markdown([table]).partition("| --- |")
    assert said not in above
    assert f"\n\n- {said}" in rule + below
    heard, nothing = json.loads(as_json([table]))["tables"][0]["rows"]
    assert heard["layers"] == layer_numbers(CHOSEN)
    assert "layers" not in nothing
    # They are a reader's, not a paper's.
    assert "chosen" not in as_latex([table]) + as_csv([table])
    assert found.runs["details"].to_list() == CHOSEN
