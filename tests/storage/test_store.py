"""The store: files are complete or absent, and a finished run is never changed."""

import csv
import dataclasses
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR
from mlt_ray.storage import store as store_module
from mlt_ray.storage.files import replacing, write_bytes, write_json
from mlt_ray.storage.report import Predictions, RunReport, curve_csv, predictions_csv
from mlt_ray.storage.store import Store
from tests.stored import DIGEST, EPOCHS, PREDICTIONS, REPORT, RUN_FILES


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def write(store: Store, report: RunReport = REPORT, weights: bytes = b"weights") -> None:
    store.write_run(report, PREDICTIONS, weights, {"mean": [0.1]})


def write_half(path: Path, error: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_run_is_read_back_as_it_was_written(store: Store) -> None:
    assert not store.is_done(DIGEST)
    assert store.report(DIGEST) is None
    write(store)
    assert store.is_done(DIGEST)
    assert store.report(DIGEST) == REPORT
    folder = store.run_dir(DIGEST)
    assert (folder / "weights.safetensors").read_bytes() == b"weights"
    assert store.read_json(folder / "inputs.json") == {"mean": [0.1]}
    assert {p.name for p in folder.iterdir()} == RUN_FILES


def test_weights_that_are_not_torch_s_can_have_another_file_name(store: Store) -> None:
    store.write_run(REPORT, PREDICTIONS, b"weights", {}, "forest.bin")
    names = {p.name for p in store.run_dir(DIGEST).iterdir()}
    assert names == RUN_FILES - {"weights.safetensors"} | {"forest.bin"}


def test_the_report_is_written_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    original = store_module.write_bytes

    def spying(path: Path, content: bytes) -> None:
        written.append(path.name)
        original(path, content)

    monkeypatch.setattr(store_module, "write_bytes", spying)
    write(store)
    assert len(written) == 5
    assert written[-1] == "report.json"


@pytest.mark.parametrize("fails_at", range(5))
def test_a_run_whose_writing_failed_is_not_finished_and_can_be_written_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    checkpoint = store.checkpoint(DIGEST)
    write_bytes(checkpoint, b"state")
    left = fails_at
    original = store_module.write_bytes

    def failing(path: Path, content: bytes) -> None:
        nonlocal left
        if left == 0:
            raise OSError("no space left on device")
        left -= 1
        original(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_bytes", failing)
        with pytest.raises(OSError, match="no space"):
            write(store)
    assert not store.is_done(DIGEST)
    assert checkpoint.exists()
    write(store)
    assert store.report(DIGEST) == REPORT
    assert not checkpoint.exists()


def test_a_finished_run_is_not_overwritten(store: Store) -> None:
    write(store)
    write(store, replace(REPORT, best_epoch=1), b"other weights")
    assert store.report(DIGEST) == REPORT
    assert (store.run_dir(DIGEST) / "weights.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"digest": 1}', "\x00" * 64])
def test_the_error_for_a_damaged_report_says_what_to_do(store: Store, content: str) -> None:
    path = store.run_dir(DIGEST) / "report.json"
    write_bytes(path, content.encode())
    with pytest.raises(UserError) as raised:
        store.report(DIGEST)
    assert str(raised.value).startswith(f"{path}: expected a run report, got ")
    assert str(raised.value).endswith("delete the folder to compute the run again")


def test_a_report_with_an_unknown_key_is_damaged(store: Store) -> None:
    values = dataclasses.asdict(REPORT) | {"colour": "red"}
    write_json(store.run_dir(DIGEST) / "report.json", values)
    with pytest.raises(UserError, match="colour"):
        store.report(DIGEST)


def test_an_exception_while_writing_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.json"
    with pytest.raises(KeyboardInterrupt):
        write_half(path, KeyboardInterrupt())
    assert list(path.parent.iterdir()) == []


def test_an_exception_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_bytes(path, b"old")
    with pytest.raises(TypeError):
        write_json(path, object())
    with pytest.raises(OSError, match="no space"):
        write_half(path, OSError("no space left on device"))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_replaces_another_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_bytes(path, b"old")
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_numbers_keep_all_digits(tmp_path: Path) -> None:
    values: dict[str, Any] = {"z": 0.1 + 0.2, "a": [1e-300, 1 / 3]}
    write_json(tmp_path / "v.json", values)
    found = json.loads((tmp_path / "v.json").read_text())
    assert found == values
    assert list(found) == ["z", "a"]


def test_a_file_that_does_not_exist_is_read_as_none(store: Store) -> None:
    assert store.read_json(store.study("table1")) is None
    assert store.studies() == []


def test_studies_are_listed_by_name(store: Store) -> None:
    for name in ("table2", "demo"):
        write_json(store.study(name), {})
    assert store.studies() == ["demo", "table2"]


def test_predictions_have_one_line_per_utterance() -> None:
    rows = list(csv.DictReader(io.StringIO(predictions_csv(PREDICTIONS))))
    assert [(r["part"], r["utterance"], r["emotion"], r["predicted"]) for r in rows] == [
        ("dev", "a", "neutral", "sad"),
        ("dev", "b", "angry", "angry"),
        ("test", "c", "happy", "happy"),
    ]
    assert [float(rows[0][c]) for c in FOUR] == [0.1, 0.2, 0.3, 0.4]


def test_the_curve_has_one_line_per_epoch_with_all_digits() -> None:
    rows = list(csv.DictReader(io.StringIO(curve_csv(EPOCHS))))
    found = [{k: float(v) for k, v in row.items()} for row in rows]
    assert found == [dataclasses.asdict(e) for e in EPOCHS]


def test_a_report_of_before_macro_f1_was_in_curves_is_read() -> None:
    values = dataclasses.asdict(REPORT)
    for epoch in values["curve"]:
        del epoch["dev_macro_f1"]
    found = RunReport.from_dict(values)
    assert found.curve == tuple(replace(e, dev_macro_f1=None) for e in EPOCHS)


def test_an_id_in_predictions_is_no_formula_for_a_spreadsheet() -> None:
    found = Predictions(
        utterances=("=1+1",),
        classes=FOUR,
        labels=np.array([0]),
        probabilities=np.array([[1.0, 0.0, 0.0, 0.0]]),
    )
    [row] = csv.DictReader(io.StringIO(predictions_csv({"test": found})))
    assert (row["utterance"], row["angry"]) == ("'=1+1", "1.000000")


def test_predictions_of_ids_with_commas_and_quotes_can_be_read_back() -> None:
    names = ("a/x,y", 'b "z"')
    found = Predictions(
        utterances=names,
        classes=FOUR,
        labels=np.array([0, 3]),
        probabilities=np.array([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.2, 0.3]]),
    )
    rows = list(csv.DictReader(io.StringIO(predictions_csv({"test": found}))))
    assert [row["utterance"] for row in rows] == list(names)
    assert [row["predicted"] for row in rows] == ["angry", "sad"]


def test_a_file_is_refused_as_a_store(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(UserError, match="expected a folder for the store, got a file"):
        Store(path)
