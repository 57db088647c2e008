"""Records of studies and searches: their values, and their files as they are on disk."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlt_ray.errors import UserError
from mlt_ray.storage.format import FORMAT
from mlt_ray.storage.record import (
    RowRecord,
    RunRecord,
    StudyRecord,
    all_records,
    read_record,
    write_record,
)
from mlt_ray.storage.store import Store

RUNS = (RunRecord(digest="d1", fold=1, seed=7), RunRecord(digest="d2", fold=2, seed=7))
ROW = RowRecord(name="words", spec={"corpus": "c", "model": {"system": "xu"}}, runs=RUNS)
PUBLISHED_ROW = RowRecord(
    name="whole",
    spec={},
    runs=(),
    published={"wa": (0.73, 0.003), "ua": (0.741, None)},
    changes=("model.width=7", "--glove mine.txt"),
)
STUDY = StudyRecord(
    study="mine", title="Mine", corpus="spoken", fingerprint="f", rows=(PUBLISHED_ROW, ROW)
)
SEARCH = StudyRecord(
    study="mine search", title="Mine", corpus="spoken", fingerprint="f", rows=(ROW,), is_search=True
)

HEAD: dict[str, Any] = {"title": "Mine", "corpus": {"name": "spoken", "fingerprint": "f"}}
VALUES: dict[str, Any] = {
    "spec": {"corpus": "c", "model": {"system": "xu"}},
    "runs": [{"digest": "d1", "fold": 1, "seed": 7}, {"digest": "d2", "fold": 2, "seed": 7}],
}
STUDY_FILE: dict[str, Any] = {
    "study": "mine",
    **HEAD,
    "rows": [
        {
            "name": "whole",
            "published": {"wa": [0.73, 0.003], "ua": [0.741, None]},
            "overrides": ["model.width=7", "--glove mine.txt"],
            "spec": {},
            "runs": [],
        },
        {"name": "words", "published": None, "overrides": [], **VALUES},
    ],
}
SEARCH_FILE: dict[str, Any] = {
    "study": "mine search",
    **HEAD,
    "dev_only": True,
    "rows": [{"name": "words", **VALUES}],
}


@pytest.mark.parametrize(("record", "values"), [(STUDY, STUDY_FILE), (SEARCH, SEARCH_FILE)])
def test_a_file_has_these_values_in_this_order(
    record: StudyRecord, values: dict[str, Any], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    write_record(store, store.study("mine"), record)
    # Compared as text, since equal dictionaries may differ in their order.
    assert json.dumps(record.as_dict()) == json.dumps(values)
    written = {"format": FORMAT, **values}
    assert json.dumps(json.loads(store.study("mine").read_text())) == json.dumps(written)


@pytest.mark.parametrize("record", [STUDY, SEARCH])
def test_a_record_is_read_as_it_was_written(record: StudyRecord, tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_record(store, store.study("mine"), record)
    assert read_record(store, store.study("mine")) == record
    assert StudyRecord.from_dict(record.as_dict()) == record


def test_a_store_lists_its_studies_and_then_its_searches(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert read_record(store, store.study("mine")) is None
    assert all_records(store) == []
    other = replace(STUDY, study="other")
    write_record(store, store.search("mine"), SEARCH)
    write_record(store, store.study("other"), other)
    write_record(store, store.study("mine"), STUDY)
    assert all_records(store) == [STUDY, other, SEARCH]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"study": "../../x"}, "../../x"),
        (
            {"rows": [{"name": "r", "spec": {}, "runs": [{**VALUES["runs"][0], "digest": "a/b"}]}]},
            "a/b",
        ),
    ],
)
def test_a_record_with_a_name_that_leaves_its_folder_is_refused(
    tmp_path: Path, values: dict[str, Any], name: str
) -> None:
    store = Store(tmp_path)
    store.write_json(store.study("mine"), STUDY_FILE | values)
    with pytest.raises(
        UserError, match=rf"mine.json: expected a name without slashes, got '{name}'"
    ):
        read_record(store, store.study("mine"))
