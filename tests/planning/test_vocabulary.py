"""Words that word vectors and dictionaries lack."""

from pathlib import Path

import pytest

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.features.phonemes import phonemizer_of
from mlt_ray.features.vectors import WordVectors, load_vectors
from mlt_ray.labels import FOUR
from mlt_ray.planning.vocabulary import MOST_UNKNOWN, Vocabulary

GERMAN = (
    "Der Lappen liegt auf dem Eisschrank.",
    "Das will sie am Mittwoch abgeben.",
    "Heute Abend könnte ich es ihm sagen.",
)
"""From the ten sentences of the Berlin Database of Emotional Speech."""


def corpus(*texts: str) -> Corpus:
    utterances = (
        Utterance(
            id=f"u{n}",
            audio=Path(f"{n}.wav"),
            text=text,
            emotion="sad",
            speaker="a",
            duration_s=1.0,
            audio_sha256=str(n),
        )
        for n, text in enumerate(texts)
    )
    return Corpus(name="told", classes=FOUR, utterances=tuple(utterances))


@pytest.fixture
def vectors(tmp_path: Path) -> WordVectors:
    path = tmp_path / "mine.vec"
    path.write_text("4 2\nder 1 2 \nzug 3 4 \nwell 5 6 \nno 7 8 \n")
    return load_vectors(path)


def test_types_and_running_words_are_counted(vectors: WordVectors) -> None:
    told = corpus("Well, no. No? Blorp!", "[LAUGHTER] no blorp zzyqx-well")
    found = Vocabulary.of(told, "en", vectors, phonemizer_of("en"))
    assert found.counts == {"well": 1, "no": 3, "blorp": 2, "zzyqx-well": 1}
    assert found.without_vector == {"blorp"}  # a part of the compound has one
    assert found.without_spelling == {"blorp", "zzyqx-well"}
    assert list(found.lines) == [
        "words without a vector in mine: 1 of 4 (28.6% of the running words), such as blorp",
        "words in no dictionary, whose sound is guessed: 2 of 4 (42.9% of the running words), "
        "such as blorp, zzyqx-well",
    ]
    assert found.note == (
        "29% of the running words have no vector in mine; if the texts are not English, name their "
        "language and give its word vectors (features.language, --glove FILE)"
    )


def test_espeak_pronounces_every_word_by_rules(vectors: WordVectors) -> None:
    found = Vocabulary.of(corpus("Der Zug.", "DER"), "de", vectors, phonemizer_of("de"))
    assert list(found.lines) == [
        "words without a vector in mine: 0 of 2 (0.0% of the running words)"
    ]
    assert found.note == ""


def test_a_corpus_without_words_has_no_note(vectors: WordVectors) -> None:
    found = Vocabulary.of(corpus("", "[LAUGHTER]!"), "en", vectors, phonemizer_of("en"))
    assert found.note == ""
    assert found.share(frozenset()) == 0


def test_german_on_the_packaged_vectors_is_noted_and_english_is_not() -> None:
    packaged = load_vectors(None)
    for language in ("en", "de"):
        found = Vocabulary.of(corpus(*GERMAN), language, packaged, phonemizer_of(language))
        assert found.share(found.without_vector) > MOST_UNKNOWN
        assert "--glove FILE" in found.note
    english = corpus("I can't believe you said that!", "Well, okay. What do you wanna do tonight?")
    assert Vocabulary.of(english, "en", packaged, phonemizer_of("en")).note == ""
