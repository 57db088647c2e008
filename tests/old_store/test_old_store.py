"""A store of an earlier version is read: nothing is computed again, and its tables are the same.

`store.zip` holds what that version wrote: records, reports and tables of `kept.yaml`. It is made
anew where digests change on purpose (`RunSpec.recipe`), by ``python -m
tests.old_store.test_old_store``.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from mlt_ray import libraries
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.libraries import versions
from mlt_ray.planning.backlog import take_stock
from mlt_ray.planning.contents import Pretrained, name_contents
from mlt_ray.planning.plan import Plan, make_plan
from mlt_ray.reports.collect import find_record
from mlt_ray.reports.results import results_of
from mlt_ray.reports.tables import FILES
from mlt_ray.spec import decisive
from mlt_ray.storage.files import json_bytes
from mlt_ray.storage.record import read_record
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import load_study

HERE = Path(__file__).parent
STUDY, ARCHIVE = HERE / "kept.yaml", HERE / "store.zip"
NUM_RUNS = 15
KEPT = ("corpora/*.json", "studies/*.json", "runs/*/report.json", "reports/kept/*")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return Store(tmp_path)


@pytest.fixture
def plan(store: Store, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The study as it would be asked for again now."""
    record = read_record(store, store.study("kept"))
    assert record is not None
    corpus = Corpus.from_dict(store.read_json(store.corpus(record.fingerprint)))
    assert corpus.fingerprint == record.fingerprint
    monkeypatch.setattr(libraries, "version", versions_in(store).__getitem__)
    study = name_contents(load_study(str(STUDY)), corpus, Pretrained.load(None))
    return make_plan(study, corpus)


def versions_in(store: Store) -> dict[str, str]:
    """The versions of the libraries that the store's runs were computed with."""
    reports = store.reports(path.name for path in (store.root / "runs").iterdir())
    parts = [report.spec[part] for report in reports for part in ("features", "training")]
    return {name: found for part in parts for name, found in versions(part["libraries"]).items()}


def test_every_run_is_found_done(store: Store, plan: Plan) -> None:
    backlog = take_stock([plan], store)
    assert (backlog.num_asked, len(backlog.done), backlog.left) == (NUM_RUNS, NUM_RUNS, ())


def test_the_record_says_what_it_said(store: Store, plan: Plan) -> None:
    now = json.loads(json_bytes(plan.as_record().as_dict()))
    before = json.loads(store.study("kept").read_bytes())
    for row in now["rows"]:
        row["spec"] = decisive(row["spec"])  # without what was added since, at its default
    assert now == before


REWORDED = {"five folds by session": "5 folds by session", "over five folds": "over all folds"}
"""What tables say in other words since."""


@pytest.mark.parametrize("name", FILES)
def test_every_table_is_the_same_to_the_byte(store: Store, name: str) -> None:
    expected = (store.root / "reports" / "kept" / name).read_text("utf-8")
    for before, now in REWORDED.items():
        expected = expected.replace(before, now)
    tables = results_of([find_record("kept", store)], store).tables
    assert FILES[name](tables) == expected


def make(command: list[str]) -> None:
    """Run the study on a small demo corpus and pack what the store keeps of it."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, root = Path(folder) / "corpus", Path(folder) / "store"
        subprocess.run([*command, "corpus", "demo", corpus, "--utterances", "60"], check=True)
        asked = ["run", STUDY, "--corpus", corpus, "--store", root]
        subprocess.run([*command, *asked], check=True)
        with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(f for pattern in KEPT for f in root.glob(pattern)):
                content = file.read_text().replace(f"{corpus}/", "")
                archive.writestr(str(file.relative_to(root)), content)


if __name__ == "__main__":
    make([sys.executable, "-c", "from mlt_ray.cli.app import main; main()"])
