"""`mlt-ray search` from end to end: Tune, Optuna, the store, MLflow, the best ones' table."""

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow
import pytest

from mlt_ray.storage.files import write_json
from tests.crashes.journal import wait_until
from tests.crashes.scene import kill_session
from tests.end_to_end.conftest import STUDY, mlt_ray, reports, start_mlt_ray, tables
from tests.ports import free_port

pytestmark = pytest.mark.slow

SPACE = (
    STUDY.partition("rows:")[0]
    .replace("Two small rows", "Small layers")
    .replace("max_epochs: 3", "max_epochs: 2")
    + """
space:
  model.text_encoder_layers: {int: [1, 2]}
  model.deep_fusion_layers: {int: [0, 1]}
search: {trials: 4, startup_trials: 1, folds: [1, 2], best: 1, compare: COMPARED}
"""
)
ROW = """
  - name: {0}-{1}
    published: {{wa: [0.7{0}, null], ua: [0.7{1}, null]}}
    model: {{text_encoder_layers: {0}, deep_fusion_layers: {1}}}"""
COMPARED = SPACE.partition("space:")[0] + "rows:"
COMPARED += "".join(ROW.format(text, fusion) for text in (1, 2) for fusion in (0, 1))


@pytest.fixture(scope="module")
def searched(tmp_path_factory, corpus):
    """A space's file, a store in which it was searched to its end, and what was printed."""
    folder = tmp_path_factory.mktemp("search")
    compared, space = folder / "compared.yaml", folder / "mini.yaml"
    compared.write_text(COMPARED)
    space.write_text(SPACE.replace("COMPARED", str(compared)))
    done = mlt_ray("search", space, "--corpus", corpus, "--store", folder / "store")
    assert done.returncode == 0, done.stderr + done.stdout
    return space, folder / "store", done.stdout


def test_all_configurations_are_listed_with_their_state(searched):
    _, store, printed = searched
    found = json.loads((store / "reports/mini/search.json").read_text())["configurations"]
    assert [c["number"] for c in found] == [1, 2, 3, 4]
    assert {c["state"] for c in found} <= {"complete", "pruned"}
    assert "complete" in printed
    assert "(dev scores)" in printed
    complete = [c for c in found if c["state"] == "complete"]
    assert all(c["cells_done"] == 2 for c in complete)


def test_the_best_is_trained_on_all_folds_and_seeds_beside_the_published_score(searched):
    _, store, printed = searched
    found = json.loads((store / "reports/mini/search.json").read_text())["configurations"]
    complete = [c for c in found if c["state"] == "complete"]
    best = max(complete, key=lambda c: (c["dev_ua"], -c["number"]))
    name = f"{best['model.text_encoder_layers']}-{best['model.deep_fusion_layers']}"
    [row] = tables(store, "compared-mini")["tables"][1]["rows"]
    assert row["name"] == f"best 1: {name}"
    assert row["runs_done"] == row["runs_planned"] == 10
    published = {r["name"]: r for r in tables(store, "compared-mini")["tables"][0]["rows"]}[name]
    assert row["published"] == published["published"]
    assert published["measured"] == row["measured"]
    assert "10/10" in printed


def test_asking_again_computes_nothing(searched, corpus):
    space, store, _ = searched
    before = reports(store)
    again = mlt_ray("search", space, "--corpus", corpus, "--store", store)
    assert again.returncode == 0, again.stderr
    assert "4 known already" in again.stdout
    assert "10 in the store, 0 to compute" in again.stdout
    assert reports(store) == before


def test_the_search_shows_no_test_score_in_mlflow(searched):
    _, store, _ = searched
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mini search")
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    assert len([r for r in runs if r.data.tags["mlt_ray.kind"] == "row"]) == 4
    assert any("dev_ua_mean" in r.data.metrics for r in runs)
    assert not [key for r in runs for key in r.data.metrics if "test" in key]
    files = {a.path for r in runs for a in client.list_artifacts(r.info.run_id)}
    assert files == set()


def test_the_storage_serves_optuna_s_dashboard(searched):
    _, store, _ = searched
    port = free_port()
    command = [Path(sys.executable).parent / "optuna-dashboard", f"sqlite:///{store}/optuna.db"]
    server = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        [study] = studies_of(f"http://127.0.0.1:{port}/api/studies")
    finally:
        server.kill()
        server.wait()
    assert study["study_name"].startswith("mini-")


def studies_of(url, timeout_s=60):
    end = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["study_summaries"]
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.3)


def test_a_search_that_runs_out_of_time_says_so_and_goes_on_later(searched, corpus, tmp_path):
    space, _, _ = searched
    arguments = ("search", space, "--corpus", corpus, "--store", tmp_path / "store")
    short = mlt_ray(*arguments, "--timeout", "1s")
    assert short.returncode == 0, short.stderr
    assert "time is up; the same command goes on from here" in short.stdout


def test_a_database_that_fails_in_the_middle_ends_the_search_in_one_line(corpus, tmp_path):
    """Tune would swallow the error and wait for ever; what is finished is kept."""
    space, store = tmp_path / "mini.yaml", tmp_path / "store"
    space.write_text(SPACE.replace(", compare: COMPARED", "").replace("trials: 4", "trials: 2"))
    arguments = ("search", space, "--corpus", corpus, "--store", store)
    process = start_mlt_ray(*arguments)
    try:
        wait_until(lambda: reports(store) or process.poll() is not None, "a finished cell")
        with contextlib.closing(sqlite3.connect(store / "optuna.db")) as database, database:
            database.execute("alter table trials rename column number to ordinal")
        output, errors = process.communicate(timeout=400)
    finally:
        kill_session(process)
    assert process.returncode == 2, output + errors
    assert f"mlt-ray: {store}/optuna.db: expected a database of Optuna, got another" in errors
    assert len([line for line in errors.splitlines() if "mlt-ray:" in line]) == 1
    assert "Traceback" not in errors + output
    kept = reports(store)
    with contextlib.closing(sqlite3.connect(store / "optuna.db")) as database, database:
        database.execute("alter table trials rename column ordinal to number")
    again = mlt_ray(*arguments)
    assert again.returncode == 0, again.stderr + again.stdout
    assert {digest: reports(store)[digest] for digest in kept} == kept


def test_a_search_that_another_process_has_taken_over_ends_in_one_line(corpus, tmp_path):
    """As after a while in which this one did not answer."""
    space, store = tmp_path / "mini.yaml", tmp_path / "store"
    long = SPACE.replace(", compare: COMPARED", ", pruner: none").replace("trials: 4", "trials: 3")
    space.write_text(long.replace("max_epochs: 2", "max_epochs: 60, patience: 60"))
    process = start_mlt_ray("search", space, "--corpus", corpus, "--store", store)
    try:
        wait_until(lambda: reports(store) or process.poll() is not None, "a finished cell")
        write_json(store / "leases" / "search-mini.2.json", {"owner": "another"})
        output, errors = process.communicate(timeout=400)
    finally:
        kill_session(process)
    assert process.returncode == 2, output + errors
    assert "mlt-ray: search mini: expected to be alone at it, but another process has" in errors
    assert "Traceback" not in errors + output
    assert reports(store)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table1"], "table1: expected a key space, found none; use mlt-ray run table1"),
        (["layer"], "unknown study layer; did you mean layers?"),
        (["layers", "--timeout", "soon"], "--timeout: expected a time such as 90s, 30m or 2h"),
        (["layers", "--set", "model.widht=3"], "unknown key widht; did you mean width?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, corpus, tmp_path):
    done = mlt_ray("search", *arguments, "--corpus", corpus, "--store", tmp_path / "store")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
