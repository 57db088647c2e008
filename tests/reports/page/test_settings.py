"""Settings on the page: what rows differ in, what they have in common."""

from mlt_ray.reports.page.settings import flattened, settings_of
from mlt_ray.storage.record import RowRecord


def row(name: str, **model: object) -> RowRecord:
    spec = {
        "corpus": "0123",
        "model": model,
        "folds": {"by": "session", "members": "4567", "num_folds": 5},
        "training": {"learning_rate": 0.001, "clip_norm": None, "libraries": "torch 2.11.0"},
        "classes": ["angry", "sad"],
    }
    return RowRecord(name=name, spec=spec, runs=())


def test_settings_stand_once_where_all_rows_have_them() -> None:
    found = settings_of([row("a", system="x", width=4), row("b", system="y", depth=2, width=4)])
    assert found["names"] == ["a", "b"]
    assert found["differing"] == [("model.system", ["x", "y"]), ("model.depth", ["", "2"])]
    assert found["common"] == [
        "model.width: 4",
        "training.learning_rate: 0.001",
        "training.clip_norm: null",
        "folds.by: session",
        "classes: [angry, sad]",
    ]


def test_no_row_has_no_settings() -> None:
    assert settings_of([]) == {"names": [], "differing": [], "common": []}


def test_values_are_written_as_a_study_says_them() -> None:
    found = flattened({"model": {"a": True, "b": [1, None], "c": {"d": 0.5}}})
    assert found == {"model.a": "true", "model.b": "[1, null]", "model.c.d": "0.5"}
