"""What the verb compare says of two rows."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mlt_ray.cli.app import app
from mlt_ray.errors import UserError
from mlt_ray.storage.record import write_record
from mlt_ray.storage.store import Store
from tests.reports.made_up import fill

POOR = "<b>poor</b> & slow"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    fill(Store(folder))
    return folder


def compared(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments, "--store", str(store)])


@pytest.mark.parametrize(
    ("row", "other", "verdict"),
    [
        ("good", "as good", "within noise"),
        ("good", POOR, "higher"),
        (POOR, "good", "lower"),
    ],
)
def test_two_rows_are_compared_in_words(store: Path, row: str, other: str, verdict: str) -> None:
    done = compared(store, "made", row, other)
    assert done.exit_code == 0
    first, *_, last = done.stdout.strip().splitlines()
    assert first == f"UA of {row}, minus that of {other}"
    assert last == f"verdict, for this comparison alone: {verdict}"
    assert "over 5 folds" in done.output


def test_wa_is_compared_where_asked(store: Path) -> None:
    assert compared(store, "made", "good", POOR, "--score", "wa").stdout.startswith("WA of good")


def test_a_mistake_names_what_there_is(store: Path) -> None:
    for arguments, line in (
        (("made", "god", "as good"), "made: unknown row god; did you mean good?"),
        (("mad", "good", "as good"), "unknown study mad; did you mean made?"),
        (
            ("made", "good", "good"),
            "made: expected two rows, got the runs of good twice; name another",
        ),
    ):
        done = compared(store, *arguments)
        assert isinstance(done.exception, UserError)
        assert line in str(done.exception)


def test_a_row_without_finished_runs_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    [record] = fill(store, {"good": 0.8, "none": 0.5}).records
    for run in record.rows[1].runs:
        store.run_file(run.digest, "report.json").unlink()
    done = compared(tmp_path, "made", "good", "none")
    assert str(done.exception) == "made: expected finished runs of none, found none; run it first"


def test_a_row_of_another_study_is_named_with_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    [record] = fill(store, {"good": 0.8, "w/o poor": 0.3}).records
    other = replace(record, study="other", rows=record.rows[1:])
    write_record(store, store.study("other"), other)
    done = compared(tmp_path, "made", "good", "other/w/o poor")
    assert done.exit_code == 0
    first, *_, last = done.stdout.strip().splitlines()
    assert first == "UA of good, minus that of other/w/o poor"
    assert last == "verdict, for this comparison alone: higher"
    assert (
        done.stdout.splitlines()[1:]
        == (compared(tmp_path, "made", "good", "w/o poor").stdout.splitlines()[1:])
    )
    wrong = compared(tmp_path, "made", "good", "other/poor")
    assert "other: unknown row poor; did you mean w/o poor?" in str(wrong.exception)
