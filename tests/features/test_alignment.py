"""The steps of each word: from seconds to steps, and from the corpus to the batch."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlt_ray.corpus.alignment import word_times
from mlt_ray.corpus.folds import Fold, make_folds
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.features.alignment import WordSpans, alignment_key, spans_in_steps
from mlt_ray.features.batching import FoldData
from mlt_ray.features.extract import FeatureCache
from mlt_ray.features.extras import extract_extra, load_extras
from mlt_ray.labels import FOUR
from mlt_ray.spec import ExtraInput, FeatureSpec, FoldSpec, FramesSpec
from mlt_ray.storage.store import Store

EVERYTHING = Fold(number=1, train=(0,), dev=(0,), test=(0,))
SPEC = FeatureSpec(frames=FramesSpec(num_bins=5, hop_ms=10.0))
ALIGNMENT = ExtraInput("alignment")

WORDS = ("so", ",", "very", "plain")
TEXT = " ".join(WORDS)

Make = Callable[..., Utterance]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes an utterance of 1.3 s; its words start at the given hundredths of a second."""

    def build(name: str, *starts: int, text: str = TEXT) -> Utterance:
        path = None
        if starts:
            ends = (*starts[1:], 110)
            heard = [w for w in WORDS if w.isalpha()]
            rows = zip(starts, ends, heard, strict=True)
            path = tmp_path / f"{name}.wdseg"
            path.write_text("".join(f"{a} {b - 1} -1 {word.upper()}\n" for a, b, word in rows))
        return Utterance(
            id=name,
            audio=Path(f"{name}.wav"),
            text=text,
            emotion="sad",
            speaker="a",
            alignment=path,
            alignment_sha256=hashlib.sha256(path.read_bytes()).hexdigest() if path else None,
            duration_s=1.3,
            audio_sha256=name,
        )

    return build


def extract(
    utterances: list[Utterance], store: Store, features: Callable[..., FeatureCache]
) -> Corpus:
    """The corpus of these utterances, with tokens and word times in the store."""
    frames = {u.id: np.zeros((7, 5)) for u in utterances}
    words = {u.text: [(w, ["X"]) for w in u.text.split()] for u in utterances}
    features(store, utterances, frames, words, spec=SPEC)
    corpus = Corpus(name="aligned", classes=FOUR, utterances=tuple(utterances))
    extract_extra(corpus, ALIGNMENT, store, SPEC, lambda what, done, total: None)
    return corpus


def spans_of(corpus: Corpus, store: Store, spec: FeatureSpec = SPEC) -> WordSpans:
    spans = load_extras(corpus, EVERYTHING, [ALIGNMENT], store, spec)["alignment"]
    assert isinstance(spans, WordSpans)
    return spans


@pytest.mark.parametrize(
    ("start_s", "end_s", "step_s", "expected"),
    [
        (0.2, 0.5, 0.01, (20, 50)),
        (0.204, 0.496, 0.01, (20, 50)),
        (0.2, 0.5, 0.08, (2, 6)),
        (0.5, 0.504, 0.01, (50, 51)),
        (0.3, 0.31, 0.096, (3, 4)),
        (0.0, 0.001, 0.012, (0, 1)),
    ],
)
def test_seconds_become_the_nearest_steps_and_at_least_one(start_s, end_s, step_s, expected):
    assert spans_in_steps(np.array([[start_s, end_s]]), step_s).tolist() == [list(expected)]


def test_words_that_follow_each_other_share_no_step():
    edges = np.linspace(0, 34.0, 104)
    first, last = spans_in_steps(np.stack([edges[:-1], edges[1:]], axis=1), 0.012).T
    np.testing.assert_array_equal(first[1:], last[:-1])


def test_a_batch_holds_the_times_of_the_alignment_in_steps(
    make: Make, store: Store, features: Callable[..., FeatureCache]
) -> None:
    corpus = extract([make("a", 20, 47, 73), make("b", 11, 12, 90)], store, features)
    spans = spans_of(corpus, store).batch([1, 0])
    assert spans.dtype.is_floating_point is False
    # A comma has the times of the word before it.
    assert spans.tolist() == [
        [[11, 12], [11, 12], [12, 90], [90, 110]],
        [[20, 47], [20, 47], [47, 73], [73, 110]],
    ]


def test_padding_is_no_span_and_an_utterance_without_alignment_is_cut_in_equal_parts(
    make: Make, store: Store, features: Callable[..., FeatureCache]
) -> None:
    corpus = extract([make("a", 20, 47, 73), make("b", text="so very")], store, features)
    spans = spans_of(corpus, store)
    assert spans.batch([0, 1])[1].tolist() == [[0, 65], [65, 130], [0, 0], [0, 0]]
    assert spans.batch([1]).shape == (1, 2, 2)


def test_steps_follow_hop_and_reduction_and_words_are_cut_off(
    make: Make, store: Store, features: Callable[..., FeatureCache]
) -> None:
    corpus = extract([make("a", 20, 47, 73)], store, features)
    frames = FramesSpec(num_bins=5, hop_ms=12.0)
    spec = replace(SPEC, frames=frames, frames_per_step=8, max_words=3)
    step_s = 0.096
    times = [(0.2, 0.47), (0.2, 0.47), (0.47, 0.73)]
    expected = [[round(a / step_s), round(b / step_s)] for a, b in times]
    assert spans_of(corpus, store, spec).batch([0]).tolist() == [expected]


def test_spans_stand_beside_the_words_of_a_fold(raw: Any, tmp_path: Path) -> None:
    store, spec = Store(tmp_path), FeatureSpec(max_words=3)
    raw.write(tmp_path)
    cache = FeatureCache.open(store, spec)
    extract_extra(raw.corpus, ALIGNMENT, store, spec, lambda what, done, total: None)
    fold = make_folds(raw.corpus, FoldSpec())[1]
    extras = load_extras(raw.corpus, fold, [ALIGNMENT], store, spec)
    data = FoldData(raw.corpus, fold, spec, cache, extras)
    assert data.sizes.extras == {"alignment": 2}
    batch = data.batch([3, 17, 0, 30, 8])
    spans = batch.extras["alignment"]
    assert spans.shape == (*batch.words.shape, 2)
    assert bool((spans[batch.word_mask].diff(dim=1) >= 1).all())
    assert not spans[~batch.word_mask].any()
    utterance = raw.utterances[17]
    times = word_times(utterance, [w for w, _ in raw.words[utterance.text]])[:3]
    expected = [[round(t.start_s / 0.012), round(t.end_s / 0.012)] for t in times]
    assert spans[1, : len(times)].tolist() == expected


def test_the_key_tells_all_that_times_depend_on(make: Make) -> None:
    one = make("a", 20, 47, 73)
    keys = [alignment_key(one)]
    others = [
        replace(one, text="so, very plain"),
        replace(one, audio_sha256="b"),
        replace(one, duration_s=1.31),
        replace(one, alignment_sha256=None),
        make("a", 20, 48, 73),
    ]
    keys += [alignment_key(other) for other in others]
    assert len(set(keys)) == len(keys)
    assert alignment_key(replace(one, id="b", speaker="b", emotion="angry")) == keys[0]


def test_the_key_needs_no_file(make: Make) -> None:
    one = make("a", 20, 47, 73)
    key = alignment_key(one)
    assert one.alignment is not None
    one.alignment.unlink()
    assert alignment_key(one) == key
