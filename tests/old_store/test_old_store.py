"""A store of an earlier version is read: nothing is computed again, and its tables say the same.

`store.zip` holds what that version wrote: records, reports and tables of `kept.yaml`. It is made
anew where digests change on purpose (`RunSpec.recipe`), by ``python -m
tests.old_store.test_old_store``.
"""

import csv
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
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


@pytest.fixture
def files(store: Store) -> dict[str, tuple[str, str]]:
    """The text of each table's file as that version wrote it, and as it is now."""
    tables = results_of([find_record("kept", store)], store).tables
    found = {}
    for name, render in FILES.items():
        before = (store.root / "reports" / "kept" / name).read_text("utf-8")
        for old, new in REWORDED.items():
            before = before.replace(old, new)
        found[name] = before, render(tables)
    return found


def columns(lines: list[list[str]]) -> dict[str, list[str]]:
    """The cells below each heading."""
    return {head: list(cells) for head, *cells in zip(*lines, strict=True)}


def of_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def of_markdown(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(("name", "read"), [("tables.csv", of_csv), ("tables.md", of_markdown)])
def test_every_column_that_there_was_has_the_same_cells(
    files: dict[str, tuple[str, str]], name: str, read: Callable[[str], list[list[str]]]
) -> None:
    before, now = (columns(read(text)) for text in files[name])
    assert before == {heading: now[heading] for heading in before}


def test_every_other_line_of_the_markdown_is_the_same(files: dict[str, tuple[str, str]]) -> None:
    before, now = (
        [line for line in text.splitlines() if not line.startswith("|")]
        for text in files["tables.md"]
    )
    assert before == now


def test_every_line_of_the_latex_is_there(files: dict[str, tuple[str, str]]) -> None:
    """But for that which says how wide the columns are."""
    before, now = (text.splitlines() for text in files["tables.tex"])
    before = [line for line in before if not line.startswith(r"\begin{tabular}")]
    assert before == [line for line in now if line in before]


def test_every_value_of_the_json_is_the_same(files: dict[str, tuple[str, str]]) -> None:
    before, now = (json.loads(text)["tables"] for text in files["tables.json"])
    for table, new in zip(before, now, strict=True):
        for row, also in zip(table["rows"], new["rows"], strict=True):
            also["measured"] = {key: also["measured"][key] for key in row["measured"]}
    assert before == now


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
