"""Frames have the columns that docs/python.md and docstrings promise, whatever the store holds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR
from mlt_ray.reports.results import Results, results_of
from mlt_ray.storage.record import RowRecord, RunRecord, StudyRecord
from mlt_ray.storage.report import Predictions, RunReport
from mlt_ray.storage.store import Store
from tests.stored import EPOCHS, ONE_EACH, PREDICTIONS, REPORT

NAME = {"study": "object", "row": "object", "fold": "int64", "seed": "int64"}
RUNS = NAME | {
    "digest": "object",
    "best_epoch": "int64",
    "dev_wa": "float64",
    "dev_ua": "float64",
    "dev_macro_f1": "float64",
    "test_wa": "float64",
    "test_ua": "float64",
    "test_macro_f1": "float64",
    "dev_confusion": "object",
    "test_confusion": "object",
    "classes": "object",
    "num_folds": "int64",
    "num_train": "int64",
    "num_dev": "int64",
    "num_test": "int64",
    "num_parameters": "int64",
    "computed_s": "float64",
    "details": "object",
}
CURVES = NAME | {
    "epoch": "int64",
    "train_loss": "float64",
    "dev_loss": "float64",
    "dev_wa": "float64",
    "dev_ua": "float64",
    "dev_macro_f1": "float64",
    "ended_ms": "int64",
}
PREDICTED = NAME | dict.fromkeys(("part", "utterance", "emotion", "predicted"), "object")

SHORT = replace(REPORT, digest="aa", fold=1, seed=1, curve=EPOCHS[:1])
LONG = replace(REPORT, digest="bb", fold=2, seed=1)
TWO_CLASSES = replace(
    REPORT,
    digest="cc",
    fold=1,
    seed=1,
    spec={**REPORT.spec, "classes": ["calm", "sad"]},
    scores={
        part: {"wa": 1.0, "ua": 1.0, "macro_f1": 1.0, "confusion": [[1, 0], [0, 1]]}
        for part in ("dev", "test")
    },
)
ODD_NAMES = {
    "test": Predictions(
        utterances=("=1+1", "'", "'=1", "''-x", "a,b"),
        classes=("calm", "sad"),
        labels=np.array([0, 1, 0, 1, 0]),
        probabilities=np.array([[0.25, 0.75], [0.5, 0.5], [1, 0], [0, 1], [0.125, 0.875]]),
    )
}


def row_of(name: str, *reports: RunReport) -> RowRecord:
    runs = [RunRecord(digest=r.digest, fold=r.fold, seed=r.seed) for r in reports]
    spec = {"corpus": "c0ffee", "folds": {"by": "session"}}
    return RowRecord(name=name, spec=spec, runs=tuple(runs))


def record_of(*rows: RowRecord, study: str = "mine") -> StudyRecord:
    return StudyRecord(study=study, title="Mine", corpus="c", fingerprint="c0ffee", rows=rows)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.write_run(SHORT, PREDICTIONS, b"", {})
    made.write_run(LONG, PREDICTIONS, b"", {})
    made.write_run(TWO_CLASSES, ODD_NAMES, b"", {})
    return made


@pytest.fixture
def found(store: Store) -> Results:
    unfinished = replace(REPORT, digest="dd", fold=3)
    rows = (row_of("=four", SHORT, LONG, unfinished), row_of("two", TWO_CLASSES))
    return results_of([record_of(*rows)], store)


def types(frame: pd.DataFrame) -> dict[str, str]:
    return {name: str(kind) for name, kind in frame.dtypes.items()}


def test_columns_and_types_are_those_that_are_promised(found: Results) -> None:
    assert types(found.runs) == RUNS
    assert types(found.curves) == CURVES
    shares = [f"p_{name}" for name in (*FOUR, "calm")]
    assert types(found.predictions) == PREDICTED | dict.fromkeys(shares, "float64")


def test_a_study_without_finished_runs_has_frames_of_the_same_columns(tmp_path: Path) -> None:
    empty = results_of([record_of(row_of("none", LONG))], Store(tmp_path))
    assert types(empty.runs) == RUNS
    assert types(empty.curves) == CURVES
    assert types(empty.predictions) == PREDICTED
    assert len(empty.runs) == len(empty.curves) == len(empty.predictions) == 0
    assert "| none |  |  | 0/1 |" in repr(empty)


def test_each_finished_run_is_a_row_with_the_values_of_its_report(found: Results) -> None:
    assert found.runs["digest"].to_list() == ["aa", "bb", "cc"]
    run = found.runs.set_index("digest").loc["bb"]
    assert run[["study", "row", "fold", "seed"]].to_list() == ["mine", "=four", 2, 1]
    assert run[["dev_wa", "dev_ua", "dev_macro_f1"]].to_list() == [0.5, 0.4, 0.3]
    assert run[["test_wa", "test_ua", "test_macro_f1"]].to_list() == [0.1 + 0.2, 0.6, 0.7]
    assert run[["num_train", "num_dev", "num_test"]].to_list() == [7, 3, 2]
    assert run[["best_epoch", "num_parameters", "computed_s"]].to_list() == [2, 11, 0.25]
    assert (run["classes"], run["num_folds"], run["test_confusion"]) == (FOUR, 5, ONE_EACH)
    assert found.runs["classes"].to_list()[2] == ("calm", "sad")


def test_each_epoch_is_a_row_of_the_curves(found: Results) -> None:
    curve = found.curves[found.curves["fold"] == 2]
    assert curve["epoch"].to_list() == [1, 2, 3]
    assert curve["train_loss"].to_list() == [1, 1 / 2, 1 / 3]
    assert curve["ended_ms"].to_list() == [17, 34, 51]
    assert len(found.curves) == 1 + 3 + 3


def test_predictions_are_read_as_they_were_written(found: Results) -> None:
    four = found.predictions.query("row == '=four' and fold == 1")
    assert four["part"].to_list() == ["dev", "dev", "test"]
    assert four["utterance"].to_list() == ["a", "b", "c"]
    assert four["emotion"].to_list() == ["neutral", "angry", "happy"]
    assert four["predicted"].to_list() == ["sad", "angry", "happy"]
    shares = four[[f"p_{name}" for name in FOUR]].to_numpy()
    expected = np.concatenate([p.probabilities for p in PREDICTIONS.values()])
    np.testing.assert_array_equal(shares, expected)


def test_names_that_a_spreadsheet_would_compute_come_back_whole(found: Results) -> None:
    two = found.predictions[found.predictions["row"] == "two"]
    assert two["utterance"].to_list() == list(ODD_NAMES["test"].utterances)
    assert two["p_calm"].to_list() == [0.25, 0.5, 1, 0, 0.125]


def test_a_class_that_a_run_does_not_have_has_no_probability_there(found: Results) -> None:
    by_row = found.predictions.groupby("row")
    assert by_row["p_calm"].count().to_dict() == {"=four": 0, "two": 5}
    assert by_row["p_angry"].count().to_dict() == {"=four": 6, "two": 0}
    assert by_row["p_sad"].count().to_dict() == {"=four": 6, "two": 5}


def test_a_run_of_two_rows_and_studies_is_there_for_each(store: Store) -> None:
    one = record_of(row_of("a", SHORT), row_of("b", SHORT, LONG), study="one")
    other = record_of(row_of("a", LONG), study="other")
    # A study that is asked for twice is there once.
    runs = results_of([one, other, one], store).runs
    named = runs[["study", "row", "digest"]].itertuples(index=False)
    assert [tuple(name) for name in named] == [
        ("one", "a", "aa"),
        ("one", "b", "aa"),
        ("one", "b", "bb"),
        ("other", "a", "bb"),
    ]


def test_tables_are_made_from_the_runs(found: Results) -> None:
    [table] = found.tables
    means = found.runs.groupby("row")["test_ua"].mean()
    for row in table.rows:
        assert row.measured is not None
        assert row.measured.ua.mean == pytest.approx(means[row.name])
    assert [(row.runs_done, row.runs_planned) for row in table.rows] == [(2, 3), (1, 1)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        ("part,utterance,emotion,predicted,calm,sad\n", "columns part, .*, calm, sad"),
        ("part,utterance,emotion,predicted,angry,happy,neutral,sad\ndev,a,sad,sad,x\n", "'x'"),
        ("", "expected"),
    ],
)
def test_damaged_predictions_are_told_in_a_line_and_hinder_nothing_else(
    content: str | None, told: str, store: Store
) -> None:
    path = store.run_file("aa", "predictions.csv")
    path.unlink() if content is None else path.write_text(content)
    found = results_of([record_of(row_of("a", SHORT))], store)
    assert len(found.curves) == 1
    with pytest.raises(UserError, match=rf"predictions\.csv: .*{told}.*delete the folder"):
        _ = found.predictions
