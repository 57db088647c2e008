"""A store of each earlier version is read, or what cannot be read is refused in a clear word.

`stores/` has a store of every format, of ten runs of a small study: `recipe_1`, `recipe_4` and
`recipe_6` of before versions of libraries were in digests, `torch_weights` of before runs could
predict, `format_1` of the first with a number. To keep them small, one run has its weights.
"""

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mlt_ray
from mlt_ray.cli.app import app
from mlt_ray.errors import UserError
from mlt_ray.reports.collect import find_record
from mlt_ray.reports.results import results_of
from mlt_ray.reports.tables import FILES
from mlt_ray.storage.format import FORMAT
from mlt_ray.storage.record import read_record
from mlt_ray.storage.store import Store

STORES = {path.stem: path for path in sorted((Path(__file__).parent / "stores").glob("*.zip"))}
OTHER_VALUES = r"use the version that computed it$"
REFUSED = {
    "recipe_1": OTHER_VALUES,
    "recipe_4": OTHER_VALUES,
    "recipe_6": OTHER_VALUES,
    # With its features, which are too large to be kept here, it predicts.
    "torch_weights": r"the study run again with its corpus computes them$",
}
"""What is said of the stores whose runs cannot be used as they are here, by name."""


SPEAK = """
import sys
from pathlib import Path
from mlt_ray.corpus.synthetic.demo import write_demo
write_demo(Path(sys.argv[1]), utterances=60)
"""


@pytest.fixture(params=STORES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def store(name: str, tmp_path: Path) -> Store:
    with zipfile.ZipFile(STORES[name]) as archive:
        archive.extractall(tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The recordings of the corpus that all of them were trained on, by utterance."""
    folder = tmp_path_factory.mktemp("corpora") / "corpus"
    # In a process of its own, since other tests may have spoken in this one.
    subprocess.run([sys.executable, "-c", SPEAK, folder], check=True)
    return {path.stem: path for path in folder.rglob("*.wav")}


def test_there_is_a_store_of_the_present_format() -> None:
    assert f"format_{FORMAT}" in STORES


def test_its_tables_say_what_they_said(store: Store) -> None:
    tables = results_of([find_record("kept", store)], store).tables
    now = json.loads(FILES["tables.json"](tables))["tables"]
    before = json.loads((store.report_dir("kept") / "tables.json").read_text("utf-8"))["tables"]
    assert len(before[0]["rows"]) == 2
    for table, new in zip(before, now, strict=True):
        for row, also in zip(table["rows"], new["rows"], strict=True):
            assert row["name"] == also["name"]
            assert row["measured"] == {key: also["measured"][key] for key in row["measured"]}


def test_its_rows_are_compared(store: Store) -> None:
    rows = ("kept", "audio only", "highway network")
    done = CliRunner().invoke(app, ["compare", *rows, "--store", str(store.root)])
    assert done.exit_code == 0, done.output
    assert "highway network" in done.output


@pytest.mark.parametrize("name", ["recipe_1"], indirect=True)
def test_the_page_and_figures_of_the_oldest_are_made(store: Store) -> None:
    done = CliRunner().invoke(app, ["report", "kept", "--store", str(store.root)])
    assert done.exit_code == 0, done.output
    made = {path.name for path in store.report_dir("kept").iterdir()}
    assert {"report.html", "comparisons.csv", "figures"} <= made


def test_a_run_of_it_predicts_what_it_predicted_or_is_refused(
    store: Store, name: str, recordings: dict[str, Path]
) -> None:
    run = next(path.parent.name for path in store.root.glob("runs/*/weights.*"))
    if name in REFUSED:
        with pytest.raises(UserError, match=REFUSED[name]):
            mlt_ray.load(run, store=str(store.root))
        return
    text = store.run_file(run, "predictions.csv").read_text("utf-8")
    stored = {row["utterance"]: row for row in csv.DictReader(text.splitlines())}
    model = mlt_ray.load(run, store=str(store.root))
    for utterance in list(stored)[::8]:
        found = model.predict(recordings[utterance])
        for label in ("angry", "happy", "neutral", "sad"):
            assert found.probabilities[label] == pytest.approx(
                float(stored[utterance][label]), abs=2e-6
            )


@pytest.mark.parametrize("file", ["studies/kept.json", "runs/{run}/report.json"])
def test_what_a_newer_version_has_written_is_refused(tmp_path: Path, file: str) -> None:
    with zipfile.ZipFile(STORES[f"format_{FORMAT}"]) as archive:
        archive.extractall(tmp_path)
    store = Store(tmp_path)
    record = read_record(store, store.study("kept"))
    assert record is not None
    path = tmp_path / file.format(run=record.rows[0].runs[0].digest)
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": FORMAT + 1, "new": 1}))
    with pytest.raises(UserError, match=f"{path.name}: expected format {FORMAT} .* update mlt_ray"):
        results_of([find_record("kept", store)], store)
