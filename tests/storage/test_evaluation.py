"""What a run says of another corpus is found again, and by nobody else."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlt_ray.errors import UserError
from mlt_ray.storage.evaluation import Asked, read_evaluation, write_evaluation
from mlt_ray.storage.store import Store

ASKED = Asked(
    run="0123456789abcdef",
    corpus="other",
    fingerprint="fedcba9876543210",
    libraries="numpy 2.4.6",
    classes=("angry", "happy", "sad"),
    utterances=("a", "b"),
)
SHARES = np.array([[0.1234567, 0.5, 0.3765433], [1.0, 0.0, 0.0]])


def test_it_is_read_as_it_was_returned_when_it_was_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert read_evaluation(store, ASKED) is None
    written = write_evaluation(store, ASKED, SHARES)
    read = read_evaluation(store, ASKED)
    assert read is not None
    assert (read == written).all()
    assert written == pytest.approx(SHARES, abs=5e-7)
    assert written[0, 0] == 0.123457


def test_another_run_other_utterances_or_other_versions_are_another_evaluation() -> None:
    others = [
        replace(ASKED, run="1" * 16),
        replace(ASKED, fingerprint="2" * 16),
        replace(ASKED, libraries="numpy 2.4.7"),
    ]
    assert len({ASKED.digest, *(asked.digest for asked in others)}) == 4
    assert replace(ASKED, corpus="renamed").digest == ASKED.digest


def test_a_renamed_corpus_is_the_same(tmp_path: Path) -> None:
    write_evaluation(Store(tmp_path), ASKED, SHARES)
    assert read_evaluation(Store(tmp_path), replace(ASKED, corpus="renamed")) is not None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("probabilities", [[0.1, 0.2, 0.7]]),
        ("probabilities", [[0.1, 0.2, 0.7], [0.1, 0.2, "x"]]),
        ("probabilities", [[0.1, 0.2, 0.7], [0.1, 0.2, float("nan")]]),
        ("classes", ["happy", "angry", "sad"]),
        ("utterances", ["a", "c"]),
        ("run", "1" * 16),
    ],
)
def test_a_file_of_something_else_is_told(tmp_path: Path, key: str, value: object) -> None:
    store = Store(tmp_path)
    write_evaluation(store, ASKED, SHARES)
    path = store.evaluation(ASKED.digest)
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match="delete the file to compute it again"):
        read_evaluation(store, ASKED)
    path.write_text("{")
    with pytest.raises(UserError, match="delete the file to compute it again"):
        read_evaluation(store, ASKED)
