"""What lies in a store, which others can write to: reports, records, tables, leases, predictions."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.features.cache import Cache
from mlt_ray.masking import has_unquoted_password, masked
from mlt_ray.reports.frames import RunOfRow, curves_frame, predictions_frame, runs_frame
from mlt_ray.reports.results import results_of
from mlt_ray.search.trial_files import as_values, from_values
from mlt_ray.storage.evaluation import Asked, read_evaluation, write_evaluation
from mlt_ray.storage.holder import Holder
from mlt_ray.storage.lease import generations, is_free, lease_path
from mlt_ray.storage.record import StudyRecord, all_records, read_record
from mlt_ray.storage.report import predictions_csv
from mlt_ray.storage.spreadsheet import csv_rows, csv_text
from mlt_ray.storage.store import Store
from tests.fuzz.mutated import JUNK, TEXTS, contents, texts, values
from tests.fuzz.outcome import in_time, told_or_read
from tests.reports.made_up import corpus, fill
from tests.stored import DIGEST, PREDICTIONS, REPORT

VALUES = json.loads(json.dumps(asdict(REPORT)))
ASKED = Asked(
    run=DIGEST,
    corpus="c",
    fingerprint="f",
    libraries="l",
    classes=("a", "b"),
    utterances=("u", "v"),
)
EVALUATION = {**ASKED.as_dict(), "probabilities": [[0.25, 0.75], [1.0, 0.0]]}
CSV = predictions_csv(PREDICTIONS)
HOLDER = Holder.here("me").as_json()


@pytest.fixture(scope="module")
def store(folder):
    return Store(folder / "store")


@pytest.fixture(scope="module")
def record(folder):
    """The values of a study's record, whose runs are in a store of their own."""
    made = Store(folder / "made")
    fill(made, {"good": 0.8}, num_utterances=40)
    return made, json.loads(made.study("made").read_text())


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@given(report=values(VALUES))
def test_a_report_of_any_values(report, store):
    write(store.run_dir(DIGEST) / "report.json", report)
    found = told_or_read(store.report, DIGEST)
    if found is not None:
        row = RunOfRow(study="s", row="r", report=found)
        runs_frame([row])
        curves_frame([row])


@given(content=contents(json.dumps(VALUES).encode(), b"[" * 100_000))
def test_a_report_of_any_bytes(content, store):
    path = store.run_dir(DIGEST) / "report.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    told_or_read(store.report, DIGEST)


@given(
    content=st.one_of(
        contents(CSV.encode()), texts(CSV).map(lambda t: t.encode("utf-8", "replace"))
    )
)
def test_predictions_of_any_content(content, store):
    write(store.run_dir(DIGEST) / "report.json", VALUES)
    (store.run_dir(DIGEST) / "predictions.csv").write_bytes(content)
    row = RunOfRow(study="s", row="r", report=REPORT)
    told_or_read(predictions_frame, [row], store)


@given(data=st.data())
def test_a_record_of_any_values(data, record):
    made, valid = record
    write(made.study("made"), data.draw(values(valid)))
    found = told_or_read(read_record, made, made.study("made"))
    if found is not None:
        told_or_read(results_of, [found], made)


@given(content=contents(b'{"study": "a", "title": "", "corpus": {}, "rows": []}'))
def test_records_of_any_bytes(content, store):
    store.search("any").parent.mkdir(parents=True, exist_ok=True)
    store.search("any").write_bytes(content)
    told_or_read(all_records, store)


@given(table=values(json.loads(json.dumps(corpus(3).as_dict()))))
def test_the_table_of_a_corpus_of_any_values(table):
    found = told_or_read(Corpus.from_dict, table)
    if found is not None:
        assert len(found.fingerprint) == 16


@given(evaluation=values(EVALUATION))
def test_an_evaluation_of_any_values(evaluation, store):
    write(store.evaluation(ASKED.digest), evaluation)
    found = told_or_read(read_evaluation, store, ASKED)
    assert found is None or (np.isfinite(found).all() and found.shape == (2, 2))


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=2), min_size=2, max_size=2))
def test_an_evaluation_that_is_written_is_read(tmp_path_factory, probabilities):
    store = Store(tmp_path_factory.getbasetemp() / "written")
    written = write_evaluation(store, ASKED, np.array(probabilities))
    np.testing.assert_array_equal(read_evaluation(store, ASKED), written)


@given(content=st.one_of(contents(HOLDER.encode()), values(json.loads(HOLDER)).map(json.dumps)))
def test_a_lease_of_any_content(content, folder):
    path = lease_path(folder, "any", 1)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with in_time():
        assert is_free(path, "other", math.inf) in (True, False)
        assert Holder.from_json(path.read_bytes()).is_known_dead in (True, False)


@given(names=st.lists(texts("any.1.json", "any.².json", "any.1.2.json").map(lambda n: n[:100])))
def test_leases_of_any_name(names, tmp_path_factory):
    place = tmp_path_factory.mktemp("leases")
    for name in names:
        if "/" not in name and "\0" not in name and name not in ("", ".", ".."):
            (place / name.encode("utf-8", "replace").decode()).touch()
    assert all(type(number) is int for number in generations(place, "any"))


def trial_values():
    import optuna

    study = optuna.create_study()
    trial = study.ask()
    trial.suggest_float("a", 1e-5, 0.3, log=True)
    trial.suggest_int("b", 1, 9, step=2)
    trial.suggest_categorical("c", [None, True, "x", 1])
    study.tell(trial, 0.5)
    return json.loads(json.dumps(as_values(study.trials[0])))


@given(trial=values(trial_values()))
def test_a_trial_of_any_values(trial, folder):
    from mlt_ray.search.trial_files import TrialFiles
    from mlt_ray.storage.mirror import Mirror
    from mlt_ray.storage.remote import Remote

    files = TrialFiles(Mirror(folder / "mirror", Remote(f"file://{folder / 'bucket'}")))
    found = told_or_read(files._parse, "trials/any/1.json", json.dumps(trial).encode())
    if found is not None:
        assert from_values(as_values(found)) == found


@given(content=values({"a": [0, 2], "b": [2, 1]}))
def test_the_index_of_a_cache_of_any_values(content, tmp_path_factory):
    place = tmp_path_factory.mktemp("cache")
    np.save(place / "x.npy", np.zeros((3, 2), np.float32))
    write(place / "x.json", content)
    with in_time():
        cache = Cache(place)
        assert all(len(cache[key]) == cache.rows(key) for key in cache._places)


@given(
    st.lists(
        st.lists(
            st.one_of(TEXTS, st.text(st.characters(exclude_characters="\r")), st.integers()),
            min_size=2,
            max_size=2,
        )
    )
)
def test_cells_that_are_written_are_read(rows):
    written = csv_rows(csv_text(("a", "b"), rows))[1:]
    assert written == [[str(cell) for cell in row] for row in rows]


SECRET = "s3cr3t-" + "x" * 9
URIS = (
    f"https://me:{SECRET}@host:5000/path?token={SECRET}&a=b",
    f"s3://key:{SECRET}@bucket/runs?secret_key={SECRET}",
    f"mysql://u:{SECRET}@h/db;password={SECRET}",
    "sqlite:///a.db",
)


@given(before=TEXTS, uri=st.sampled_from(URIS), after=TEXTS)
def test_no_secret_of_a_uri_in_any_text_is_shown(before, uri, after):
    with in_time():
        assert SECRET not in masked(f"{before} {uri} {after}")


@given(text=st.one_of(texts(*URIS), TEXTS))
def test_any_text_is_masked(text):
    with in_time():
        once = masked(text)
        assert masked(once) == once
        has_unquoted_password(text)


@given(JUNK)
def test_a_record_of_json_is_what_was_written(value):
    record = StudyRecord(
        study="s", title=str(value), corpus="c", fingerprint="f", rows=(), is_search=False
    )
    assert StudyRecord.from_dict(json.loads(json.dumps(record.as_dict()))) == replace(record)
