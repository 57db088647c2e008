"""Normalisation and vocabularies of a fold come from its training part alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlt_ray.corpus.folds import make_folds
from mlt_ray.features.batching import FoldData
from mlt_ray.features.fitted import PAD_ID, SMALLEST_DEVIATION, UNKNOWN_ID, fit_inputs, symbol_ids
from mlt_ray.spec import FeatureSpec, FoldSpec


def training_frames(raw: Any) -> np.ndarray:
    kept = [raw.frames[u.id] for u in raw.utterances if u.session not in ("s1", "s2")]
    return np.concatenate(kept).astype(np.float16).astype(np.float64)


def part(raw: Any, *without: str) -> list[Any]:
    return [u for u in raw.utterances if u.session not in without]


def test_mean_and_deviation_are_those_of_the_training_frames(raw: Any, tmp_path: Path) -> None:
    fitted = fit_inputs(part(raw, "s1", "s2"), raw.write(tmp_path))
    frames = training_frames(raw)
    np.testing.assert_allclose(fitted.mean, frames.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fitted.deviation, frames.std(axis=0), rtol=1e-10)


def test_normalised_training_frames_have_zero_mean_and_unit_deviation(
    raw: Any, tmp_path: Path
) -> None:
    fitted = fit_inputs(part(raw, "s1", "s2"), raw.write(tmp_path))
    normalised = fitted.normalise(training_frames(raw).astype(np.float16))
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised.mean(axis=0, dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std(axis=0, dtype=np.float64), 1, atol=1e-5)


def test_vocabularies_hold_what_training_says(raw: Any, tmp_path: Path) -> None:
    fitted = fit_inputs(part(raw, "s1", "s2"), raw.write(tmp_path))
    said = [pair for u in part(raw, "s1", "s2") for pair in raw.words[u.text]]
    assert fitted.phonemes == tuple(sorted({s for _, symbols in said for s in symbols}))
    vectorless = {w for w, _ in said if w.startswith("name") or w == "unheard"}
    assert fitted.words == tuple(sorted(vectorless))
    assert len(vectorless) > 24


def test_changing_dev_and_test_changes_nothing(raw: Any, tmp_path: Path) -> None:
    fold = make_folds(raw.corpus, FoldSpec())[0]
    held_out = [*fold.dev, *fold.test]
    spec = FeatureSpec()
    before = FoldData(raw.corpus, fold, spec, raw.write(tmp_path / "before")).fitted
    for n, index in enumerate(held_out):
        utterance = raw.utterances[index]
        raw.frames[utterance.id] = raw.frames[utterance.id] * 3 + 50
        raw.words[utterance.text] = [(f"alien{n}", ["ʘ", "N"])]
    after = FoldData(raw.corpus, fold, spec, raw.write(tmp_path / "after")).fitted
    assert after == before
    # The same change to one utterance of the training part changes everything.
    utterance = raw.utterances[fold.train[0]]
    raw.frames[utterance.id] = raw.frames[utterance.id] * 3 + 50
    raw.words[utterance.text] = [("alien", ["ʘ", "N"])]
    changed = FoldData(raw.corpus, fold, spec, raw.write(tmp_path / "changed")).fitted
    for name in ("mean", "deviation", "phonemes", "words"):
        assert getattr(changed, name) != getattr(before, name)


def test_a_constant_bin_is_normalised_to_zero(raw: Any, tmp_path: Path) -> None:
    for frames in raw.frames.values():
        frames[:, 2] = -15.9424
    fitted = fit_inputs(part(raw, "s1", "s2"), raw.write(tmp_path))
    assert fitted.deviation[2] == pytest.approx(SMALLEST_DEVIATION)
    normalised = fitted.normalise(training_frames(raw).astype(np.float16))
    assert np.isfinite(normalised).all()
    # Float32 holds the mean to 1e-6, a thousandth of the smallest deviation.
    np.testing.assert_allclose(normalised[:, 2], 0, atol=2e-3)


def test_a_phoneme_that_training_never_heard_is_unknown(raw: Any, tmp_path: Path) -> None:
    fold = make_folds(raw.corpus, FoldSpec())[0]
    index = fold.test[0]
    raw.words[raw.utterances[index].text] = [("plain", ["P", "ʘ", "N"])]
    data = FoldData(raw.corpus, fold, FeatureSpec(), raw.write(tmp_path))
    p, click, n = data.batch([index]).phonemes[0, 0].tolist()
    assert click == UNKNOWN_ID
    assert len({p, n, PAD_ID, UNKNOWN_ID}) == 4


def test_numbers_follow_padding_and_unknown() -> None:
    assert symbol_ids(["a", "b", "c"]) == {"a": 2, "b": 3, "c": 4}
    assert (PAD_ID, UNKNOWN_ID) == (0, 1)
