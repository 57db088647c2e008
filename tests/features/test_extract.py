"""The cache is filled from recordings and texts, and everything is computed once."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mlt_ray.corpus.audio import read_audio
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.features.extract import FeatureCache, extract
from mlt_ray.features.extras import open_cache
from mlt_ray.features.frames import log_mel
from mlt_ray.features.vectors import WordVectors, load_vectors
from mlt_ray.labels import FOUR
from mlt_ray.spec import ExtraInput, FeatureSpec, FramesSpec
from mlt_ray.storage.store import Store

SPEC = FeatureSpec(frames=FramesSpec(num_bins=23), vectors="tiny@1", phonemizer="letters")


class Letters:
    """A phonemizer that returns the letters of a word, and notes the sentences it was given."""

    engine = "letters"

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, words: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        self.asked.append(tuple(words))
        return tuple(tuple(word) for word in words)


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def vectors(tmp_path: Path) -> WordVectors:
    path = tmp_path / "tiny.txt"
    path.write_text("well 1 2 3\nhello 4 5 6\n. 7 8 9\n")
    return load_vectors(path)


@pytest.fixture
def speak(tmp_path: Path) -> Callable[[int, str], Utterance]:
    """Makes an utterance of noise with a text; the number decides noise and length."""

    def make(number: int, text: str) -> Utterance:
        path = tmp_path / f"{number}.wav"
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 1600 + 301 * number)
        sf.write(path, noise, 16_000)
        return Utterance(
            id=f"u{number}",
            audio=path,
            text=text,
            emotion="sad",
            speaker="a",
            duration_s=1.0,
            audio_sha256=sha256(path.read_bytes()).hexdigest(),
        )

    return make


def corpus(*utterances: Utterance) -> Corpus:
    return Corpus(name="spoken", classes=FOUR, utterances=utterances)


def test_the_cache_holds_frames_moments_words_and_vectors(
    store: Store,
    vectors: WordVectors,
    letters: Letters,
    speak: Callable[[int, str], Utterance],
) -> None:
    spoken = [speak(1, "Well, hello."), speak(2, "Goodbye.")]
    assert extract(corpus(*spoken), SPEC, store, vectors, letters) == 4
    cache = FeatureCache.open(store, SPEC)
    for utterance in spoken:
        frames = cache.frames[utterance.audio_sha256]
        expected = log_mel(read_audio(utterance.audio), 16_000, SPEC.frames)
        assert frames.dtype == np.float16
        assert frames.shape == expected.shape
        np.testing.assert_allclose(frames, expected, rtol=2**-11)
        wide = frames.astype(np.float64)
        sums = np.stack([wide.sum(axis=0), (wide**2).sum(axis=0)])
        np.testing.assert_allclose(cache.moments[utterance.audio_sha256], sums, rtol=1e-12)
    assert cache.words_of("Goodbye.") == [("goodbye", list("goodbye")), (".", ["."])]
    np.testing.assert_array_equal(cache.vectors["hello"], [[4, 5, 6]])
    assert cache.vectors.rows("goodbye") == 0


def test_a_second_time_computes_nothing(
    store: Store,
    vectors: WordVectors,
    letters: Letters,
    speak: Callable[[int, str], Utterance],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoken = corpus(speak(1, "Well, hello."), speak(2, "Goodbye."))
    extract(spoken, SPEC, store, vectors, letters)
    files = set(store.root.rglob("*"))
    monkeypatch.setattr("mlt_ray.corpus.audio.read_audio", None)
    monkeypatch.setattr(type(vectors), "lookup", None)
    asked = len(letters.asked)
    told: list[str] = []
    computed = extract(
        spoken, SPEC, store, vectors, letters, lambda what, done, total: told.append(what)
    )
    assert (computed, len(letters.asked), told) == (0, asked, [])
    assert set(store.root.rglob("*")) == files


def test_one_new_utterance_computes_one_recording_and_one_text(
    store: Store,
    vectors: WordVectors,
    letters: Letters,
    speak: Callable[[int, str], Utterance],
) -> None:
    first, second = speak(1, "Well, hello."), speak(2, "Goodbye.")
    extract(corpus(first), SPEC, store, vectors, letters)
    letters.asked.clear()
    told: list[tuple[str, int, int]] = []
    both = corpus(first, second)
    assert extract(both, SPEC, store, vectors, letters, lambda *step: told.append(step)) == 2
    assert letters.asked == [("goodbye", ".")]
    assert told[-1] == ("words and phonemes", 1, 1)
    assert ("log-mel frames", 1, 1) in told


def test_equal_recordings_and_equal_texts_are_computed_once(
    store: Store,
    vectors: WordVectors,
    letters: Letters,
    speak: Callable[[int, str], Utterance],
) -> None:
    spoken = speak(1, "Well, hello.")
    again = replace(speak(2, "Well, hello."), id="u3")
    copy = replace(spoken, id="u4")
    assert extract(corpus(spoken, again, copy), SPEC, store, vectors, letters) == 3


def test_recordings_whose_moments_were_never_written_are_computed_again(
    store: Store,
    vectors: WordVectors,
    letters: Letters,
    speak: Callable[[int, str], Utterance],
) -> None:
    spoken = corpus(speak(1, "Well, hello."))
    extract(spoken, SPEC, store, vectors, letters)
    for index in (store.root / "features").glob("moments-*/*.json"):
        index.unlink()
    assert extract(spoken, SPEC, store, vectors, letters) == 1
    assert spoken.utterances[0].audio_sha256 in FeatureCache.open(store, SPEC).moments


@pytest.mark.parametrize(
    ("content", "expected"), [(b"RIFF", "expected audio"), (b"", "expected audio"), (None, "")]
)
def test_a_recording_that_cannot_be_read_is_named(
    store: Store,
    vectors: WordVectors,
    letters: Letters,
    speak: Callable[[int, str], Utterance],
    content: bytes | None,
    expected: str,
) -> None:
    good, bad = speak(1, "Well, hello."), speak(2, "Goodbye.")
    bad.audio.unlink()
    if content is not None:
        bad.audio.write_bytes(content)
    with pytest.raises(UserError, match=rf"2\.wav: .*{expected}"):
        extract(corpus(good, bad), SPEC, store, vectors, letters)


def test_other_frames_do_not_share_a_cache(
    store: Store,
    vectors: WordVectors,
    letters: Letters,
    speak: Callable[[int, str], Utterance],
) -> None:
    spoken = corpus(speak(1, "Well, hello."))
    extract(spoken, SPEC, store, vectors, letters)
    other = replace(SPEC, frames=FramesSpec(num_bins=23, hop_ms=10.0))
    assert extract(spoken, other, store, vectors, letters) == 1
    key = spoken.utterances[0].audio_sha256
    few, many = (FeatureCache.open(store, s).frames.rows(key) for s in (SPEC, other))
    assert few < many


@pytest.mark.parametrize("newer", ["torchaudio", "mlt_ray.features"])
def test_another_version_of_what_computes_does_not_share_a_cache(
    store: Store,
    vectors: WordVectors,
    letters: Letters,
    speak: Callable[[int, str], Utterance],
    newer: str,
) -> None:
    old = replace(SPEC, libraries="inflect 7, mlt_ray.features 1, torchaudio 2.11.0")
    new = replace(old, libraries=re.sub(f"{newer} [^,]*", f"{newer} 9", old.libraries))
    spoken = corpus(speak(1, "Room 1234."))
    extract(spoken, old, store, vectors, letters)
    assert extract(spoken, old, store, vectors, letters) == 0
    assert extract(spoken, new, store, vectors, letters) >= 1
    key = spoken.utterances[0].audio_sha256
    before, after = (FeatureCache.open(store, spec).frames for spec in (old, new))
    assert before.folder != after.folder
    assert key in before
    assert key in after


def test_two_languages_share_no_words(
    store: Store, vectors: WordVectors, letters: Letters, speak: Callable[[int, str], Utterance]
) -> None:
    spoken = corpus(speak(1, "Größe 3"))
    german = replace(SPEC, language="de")
    assert extract(spoken, SPEC, store, vectors, letters) == 2
    assert extract(spoken, german, store, vectors, letters) == 1
    english, other = (FeatureCache.open(store, spec) for spec in (SPEC, german))
    assert [word for word, _ in english.words_of("Größe 3")] == ["groe", "three"]
    assert [word for word, _ in other.words_of("Größe 3")] == ["größe", "3"]
    assert english.tokens.folder != other.tokens.folder
    assert english.frames.folder == other.frames.folder
    assert english.vectors.folder == other.vectors.folder
    alignment = ExtraInput("alignment")
    folders = [open_cache(alignment, store, spec).folder for spec in (SPEC, german)]
    assert folders[0] != folders[1]


def test_what_spells_numbers_is_named_in_the_cache_of_words_alone(store: Store) -> None:
    old = replace(SPEC, libraries="inflect 7, mlt_ray.features 1")
    before, after = (
        FeatureCache.open(store, replace(SPEC, libraries=libraries))
        for libraries in (old.libraries, "inflect 8, mlt_ray.features 1")
    )
    assert before.tokens.folder != after.tokens.folder
    assert before.frames.folder == after.frames.folder


def test_a_recording_whose_frames_are_not_finite_is_named_and_not_cached(
    store: Store,
    vectors: WordVectors,
    letters: Letters,
    speak: Callable[[int, str], Utterance],
) -> None:
    fine, loud = speak(1, "Well, hello."), speak(2, "Goodbye.")
    # Finite samples whose energy is not.
    sf.write(loud.audio, np.full(1600, 1e30), 16_000, subtype="FLOAT")
    message = rf"log-mel frames of {loud.audio}: expected finite values, got (inf|nan); take the"
    with pytest.raises(UserError, match=message):
        extract(corpus(fine, loud), SPEC, store, vectors, letters)
    assert loud.audio_sha256 not in FeatureCache.open(store, SPEC).frames
