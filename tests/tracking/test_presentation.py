"""What MLflow's own database holds of a study for its pages: tags, means, corpus, pictures."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlt_ray.errors import UserError
from mlt_ray.storage.record import all_records
from mlt_ray.storage.store import Store
from mlt_ray.tracking.location import default_uri, tracking_location
from mlt_ray.tracking.presentation import experiment_tags, runs_page
from mlt_ray.tracking.tracker import Tracker
from mlt_ray.workflows.sync import sync_store
from tests.reports.made_up import corpus, fill


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    made = Store(tmp_path_factory.mktemp("store"))
    fill(made, {"good": 0.8, "poor": 0.3})
    (made.report_dir("made")).mkdir(parents=True)
    (made.report_dir("made") / "report.html").write_text("<p>page</p>")
    sync_store(made, None)
    return made


@pytest.fixture(scope="module")
def client(store) -> MlflowClient:
    return MlflowClient(tracking_uri=default_uri(store))


def runs_of(client, kind):
    return client.search_runs(["1"], f"tags.`mlt_ray.kind` = '{kind}'")


@pytest.mark.slow
def test_the_experiment_has_a_kind_a_text_and_a_view_of_scores(client) -> None:
    tags = client.get_experiment("1").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert tags["mlflow.experiment.primaryMetric.name"] == "test_ua_mean"
    assert f"({runs_page('1')})" in tags["mlflow.note.content"]
    assert "Made <up>, on made up" in tags["mlflow.note.content"]
    view = json.loads(tags["mlflow.sharedViewState.rows"])
    columns = json.loads(view["state"])["selectedColumns"]
    assert columns[:2] == ["metrics.`test_wa_mean`", "metrics.`test_ua_mean`"]


def test_a_search_shows_dev_scores_alone(store) -> None:
    [record] = all_records(store)
    from dataclasses import replace

    tags = experiment_tags(replace(record, is_search=True), "7", 0)
    assert "test" not in json.dumps(tags)
    assert tags["mlflow.experiment.primaryMetric.name"] == "dev_ua_mean"


@pytest.mark.slow
def test_what_a_user_has_changed_stays(store, client) -> None:
    client.set_experiment_tag("1", "mlflow.note.content", "mine")
    assert sync_store(store, None) == ["made"]
    assert client.get_experiment("1").tags["mlflow.note.content"] == "mine"


@pytest.mark.slow
def test_a_parent_has_means_of_dev_and_test_published_scores_and_costs(store, client) -> None:
    good = next(run for run in runs_of(client, "row") if run.info.run_name == "good")
    found = good.data.metrics
    runs = fill(store, {"good": 0.8, "poor": 0.3}).runs.query("row == 'good'")
    assert found["test_ua_mean"] == pytest.approx(runs["test_ua"].mean())
    assert found["dev_wa_mean"] == pytest.approx(runs["dev_wa"].mean())
    assert found["test_ua_std_runs"] == pytest.approx(runs["test_ua"].std())
    of_folds = runs.groupby("fold")["test_ua"].mean()
    assert found["test_ua_std_folds"] == pytest.approx(of_folds.std())
    assert found["published_ua"] == 0.71
    assert found["test_ua_minus_published"] == pytest.approx(found["test_ua_mean"] - 0.71)
    assert found["num_parameters"] == runs["num_parameters"].mean()
    assert found["computed_s"] == pytest.approx(runs["computed_s"].sum())
    poor = next(run for run in runs_of(client, "row") if run.info.run_name == "poor")
    assert not [name for name in poor.data.metrics if "published" in name]


@pytest.mark.slow
def test_every_run_names_the_corpus_by_its_fingerprint(client) -> None:
    for run in (*runs_of(client, "row"), *runs_of(client, "fold-seed")):
        [given] = run.inputs.dataset_inputs
        assert (given.dataset.name, given.dataset.digest) == ("made up", corpus().fingerprint)


@pytest.mark.slow
def test_rows_have_pictures_and_the_report_a_run_of_its_own(store, client) -> None:
    for run in runs_of(client, "row"):
        assert [f.path for f in client.list_artifacts(run.info.run_id)] == ["confusion_matrix.png"]
    [report] = runs_of(client, "report")
    assert [f.path for f in client.list_artifacts(report.info.run_id)] == ["report.html"]
    (store.report_dir("made") / "report.html").write_text("<p>another page</p>")
    sync_store(store, None)
    [same] = runs_of(client, "report")
    assert same.info.run_id == report.info.run_id
    read = client.download_artifacts(same.info.run_id, "report.html")
    assert Path(read).read_text() == "<p>another page</p>"


@pytest.mark.slow
def test_a_deleted_experiment_is_named_with_how_to_restore_it(tmp_path, capsys) -> None:
    store = Store(tmp_path)
    fill(store, {"good": 0.8})
    sync_store(store, None)
    client = MlflowClient(tracking_uri=default_uri(store))
    client.delete_experiment("1")
    with pytest.raises(UserError, match=r"^1 experiment is not up to date, as said above$"):
        sync_store(store, None)
    said = capsys.readouterr().err
    assert "experiment made was deleted there" in said
    assert "mlflow experiments restore --experiment-id 1" in said
    client.restore_experiment("1")
    assert sync_store(store, None) == ["made"]


def test_the_variable_names_the_server_where_no_option_does(tmp_path, monkeypatch) -> None:
    store = Store(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_location(store, None) == default_uri(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    assert tracking_location(store, None) == "http://there:5000"
    assert tracking_location(store, "http://here:5000") == "http://here:5000"


@pytest.mark.slow
def test_where_to_look_is_a_command_for_a_file_and_an_address_for_a_server(store) -> None:
    records = all_records(store)
    tracker = Tracker(store, default_uri(store), records)
    command, _, address = tracker.address().partition(", then open ")
    assert command == f"mlflow ui --backend-store-uri {default_uri(store)}"
    assert address == f"http://127.0.0.1:5000/{runs_page('1')}"
    tracker.uri = "http://me:secret@there:5000/"
    assert tracker.address().endswith(f"there:5000/{runs_page('1')}")
    assert "secret" not in tracker.address()
