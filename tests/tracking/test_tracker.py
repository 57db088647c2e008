"""What the tracker writes, read back from MLflow's own database."""

import shutil
import sqlite3
from dataclasses import replace
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from mlt_ray.errors import StoreSilent, UserError
from mlt_ray.planning.backlog import note_plans
from mlt_ray.planning.plan import Plan
from mlt_ray.storage.record import all_records
from mlt_ray.storage.report import Epoch
from mlt_ray.storage.store import Store
from mlt_ray.tracking.faults import reason_of
from mlt_ray.tracking.location import default_uri
from mlt_ray.tracking.tracker import Tracker
from tests.stored import report_of, write_report
from tests.tracking.finished import finish, planned

POINTS = """select r.name, m.key, m.step, m.value, m.timestamp from metrics m
            join runs r using (run_uuid) order by 1, 2, 3, 5"""


def tracker(store):
    return Tracker(store, default_uri(store), all_records(store))


def query(store, text):
    with sqlite3.connect(store.root / "mlflow.db") as database:
        return database.execute(text).fetchall()


def means(store, row):
    key = "test_ua_mean"
    found = (p[2:] for p in query(store, POINTS) if p[:2] == (row, key))
    return [(step, pytest.approx(value), at_ms) for step, value, at_ms in found]


@pytest.mark.slow
def test_sync_writes_each_rows_mean_once_and_nothing_the_second_time(store):
    tracker(store).sync()
    assert means(store, "one") == means(store, "two") == [(3, (0.6 + 0.7 + 0.8) / 3, 300)]
    before = query(store, POINTS)
    tracker(store).sync()
    assert query(store, POINTS) == before


@pytest.mark.slow
def test_runs_that_finish_one_by_one_add_a_mean_each_and_end_their_rows(store, runs):
    live = tracker(store)
    live.sync()
    for run in runs[3:]:
        finish(store, run)
        live.finished(run)
    assert not live.broken
    expected = [(3, 0.7, 300), (4, 0.75, 400), (5, 0.8, 500)]
    assert means(store, "one") == means(store, "two") == expected
    assert set(query(store, "select status from runs")) == {("FINISHED",)}


@pytest.mark.slow
def test_every_run_has_its_parameters_and_fold(store, runs):
    live = tracker(store)
    live.sync()
    live.epochs(runs[3], report_of(runs[3], 0.5).curve)
    live.stopped(runs[3])
    live.failed(runs[4], "the loss is nan")
    found = query(
        store,
        """select r.name, p.value from runs r left join params p
           on p.run_uuid = r.run_uuid and p.key = 'training.max_epochs'""",
    )
    # A parent and five children a row.
    assert len(found) == 12
    assert {value for _, value in found} == {"4"}
    folds = query(store, "select value from params where key = 'fold' order by 1")
    assert [value for (value,) in folds] == [f for f in "12345" for _ in range(2)]


def test_a_full_database_is_said_in_the_databases_own_words():
    error = RuntimeError("(raised as a result of Query-invoked autoflush)\n[SQL: ...]")
    error.__cause__ = sqlite3.OperationalError("database or disk is full")
    assert reason_of(error) == "database or disk is full"
    assert reason_of(ConnectionError("refused\nsince nobody is there")) == "refused"


@pytest.mark.slow
@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_mlflow_s_files_follow_a_store_that_was_moved_or_copied(tmp_path, runs, move):
    first = Store(tmp_path / "first")
    rows = (planned("it's 100%_one", runs),)
    note_plans([Plan(study="s", title="S", corpus="c", fingerprint="f", rows=rows)], first)
    finish(first, runs[0])
    tracker(first).sync()
    before = sorted(p.relative_to(first.root) for p in first.root.rglob("*"))
    move(first.root, tmp_path / "second's 100%_")
    second = Store(tmp_path / "second's 100%_")
    finish(second, runs[1])
    tracker(second).sync()
    client = MlflowClient(tracking_uri=default_uri(second))
    experiment = client.get_experiment_by_name("s")
    assert experiment.artifact_location == (second.root / "mlartifacts").as_uri()
    children = client.search_runs([experiment.experiment_id], "tags.`mlt_ray.kind` = 'fold-seed'")
    assert len(children) == 2
    for child in children:
        assert child.info.artifact_uri.startswith(experiment.artifact_location + "/")
        names = {file.path for file in client.list_artifacts(child.info.run_id)}
        assert {"report.json", "predictions.csv"} <= names
    if move is shutil.move:
        assert not first.root.exists()
    else:
        assert sorted(p.relative_to(first.root) for p in first.root.rglob("*")) == before


@pytest.mark.slow
def test_a_password_in_the_server_s_uri_is_told_nowhere(store, capsys):
    uri = "http://me:SEC/RET@127.0.0.1:9/?token=SECRET"
    live = Tracker(store, uri, all_records(store))
    live.sync()
    said = capsys.readouterr().err
    assert live.broken
    assert "MLflow at http://me:***@127.0.0.1:9/?token=*** cannot be written" in said
    assert "SEC" not in said + live.broken


def test_a_store_that_does_not_answer_stops_the_writing_and_not_the_command(
    store, runs, monkeypatch, capsys
):
    def silent(*_):
        raise StoreSilent("--store s3://b: expected a store that answers, got: a timeout")

    monkeypatch.setattr(Tracker, "_open", lambda tracker, records: None)
    live = tracker(store)
    live._experiments = [SimpleNamespace(write_runs=silent)]
    for run in runs:
        live.finished(run)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("MLflow at sqlite:///")
    assert first.endswith("cannot be written: " + live.broken)
    assert live.broken.endswith("got: a timeout")
    assert second.endswith(f"record them later with mlt-ray sync --store {store}")


def test_a_damaged_store_is_not_taken_for_a_broken_mlflow(store, runs, monkeypatch):
    def damaged(*_):
        raise UserError("report.json: expected a run report")

    monkeypatch.setattr(Tracker, "_open", lambda tracker, records: None)
    live = tracker(store)
    live._experiments = [SimpleNamespace(write_runs=damaged)]
    with pytest.raises(UserError, match="expected a run report"):
        live.finished(runs[0])


def statuses(store):
    return query(store, "select name, status from runs order by name, run_uuid")


@pytest.mark.slow
def test_two_drivers_of_a_row_share_its_parent_and_children(store, runs):
    """Both opened MLflow before either wrote to it, as drivers do that start together."""
    first, second = tracker(store), tracker(store)
    for live in (first, second):
        live.sync()
    for run in runs[3:]:
        finish(store, run)
        for live in (first, second):
            live.finished(run)
    assert not first.broken
    assert not second.broken
    # A parent and five children a row.
    assert [status for _, status in statuses(store)] == ["FINISHED"] * 12
    assert len({name for name, _ in statuses(store)}) == 12


@pytest.mark.slow
def test_runs_that_another_driver_adds_to_a_row_come_into_its_mean(store, runs):
    """It writes the mean of its own runs; who syncs next writes that of all."""
    tracker(store).sync()
    [record] = all_records(store)
    short = replace(record, rows=tuple(replace(r, runs=r.runs[3:]) for r in record.rows))
    other = Tracker(store, default_uri(store), [short])
    for run in runs[3:]:
        finish(store, run)
        other.finished(run)
    assert means(store, "one")[-1] == (3, 0.7, 300)
    tracker(store).sync()
    assert means(store, "one")[-1] == (5, 0.8, 500)
    before = query(store, POINTS)
    tracker(store).sync()
    assert query(store, POINTS) == before


@pytest.mark.slow
def test_a_mean_over_fewer_classes_is_tagged(store, runs):
    confusion = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    report = report_of(runs[3], 0.5)
    scores = report.scores | {"test": report.scores["test"] | {"confusion": confusion}}
    write_report(store, replace(report, scores=scores))
    tracker(store).sync()
    found = query(store, "select value from tags where key = 'mlt_ray.ua_gaps'")
    assert found == [("no sad in test of fold 4",)] * 2


@pytest.mark.slow
def test_a_row_without_a_finished_run_has_no_mean(store, runs):
    [record] = all_records(store)
    rows = (replace(record.rows[0], runs=record.rows[0].runs[3:]), record.rows[1])
    live = Tracker(store, default_uri(store), [replace(record, rows=rows)])
    live.sync()
    assert not live.broken
    assert means(store, "one") == []
    assert len(means(store, "two")) == 1


@pytest.mark.slow
def test_the_last_epochs_of_a_run_that_failed_are_written(store, runs):
    live = tracker(store)
    live.sync()
    epochs = [
        Epoch(epoch=n, train_loss=1.0, dev_loss=1.0, dev_wa=0.5, dev_ua=0.5, ended_ms=n)
        for n in (1, 2)
    ]
    live.epochs(runs[3], epochs)
    live.failed(runs[3], "out of memory")
    assert not live.broken
    found = query(store, "select step from metrics where key = 'train_loss' and timestamp < 3")
    assert sorted(set(found)) == [(1,), (2,)]
    assert ("FAILED",) in query(store, "select status from runs")
