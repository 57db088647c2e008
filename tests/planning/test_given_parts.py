"""Studies on the parts that come with a corpus: planned, and their batches read from the store."""

from pathlib import Path

from mlt_ray.labels import FOUR, NAMED
from mlt_ray.planning.plan import make_plan
from mlt_ray.planning.workspace import Places, Workspace
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import parse_study
from mlt_ray.training.from_store import fold_data
from tests.meld import write_meld


def test_official_parts_are_one_fold_of_a_row(tmp_path: Path) -> None:
    places = Places(corpus=write_meld(tmp_path / "meld"), store=Store(tmp_path / "store"))
    workspace = Workspace.open(places, [NAMED["four"]])
    base = {
        "model": {"system": "multilevel"},
        "folds": {"by": "given"},
        "features": {"frames": {"num_bins": 20}},
    }
    study = workspace.name_contents(parse_study("mine", {"base": base, "rows": [{"name": "row"}]}))
    workspace.fill_cache(study.rows, lambda what, done, total: None)
    (row,) = make_plan(study, workspace.corpus).rows
    assert {run.fold for run in row.runs} == {1}
    data = fold_data(row.runs[0], workspace.store)
    assert data.corpus.classes == FOUR
    assert {part: len(indices) for part, indices in data.parts.items()} == {
        "train": 8,
        "dev": 8,
        "test": 8,
    }
    assert set(data.batch(data.parts["test"]).num_words.tolist()) == {5}
