"""Values have zero mean and unit deviation over train, or over each speaker's own recordings."""

from pathlib import Path

import numpy as np
import pytest

from mlt_ray.corpus.folds import Fold
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.features.fitted import check_speakers, speakers_of, standardising
from mlt_ray.labels import FOUR

SPEAKERS = ("a", "b", "a", "c", "b", "c", "a", "b", "c", "a", "b")
FOLD = Fold(number=1, train=(0, 2, 6, 9), dev=(1, 4, 7, 10), test=(3, 5, 8))


def corpus(speakers: tuple[str, ...] = SPEAKERS) -> Corpus:
    utterances = tuple(
        Utterance(
            id=f"u{n}",
            audio=Path(f"{n}.wav"),
            text="so",
            emotion="sad",
            speaker=speaker,
            duration_s=1.0,
            audio_sha256=f"{n:064d}",
        )
        for n, speaker in enumerate(speakers)
    )
    return Corpus(name="spoken", classes=FOUR, utterances=utterances)


def values(*shape: int) -> np.ndarray:
    found = np.random.default_rng(1).normal(3, 7, (len(SPEAKERS), *shape))
    return found.astype(np.float32)


@pytest.mark.parametrize("shape", [(5,), (3, 7)])
def test_each_value_is_standardised_over_the_training_part(shape: tuple[int, ...]) -> None:
    given = values(*shape)
    found = standardising(corpus(), FOLD, "train")(given)
    train = list(FOLD.train)
    expected = (given - given[train].mean(axis=0)) / given[train].std(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (3, 7)])
def test_each_value_is_standardised_over_the_speaker_s_recordings(shape: tuple[int, ...]) -> None:
    given = values(*shape)
    found = standardising(corpus(), FOLD, "speaker")(given)
    for speaker in set(SPEAKERS):
        own = [n for n, other in enumerate(SPEAKERS) if other == speaker]
        expected = (given[own] - given[own].mean(axis=0)) / given[own].std(axis=0)
        np.testing.assert_allclose(found[own], expected, rtol=1e-5, atol=1e-6)


def test_by_speaker_no_speaker_changes_another() -> None:
    given, other = values(5), values(5)
    other[[n for n, speaker in enumerate(SPEAKERS) if speaker == "a"]] *= 11
    first, second = (standardising(corpus(), FOLD, "speaker")(x) for x in (given, other))
    rest = [n for n, speaker in enumerate(SPEAKERS) if speaker != "a"]
    np.testing.assert_array_equal(first[rest], second[rest])


def test_a_constant_value_stays_finite() -> None:
    given = np.full((len(SPEAKERS), 2), 3.0, np.float32)
    for by in ("train", "speaker"):
        assert (standardising(corpus(), FOLD, by)(given) == 0).all()


def test_a_speaker_with_few_recordings_is_named() -> None:
    assert {speaker: len(own) for speaker, own in speakers_of(corpus().utterances).items()} == {
        "a": 4,
        "b": 4,
        "c": 3,
    }
    with pytest.raises(UserError) as raised:
        check_speakers(corpus().utterances)
    assert str(raised.value) == (
        "features.standardise: speaker expects at least 5 recordings of every speaker, got 4 of a; "
        "set it to train"
    )
    check_speakers(corpus(("a",) * 5 + ("b",) * 6).utterances)


def test_a_corpus_without_speakers_is_refused() -> None:
    with pytest.raises(UserError) as raised:
        check_speakers(corpus(("a",) * 5 + ("",) * 7).utterances)
    assert str(raised.value) == (
        "features.standardise: speaker expects the speaker of every recording, got none for u5; "
        "set it to train"
    )
