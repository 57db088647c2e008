"""What is wrong with MLflow is said in one line that helps, and nothing else is lost by it."""

import re
import shlex
import sqlite3
from dataclasses import replace

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.cli import cli as mlflow_cli

from mlt_ray.errors import UserError
from mlt_ray.storage.record import all_records, write_record
from mlt_ray.storage.store import Store
from mlt_ray.tracking import location
from mlt_ray.tracking.faults import check_file, reason_of, sqlite_file
from mlt_ray.tracking.location import database, default_uri, usable_location
from mlt_ray.tracking.tracker import Tracker
from mlt_ray.workflows.sync import sync_store
from tests.tracking.contents import contents
from tests.tracking.finished import finish


@pytest.fixture
def two_studies(store):
    """The store with a second study, of the same rows."""
    [record] = all_records(store)
    write_record(store, store.study("other"), replace(record, study="other"))
    return store


def opened(store, uri=None):
    tracker = Tracker(store, uri or default_uri(store), all_records(store))
    tracker.sync()
    return tracker


def give(line, pattern, folder):
    """Give the command of MLflow's that a line names, in this process."""
    [found] = re.findall(pattern, line)
    variable, _, *words = shlex.split(found)
    name, _, value = variable.partition("=")
    result = CliRunner().invoke(mlflow_cli, words, env={name: value}, catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "is_kept"),
    [
        (r"(MLFLOW_TRACKING_URI=\S+ mlflow experiments restore [^,]+),", True),
        (r"or remove it for good with (.+?), then", False),
    ],
    ids=["restored", "removed for good"],
)
def test_a_deleted_experiment_is_named_with_how_to_go_on(
    two_studies, runs, capsys, pattern, is_kept
):
    sync_store(two_studies, None)
    client = MlflowClient(tracking_uri=default_uri(two_studies))
    deleted = client.get_experiment_by_name("s").experiment_id
    before = {run.info.run_id for run in client.search_runs([deleted])}
    client.delete_experiment(deleted)
    finish(two_studies, runs[3])
    capsys.readouterr()
    with pytest.raises(UserError, match="1 experiment is not up to date, as said above"):
        sync_store(two_studies, None)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"MLflow at {default_uri(two_studies)}: experiment s was deleted there")
    assert line.endswith(f"with mlt-ray sync --store {two_studies}")
    other = client.get_experiment_by_name("other").experiment_id
    # Four runs of both rows, and the rows: the other study is complete.
    assert len(client.search_runs([other])) == 10
    give(line, pattern, two_studies.root)
    assert sync_store(two_studies, None) == ["other", "s"]
    found = client.get_experiment_by_name("s")
    assert found.lifecycle_stage == "active"
    assert len(client.search_runs([found.experiment_id])) == 10
    ids = {run.info.run_id for run in client.search_runs([found.experiment_id])}
    assert (before <= ids) == is_kept


@pytest.mark.slow
def test_a_run_does_not_offer_a_sync_that_cannot_work(store, runs, capsys):
    opened(store)
    client = MlflowClient(tracking_uri=default_uri(store))
    client.delete_experiment(client.get_experiment_by_name("s").experiment_id)
    capsys.readouterr()
    tracker = opened(store)
    finish(store, runs[3])
    tracker.finished(runs[3])
    [line] = capsys.readouterr().err.splitlines()
    assert "experiment s was deleted there, so nothing of it is recorded; bring it back" in line
    assert tracker.unusable == [line]


@pytest.mark.slow
def test_an_experiment_of_others_is_left_alone(store, capsys):
    client = MlflowClient(tracking_uri=default_uri(store))
    experiment = client.create_experiment("s")
    run = client.create_run(experiment, run_name="of somebody else").info.run_id
    before = contents(database(store))
    opened(store)
    [line] = capsys.readouterr().err.splitlines()
    assert "experiment s has runs that mlt-ray has not made" in line
    assert contents(database(store)) == before
    give(line, r"another name with (.+?), then", store.root)
    tracker = opened(store)
    assert not tracker.unusable
    assert client.get_run(run).info.experiment_id == experiment
    assert client.get_experiment_by_name("s").experiment_id != experiment


@pytest.mark.slow
def test_an_empty_experiment_and_one_without_our_view_are_written(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MLflow puts files there for an experiment that names no place
    client = MlflowClient(tracking_uri=default_uri(store))
    client.create_experiment("s")
    assert not opened(store).unusable
    experiment = client.get_experiment_by_name("s")
    client.delete_experiment_tag(experiment.experiment_id, "mlflow.sharedViewState.rows")
    assert not opened(store).unusable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("451aebb31d03", "are of another MLflow than the one installed"),
        ("0123456789ab", "are of another MLflow than the one installed"),
    ],
)
def test_a_database_of_another_mlflow_is_told_in_a_line(store, capsys, revision, said):
    opened(store)
    with sqlite3.connect(database(store)) as connection:
        connection.execute("update alembic_version set version_num = ?", (revision,))
    from mlflow.tracking._tracking_service.utils import _tracking_store_registry

    # As in a new process.
    _tracking_store_registry._get_store_with_resolved_uri.cache_clear()
    capsys.readouterr()
    tracker = opened(store)
    assert said in tracker.broken
    assert revision in tracker.broken
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_file_that_is_no_database_is_told_at_once(store, tmp_path, is_ours, capsys):
    uri = default_uri(store) if is_ours else f"sqlite:///{tmp_path}/mine.db"
    path = sqlite_file(uri)
    path.write_bytes(b"no database" * 1000)
    tracker = opened(store, uri)
    assert tracker.broken == (
        "file is not a database; move the file away: mlt-ray sync writes all of it anew"
    )
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"MLflow at {uri} cannot be written: file is not a database")
    assert path.read_bytes() == b"no database" * 1000
    assert second.startswith("results are complete in the store")


def test_a_locked_database_says_who_must_end(store, monkeypatch):
    monkeypatch.setattr(location, "WAIT_S", 0.1)
    connection = sqlite3.connect(database(store))
    connection.execute("create table experiments (artifact_location text)")
    connection.execute("begin exclusive")
    with pytest.raises(sqlite3.OperationalError) as error:
        sqlite3.connect(database(store), timeout=0).execute("select * from experiments")
    connection.close()
    assert reason_of(error.value) == ("database is locked; end the process that keeps it locked")


def test_a_database_that_cannot_be_written_says_what_to_change(store):
    with sqlite3.connect(database(store)) as connection:
        connection.execute("create table t (x)")
    reader = sqlite3.connect(f"file:{database(store)}?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError) as error:
        reader.execute("insert into t values (1)")
    assert reason_of(error.value) == (
        "attempt to write a readonly database; make the file and its folder writable"
    )


def test_only_sqlite_files_are_looked_into(tmp_path):
    assert sqlite_file("sqlite:////a/b%20c.db?x=1").name == "b c.db"
    assert [sqlite_file(u) for u in ("http://h", "sqlite://", "sqlite:///:memory:")] == [None] * 3
    check_file(f"sqlite:///{tmp_path}/none.db")
    assert Store(tmp_path).root.exists()
    assert not [*tmp_path.iterdir()]


def test_the_store_s_own_database_is_let_alone_where_nothing_can_be_written():
    finished = Store("/proc/sys")  # a study of somebody else's may be planned and looked at
    assert usable_location(finished, None) == default_uri(finished)
    with pytest.raises(UserError, match="expected a folder that can be written"):
        usable_location(finished, "sqlite:////proc/sys/other.db")
