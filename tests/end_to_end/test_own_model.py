"""The documented model of one's own: beside ours, asked again, changed, searched over."""

import json
import shutil
from pathlib import Path

import mlflow
import pytest

from tests.end_to_end.conftest import mlt_ray, reports, tables

pytestmark = pytest.mark.slow

DOCUMENTED = Path(__file__).parents[2] / "docs" / "own_model"
SHORT = ("--set", "training.max_epochs=2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpus):
    """A folder with the documented files, and a store with two folds of each row."""
    folder = tmp_path_factory.mktemp("own") / "mine"
    shutil.copytree(DOCUMENTED, folder)
    done = run(folder, corpus)
    assert done.returncode == 0, done.stderr + done.stdout
    return folder


def run(folder, corpus, *more):
    study, store = folder / "beside_highway.yaml", folder / "store"
    return mlt_ray(
        "run", study, "--corpus", corpus, "--store", store, "--folds", "1-2", *SHORT, *more
    )


def by_system(folder):
    """Bytes of the reports of the model's own runs, and of the others, by digest."""
    found = {True: {}, False: {}}
    for digest, content in reports(folder / "store").items():
        found["source" in json.loads(content)["spec"]["model"]][digest] = content
    return found[True], found[False]


def test_it_stands_beside_the_highway_network_and_everything_names_its_file(trained):
    store = trained / "store"
    [table] = tables(store, "beside_highway")["tables"]
    assert [(row["name"], row["runs_done"]) for row in table["rows"]] == [
        ("mean of frames", 2),
        ("highway network", 2),
    ]
    own, others = by_system(trained)
    assert (len(own), len(others)) == (2, 2)
    [source] = {json.loads(report)["spec"]["model"]["source"] for report in own.values()}
    name, _, digest = source.partition("@")
    assert name == "mean_frames.py"
    copied = store / "models" / f"{digest}.py"
    assert copied.read_bytes() == (trained / "mean_frames.py").read_bytes()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("beside_highway")
    found = client.search_runs([experiment.experiment_id])
    assert [r.data.params["model.source"] for r in found if "model.source" in r.data.params] == [
        source
    ] * 3  # the row, and its two runs


def test_one_more_character_retires_the_runs_of_the_file_alone(trained, corpus, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    own, others = by_system(folder)
    again = run(folder, corpus)
    assert "4 in the store, 0 to compute" in again.stdout
    with (folder / "mean_frames.py").open("a") as file:
        file.write("#")
    changed = run(folder, corpus)
    assert changed.returncode == 0, changed.stderr
    assert "2 in the store, 2 to compute" in changed.stdout
    now, others_now = by_system(folder)
    assert others_now == others
    assert len(now) == 4
    assert own.items() < now.items()
    # The report is made without the file.
    (folder / "mean_frames.py").unlink()
    shown = mlt_ray("report", "beside_highway", "--store", folder / "store")
    assert shown.returncode == 0, shown.stderr
    assert "mean of frames" in shown.stdout


def test_its_values_are_searched_over(trained, corpus):
    space, store = trained / "widths.yaml", trained / "store"
    done = mlt_ray("search", space, "--corpus", corpus, "--store", store, *SHORT)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads((store / "reports/widths/search.json").read_text())["configurations"]
    assert sorted(c["model.width"] for c in found) == [16, 32, 64]
    assert {c["state"] for c in found} == {"complete"}


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("def forward(", "def forward", 2, "beside_highway.models: mean_frames.py:34: SyntaxError"),
        ("spec.width, sizes.num_classes", "spec.width, 7", 2, "expected logits of shape (B, K) = "),
        (
            "real = ",
            "assert len(batch) < 24, 'too many'; real = ",
            1,
            "fold 2, seed 1: mean_frames.py:35: AssertionError: too many",
        ),
    ],
)
def test_a_mistake_in_it_is_a_line(trained, corpus, tmp_path, old, new, code, line):
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    file = folder / "mean_frames.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    done = run(folder, corpus, "--rows", "mean of frames")
    assert done.returncode == code, done.stderr + done.stdout
    assert line in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
