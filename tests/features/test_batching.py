"""Batches hold every utterance once, with averaged, normalised frames and padded ids."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlt_ray.corpus.folds import Fold, make_folds
from mlt_ray.features.batching import FoldData
from mlt_ray.features.extras import Vectors, joined
from mlt_ray.features.fitted import PAD_ID, UNKNOWN_ID
from mlt_ray.labels import FOUR
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.spec import ClassWeights, FeatureSpec, FoldSpec, Run, RunSpec, TrainingSpec
from mlt_ray.storage.store import Store

STEP = 3
SHOWN = ("angry", "sad")


@pytest.fixture
def fold(raw: Any) -> Fold:
    return make_folds(raw.corpus, FoldSpec())[1]


@pytest.fixture
def data(raw: Any, fold: Fold, tmp_path: Path) -> FoldData:
    return FoldData(raw.corpus, fold, FeatureSpec(frames_per_step=STEP), raw.write(tmp_path))


def test_utterances_weigh_what_their_class_does_in_the_training_part(
    raw: Any, tmp_path: Path
) -> None:
    # Three utterances more of one class in the first session, which fold 3 alone trains on.
    for number in range(3):
        raw.add(f"s1_{8 + number}", "sad", [(f"more{number}", ["M"])], np.ones((2, 5)))
    cache, folds = raw.write(tmp_path), make_folds(raw.corpus, FoldSpec())
    angry, sad = (next(i for i, u in enumerate(raw.utterances) if u.emotion == e) for e in SHOWN)
    for fold, (less, more) in ((folds[0], (1.0, 1.0)), (folds[2], (27 / 24, 27 / 36))):
        data = FoldData(raw.corpus, fold, FeatureSpec(), cache, weighing="balanced")
        weights = data.batch([sad, angry, sad]).weights
        assert weights is not None
        assert weights.tolist() == pytest.approx([more, less, more])
    assert FoldData(raw.corpus, folds[2], FeatureSpec(), cache).batch([sad]).weights is None


@pytest.mark.parametrize("weighing", ["none", "balanced"])
def test_the_fold_of_a_run_weighs_as_its_training_says(
    raw: Any, fold: Fold, tmp_path: Path, weighing: ClassWeights
) -> None:
    raw.write(tmp_path)
    training = TrainingSpec(class_weights=weighing)
    spec = RunSpec(corpus="five sessions", model=MultilevelSpec(), training=training)
    run = Run(spec=spec, fold=fold.number, seed=1)
    data = FoldData.of_run(run, raw.corpus, fold, Store(tmp_path))
    assert (data.batch([3]).weights is not None) == (weighing == "balanced")


@pytest.mark.parametrize("part", ["train", "dev", "test"])
def test_an_extra_input_comes_in_the_order_of_its_part(
    raw: Any, fold: Fold, tmp_path: Path, part: str
) -> None:
    arrays = [np.full((1, 3), 7 * i, np.float32) for i in range(len(raw.utterances))]
    extras = {"numbers": Vectors(joined(arrays))}
    data = FoldData(raw.corpus, fold, FeatureSpec(), raw.write(tmp_path), extras)
    found = data.extra("numbers", part)
    np.testing.assert_array_equal(found, np.outer(data.parts[part], [7, 7, 7]))
    assert data.sizes.extras == {"numbers": 3}


def test_training_batches_hold_the_training_part_once(data: FoldData, fold: Fold) -> None:
    batches = data.training_batches(5, 2, np.random.default_rng(0))
    found = [int(i) for batch in batches for i in batch]
    assert sorted(found) == list(fold.train)
    assert [len(b) for b in batches].count(5) == 4


@pytest.mark.parametrize("part", ["train", "dev", "test"])
def test_evaluation_covers_a_part_once_with_the_longest_first(data: FoldData, part: str) -> None:
    batches = data.evaluation_order(part)
    found = [int(i) for batch in batches for i in batch]
    lengths = [int(n) for batch in batches for n in data.batch(batch).num_frames]
    assert sorted(found) == list(data.parts[part])
    assert lengths == sorted(lengths, reverse=True)


def test_evaluation_is_cut_into_batches_of_a_fixed_size(
    data: FoldData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlt_ray.features.batch_order.EVALUATION_BATCH", 7)
    assert [len(b) for b in data.evaluation_order("train")] == [7, 7, 7, 3]


def test_a_batch_holds_normalised_averages_and_zeros_behind_them(data: FoldData, raw: Any) -> None:
    indices = [3, 17, 0, 30, 8]
    batch = data.batch(indices)
    assert batch.utterances.tolist() == indices
    lengths = []
    for n, index in enumerate(indices):
        utterance = raw.utterances[index]
        frames = raw.frames[utterance.id].astype(np.float16).astype(np.float64)
        frames = (frames - data.fitted.mean) / data.fitted.deviation
        expected = [frames[i : i + STEP].mean(axis=0) for i in range(0, len(frames), STEP)]
        lengths.append(len(expected))
        found = batch.frames[n].numpy()
        np.testing.assert_allclose(found[: len(expected)], np.stack(expected), atol=1e-5)
        assert not found[len(expected) :].any()
        assert int(batch.labels[n]) == FOUR.index(utterance.emotion)
    assert batch.num_frames.tolist() == lengths
    assert batch.frames.shape == (5, max(lengths), 5)
    assert batch.frame_mask.sum(dim=1).tolist() == lengths


def test_words_and_phonemes_are_numbered_and_padded_with_zeros(data: FoldData, raw: Any) -> None:
    indices = [3, 17, 0, 30, 8]
    batch = data.batch(indices)
    texts = [raw.words[raw.utterances[i].text] for i in indices]
    assert batch.num_words.tolist() == [len(t) for t in texts]
    assert batch.words.shape == (5, max(len(t) for t in texts))
    assert batch.phonemes.shape == (
        *batch.words.shape,
        max(len(symbols) for t in texts for _, symbols in t),
    )
    phonemes = {symbol: n for n, symbol in enumerate(data.fitted.phonemes, start=2)}
    words: dict[str, int] = {}
    for n, text in enumerate(texts):
        assert not batch.words[n, len(text) :].any()
        assert not batch.phonemes[n, len(text) :].any()
        for k, (word, symbols) in enumerate(text):
            number = int(batch.words[n, k])
            assert number != PAD_ID
            if number != UNKNOWN_ID:
                assert words.setdefault(word, number) == number
            found = batch.phonemes[n, k].tolist()
            expected = [phonemes.get(s, UNKNOWN_ID) for s in symbols]
            assert found == expected + [PAD_ID] * (len(found) - len(expected))
    assert len(set(words.values())) == len(words) > 3


def test_word_ids_find_the_vectors_of_their_words(data: FoldData, raw: Any) -> None:
    sizes = data.sizes
    vectors = {
        w: np.asarray(data._cache.vectors[w]) for w in ("furious", "joyful", "plain", "gloomy")
    }
    for index, utterance in enumerate(raw.utterances):
        batch = data.batch([index])
        for k, (word, _) in enumerate(raw.words[utterance.text]):
            number = int(batch.words[0, k])
            if word in vectors:
                row = sizes.word_vectors[number - sizes.num_learned_words].numpy()
                np.testing.assert_array_equal(row, vectors[word][0])
            if word.startswith("name") or word == "unheard":
                assert number < sizes.num_learned_words


def test_words_that_training_never_saw_are_unknown(data: FoldData, raw: Any, fold: Fold) -> None:
    for part, known in (("train", True), ("dev", False), ("test", False)):
        for index in getattr(fold, part):
            # The last word of every text is in no other text, and has no vector.
            number = int(data.batch([index]).words[0, -1])
            assert (number != UNKNOWN_ID) == known


def test_sizes_bound_every_id(data: FoldData, raw: Any) -> None:
    batch, sizes = data.batch(range(len(raw.utterances))), data.sizes
    assert int(batch.phonemes.max()) == sizes.num_phonemes - 1
    most = sizes.num_learned_words + len(sizes.word_vectors)
    assert int(batch.words.max()) < most
    assert sizes.frame_dim == batch.frames.shape[2]


@pytest.mark.parametrize("kept", [0, 2**20])
def test_frames_are_the_same_whether_they_are_kept_in_memory_or_not(
    raw: Any, fold: Fold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr("mlt_ray.features.batching.KEPT_BYTES", kept)
    data = FoldData(raw.corpus, fold, FeatureSpec(frames_per_step=STEP), raw.write(tmp_path))
    first, again = data.batch([4, 9]), data.batch([4, 9])
    np.testing.assert_array_equal(first.frames, again.frames)
    assert bool(data._kept) == (kept > 0)


def test_labels_come_in_the_order_of_the_part(data: FoldData, raw: Any, fold: Fold) -> None:
    expected = [FOUR.index(raw.utterances[i].emotion) for i in fold.dev]
    assert data.labels("dev").tolist() == expected


def test_long_utterances_are_cut_into_pieces_that_fit(data: FoldData, fold: Fold) -> None:
    longest = int(data.num_steps.max())
    indices = np.asarray(sorted(fold.train, key=lambda i: data.num_steps[i]))
    pieces = data.pieces(indices, 3 * longest**2)
    assert np.concatenate(pieces).tolist() == indices.tolist()
    assert {len(p) for p in pieces[:-1]} == {3}
    assert [len(p) for p in data.pieces(indices, 1)] == [1] * len(indices)
    assert len(data.pieces(indices, len(indices) * longest**2)) == 1
