"""However runs get into MLflow, the same stands there, once."""

import math
import shutil
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlt_ray.storage.record import all_records, write_record
from mlt_ray.storage.store import Store
from mlt_ray.tracking import bulk
from mlt_ray.tracking.listing import runs_with
from mlt_ray.tracking.location import database, default_uri
from mlt_ray.tracking.tracker import Tracker
from tests.crashes.servers import free_port, server
from tests.stored import report_of, write_report
from tests.tracking.contents import contents
from tests.tracking.finished import finish

pytestmark = pytest.mark.slow


def sync(store, uri=None):
    tracker = Tracker(store, uri or default_uri(store), all_records(store))
    tracker.sync()
    return tracker


def copy_of(store, folder):
    """The store, before anything is written to MLflow."""
    left_out = shutil.ignore_patterns("leases")
    return Store(shutil.copytree(store.root, folder, ignore=left_out))


@pytest.fixture
def other_path(tmp_path):
    """A path beside the store's."""
    return tmp_path.with_name(f"{tmp_path.name}-other")


@pytest.fixture
def odd(store, runs):
    """The store with what databases treat in a way of its own: no numbers, secrets, long texts."""
    report = report_of(runs[3], 0.5)
    losses = (math.nan, math.inf, -math.inf, 1.0)
    curve = [replace(e, train_loss=x) for e, x in zip(report.curve, losses, strict=True)]
    write_report(store, replace(report, curve=(*curve, curve[-1])))
    [record] = all_records(store)
    one, two = record.rows
    two = replace(
        two,
        changes=("--glove s3://me:SECRET@there/x?token=SECRET",),
        published={"wa": (0.7, 0.1), "ua": (0.6, None)},
        spec={**two.spec, "note": "x" * 9000, "from": "s3://me:SECRET@there"},
    )
    write_record(store, store.study("s"), replace(record, rows=(one, two)))
    return store


def test_what_is_written_together_is_what_mlflow_s_client_writes(odd, other_path, monkeypatch):
    other = copy_of(odd, other_path)
    assert not sync(odd).broken
    client = MlflowClient(tracking_uri=default_uri(odd))
    experiment = client.get_experiment_by_name("s").experiment_id
    assert bulk.can_bulk(client, experiment), "its schema must be compared, and added to SCHEMAS"
    monkeypatch.setattr(bulk, "can_bulk", lambda client, experiment: False)
    assert not sync(other).broken
    found = contents(database(odd))
    assert found == contents(database(other))
    assert sum(found["metrics"].values()) > 100
    assert sum(found["files"].values()) == 2 * 4 * 4
    assert b"SECRET" not in database(odd).read_bytes() + database(other).read_bytes()


def test_an_error_while_much_is_written_together_leaves_nothing(store, monkeypatch):
    insert = bulk.BulkWriter.insert

    def fails(self, session, dataset):
        insert(self, session, dataset)
        raise OSError("pulled out")

    monkeypatch.setattr(bulk.BulkWriter, "insert", fails)
    assert "pulled out" in sync(store).broken
    found = contents(database(store))
    assert not found["runs"] + found["tags"] + found["params"] + found["metrics"]
    assert not [*(store.root / "mlartifacts").rglob("*.csv")]
    monkeypatch.undo()
    assert not sync(store).broken
    assert sum(contents(database(store))["runs"].values()) == 8


@pytest.mark.parametrize("call", ["create_run", "log_inputs", "log_batch", "set_terminated"])
def test_a_crash_in_the_middle_is_made_up_for(store, other_path, monkeypatch, call):
    monkeypatch.setattr(bulk, "can_bulk", lambda client, experiment: False)
    whole = copy_of(store, other_path)
    sync(whole)
    method = getattr(MlflowClient, call)
    for number in (0, 1, 4):
        left = [number]

        def fails(*given, left=left, **named):
            left[0] -= 1
            if left[0] < 0:
                raise OSError("killed")
            return method(*given, **named)

        monkeypatch.setattr(MlflowClient, call, fails)
        assert sync(store).broken == "killed"
    monkeypatch.setattr(MlflowClient, call, method)
    assert not sync(store).broken
    assert contents(database(store)) == contents(database(whole))
    assert not sync(store).broken
    assert contents(database(store)) == contents(database(whole))


def test_two_that_sync_at_once_write_nothing_twice(store, runs, other_path):
    for run in runs[3:]:
        finish(store, run)
    whole = copy_of(store, other_path)
    sync(whole)
    trackers = [Tracker(store, default_uri(store), all_records(store)) for _ in range(2)]
    threads = [threading.Thread(target=tracker.sync) for tracker in trackers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(tracker.broken for tracker in trackers)
    assert contents(database(store)) == contents(database(whole))


def test_what_a_user_has_deleted_is_written_again_and_nothing_else(store):
    sync(store)
    before = contents(database(store))
    client = MlflowClient(tracking_uri=default_uri(store))
    experiment = client.get_experiment_by_name("s").experiment_id
    [parent] = [
        r
        for r in runs_with(client, experiment, {"mlt_ray.kind": "row"})
        if r.info.run_name == "one"
    ]
    children = runs_with(client, experiment, {"mlflow.parentRunId": parent.info.run_id})
    client.delete_run(children[0].info.run_id)
    sync(store)
    after = contents(database(store))
    assert sum((after["runs"] - before["runs"]).values()) == 1
    client.delete_run(parent.info.run_id)
    sync(store)
    again = contents(database(store))
    sync(store)
    assert contents(database(store)) == again
    assert sum(again["runs"].values()) == sum(after["runs"].values()) + 4


def test_a_sync_with_nothing_to_do_looks_at_rows_and_not_at_runs(store, monkeypatch):
    sync(store)
    asked = []
    search = MlflowClient.search_runs

    def counted(self, *given, **named):
        found = search(self, *given, **named)
        asked.append(len(found))
        return found

    monkeypatch.setattr(MlflowClient, "search_runs", counted)
    sync(store)
    assert asked == [0, 2]  # deleted runs, and the two rows


def test_a_server_gets_the_same_as_the_store_s_own_database(odd, other_path):
    other, port = copy_of(odd, other_path), free_port()
    sync(odd)
    path = Path(f"{other_path}-server.db")
    with server(path, port):
        assert not sync(other, f"http://127.0.0.1:{port}").broken
        ours, theirs = contents(database(odd)), contents(path)
        stored = [*path.with_suffix(".artifacts").rglob("*.*")]
        assert not sync(other, f"http://127.0.0.1:{port}").broken
        assert contents(path) == theirs
    assert len(stored) == sum(ours["files"].values())
    for table in ours.keys() - {"files"}:
        assert theirs[table] == ours[table], table


def test_a_database_of_an_unknown_schema_is_written_by_mlflow_s_client(store, monkeypatch):
    monkeypatch.setattr(bulk, "SCHEMAS", frozenset({"another"}))
    monkeypatch.setattr(bulk, "writing", None)
    assert not sync(store).broken
    with sqlite3.connect(database(store)) as opened:
        assert opened.execute("select count(*) from runs").fetchall() == [(8,)]
