"""`mlt-ray run` from end to end: Ray, the store, MLflow, reports."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import mlflow
import pytest

from mlt_ray.corpus.readers.read import read_corpus
from tests.crashes.journal import wait_until
from tests.crashes.scene import kill_session
from tests.end_to_end.conftest import mlt_ray, reports, start_mlt_ray, tables

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def written(undisturbed, tmp_path_factory):
    """A copy of the undisturbed store, which commands may add to."""
    return Path(shutil.copytree(undisturbed, tmp_path_factory.mktemp("written") / "store"))


def mlflow_runs(store):
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("small")
    return client, client.search_runs([experiment.experiment_id], max_results=1000)


def points(store):
    with sqlite3.connect(store / "mlflow.db") as database:
        query = """select r.name, m.key, m.step, m.value, m.timestamp from metrics m
                   join runs r using (run_uuid) order by 1, 2, 3, 4, 5"""
        return database.execute(query).fetchall()


def test_every_run_of_the_study_is_done_and_reported(undisturbed):
    [table] = tables(undisturbed)["tables"]
    assert [row["name"] for row in table["rows"]] == ["audio only", "highway network"]
    assert all((row["runs_done"], row["runs_planned"]) == (10, 10) for row in table["rows"])
    assert table["rows"][1]["published"] == {"wa": [0.730, 0.003], "ua": [0.741, 0.001]}
    found = [json.loads(r) for r in reports(undisturbed).values()]
    assert len(found) == 20
    by_row = [r["scores"]["test"]["ua"] for r in found if r["spec"]["model"]["inputs"] == "audio"]
    assert table["rows"][0]["measured"]["ua_mean"] == pytest.approx(sum(by_row) / 10)


def test_mlflow_has_a_parent_a_row_and_a_child_a_run_with_curves_and_files(undisturbed):
    client, runs = mlflow_runs(undisturbed)
    parents = [r for r in runs if r.data.tags["mlt_ray.kind"] == "row"]
    children = [r for r in runs if r.data.tags["mlt_ray.kind"] == "fold-seed"]
    assert sorted(r.info.run_name for r in parents) == ["audio only", "highway network"]
    assert len(children) == 20
    assert {r.info.status for r in runs} == {"FINISHED"}
    child = children[0]
    report = json.loads(reports(undisturbed)[child.data.tags["mlt_ray.digest"]])
    curve = client.get_metric_history(child.info.run_id, "dev_wa")
    assert [(m.step, m.value, m.timestamp) for m in curve] == [
        (e["epoch"], e["dev_wa"], e["ended_ms"]) for e in report["curve"]
    ]
    assert child.data.metrics["test_ua"] == report["scores"]["test"]["ua"]
    assert child.data.params["training.learning_rate"] == "0.001"
    names = {a.path for a in client.list_artifacts(child.info.run_id)}
    assert names == {"report.json", "predictions.csv", "curve.csv", "confusion_matrix.csv"}
    assert child.info.start_time == report["started_ms"]


def test_asking_again_computes_nothing_and_adds_nothing(written, corpus, study):
    before, logged = reports(written), points(written)
    again = mlt_ray("run", study, "--corpus", corpus, "--store", written)
    assert again.returncode == 0, again.stderr
    assert "20 in the store, 0 to compute" in again.stdout
    assert "features" not in again.stdout
    assert reports(written) == before
    assert points(written) == logged


def test_another_study_with_the_same_row_reuses_its_runs(written, corpus, study, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(study.read_text().replace("highway network", "the same by another name"))
    done = mlt_ray("run", other, "--corpus", corpus, "--store", written)
    assert "20 in the store, 0 to compute" in done.stdout
    assert tables(written, "other")["tables"][0]["rows"][1]["runs_done"] == 10


def test_a_run_that_diverges_is_named_and_the_others_are_reported(corpus, study, tmp_path):
    diverging = tmp_path / "small.yaml"
    text = study.read_text()
    diverging.write_text(text + "    training: {learning_rate: 1.0e+10}\n")
    store = tmp_path / "store"
    done = mlt_ray(
        "run", diverging, "--corpus", corpus, "--store", store, "--seeds", "1", "--folds", "1-2"
    )
    assert done.returncode == 1
    assert "2 runs failed" in done.stderr
    for fold in (1, 2):
        assert f"small: highway network, fold {fold}, seed 1: the loss is nan" in done.stderr
    rows = tables(store)["tables"][0]["rows"]
    assert [(r["runs_done"], r["runs_planned"]) for r in rows] == [(2, 10), (0, 10)]
    assert rows[1]["measured"] is None
    assert rows[0]["measured"]["wa_std"] is None


def test_sync_rebuilds_mlflow_from_the_store_with_the_original_times(undisturbed, tmp_path):
    store = tmp_path / "copy"
    shutil.copytree(undisturbed, store)
    logged = [p for p in points(store) if "fold" in p[0]]
    (store / "mlflow.db").unlink()
    for _ in range(2):
        done = mlt_ray("sync", "--store", store)
        assert done.returncode == 0, done.stderr
    assert [p for p in points(store) if "fold" in p[0]] == logged


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "tabel1", "--corpus", "."], "unknown study tabel1; did you mean table1?"),
        (["run", "table1", "--corpus", "nowhere"], "no such folder"),
        (["run", "table1", "--corpus", ".", "--set", "training.epochs=3"], "unknown key epochs"),
        (["run", "table1", "--corpus", ".", "--folds", "1-"], "expected numbers such as 1,3"),
        (["report", "table1", "--store", "nowhere"], "run mlt-ray run table1 --corpus"),
        (["corpus", "synthesize", "nowhere.csv", "out"], "nowhere.csv"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path):
    done = mlt_ray(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("mlt-ray: ")
    assert message in line


def test_corpus_check_exits_2_for_a_damaged_recording(corpus, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(corpus, damaged)
    assert mlt_ray("corpus", "check", damaged).returncode == 0
    victim = sorted(damaged.rglob("Ses02F*.wav"))[0]
    victim.write_bytes(victim.read_bytes()[:100])
    done = mlt_ray("corpus", "check", damaged)
    assert done.returncode == 2
    assert victim.stem in done.stdout
    run = mlt_ray("run", "table1", "--corpus", damaged, "--store", tmp_path / "s", "--dry-run")
    assert run.returncode == 2
    assert victim.stem in run.stderr


def test_the_wheel_holds_the_studies_and_profiles(tmp_path):
    root = Path(__file__).parents[2]
    command = ["pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path), str(root)]
    subprocess.run([sys.executable, "-m", *command], check=True)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "mlt_ray/search_spaces/table1.yaml" in names
    assert "mlt_ray/clusters/many_gpus.yaml" in names
    assert "mlt_ray/py.typed" in names


def test_doctor_finds_every_part_in_order(tmp_path):
    done = mlt_ray("doctor", "--store", tmp_path)
    assert done.returncode == 0, done.stdout
    for part in ("packages", "Ray", "MLflow", "word vectors", "phonemes", "speech"):
        assert part in done.stdout
    assert "FAILS" not in done.stdout


def test_a_signal_to_the_whole_process_group_ends_all_at_once(corpus, study, tmp_path):
    # As `timeout` and batch systems send it: Ray's head ends, and cannot be waited for.
    store = tmp_path / "store"
    endless = ("--set", "training.max_epochs=100000", "--set", "training.patience=100000")
    process = start_mlt_ray("run", study, "--corpus", corpus, "--store", store, *endless)
    try:
        deadline = time.monotonic() + 120
        while not list(store.glob("leases/[0-9a-f]*.json")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(2)
        os.killpg(process.pid, signal.SIGTERM)
        out, error = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130, out + error
    assert "the same command goes on from here" in out + error
    assert "Failed to connect to GCS" not in out + error


def test_the_demo_speaks_its_corpus_before_anything_else(tmp_path):
    # What it does with a corpus that is there, test_job.py sees to its end.
    spoken = tmp_path / "store" / "demo-corpus"
    process = start_mlt_ray("demo", "--store", spoken.parent)
    try:
        wait_until(lambda: spoken.exists() or process.poll() is not None, "the demo's corpus")
    finally:
        kill_session(process)
    assert len(read_corpus(spoken)) == 600
