"""Joint ids of words and phonemes, and what each run makes of them, worked by hand."""

import pytest

from mlt_ray.features.fitted import FittedInputs
from mlt_ray.inference.vocabulary import Vocabulary


def fitted(words: str, vectors: str, phonemes: str) -> FittedInputs:
    return FittedInputs(
        mean=(0.0,),
        deviation=(1.0,),
        words=tuple(words.split()),
        vectors=tuple(vectors.split()),
        phonemes=tuple(phonemes.split()),
    )


FIRST = fitted(words="qua zyx", vectors="the bus", phonemes="B S")
SECOND = fitted(words="abc", vectors="the bus", phonemes="AH S")
JOINT = Vocabulary.of([FIRST, SECOND])


def test_it_has_the_words_and_phonemes_of_every_run_once_in_order() -> None:
    assert JOINT.words == ("abc", "bus", "qua", "the", "zyx")
    assert JOINT.word_ids == {"abc": 2, "bus": 3, "qua": 4, "the": 5, "zyx": 6}
    assert JOINT.num_words == 7
    assert JOINT.phoneme_ids == {"AH": 2, "B": 3, "S": 4}


@pytest.mark.parametrize(
    ("run", "words", "phonemes"),
    [
        # The run's own ids: qua 2, zyx 3, the 4, bus 5; B 2, S 3.
        (FIRST, [0, 1, 1, 5, 2, 4, 3], [0, 1, 1, 2, 3]),
        # Its own ids: abc 2, the 3, bus 4; AH 2, S 3.
        (SECOND, [0, 1, 2, 4, 1, 3, 1], [0, 1, 2, 1, 3]),
    ],
)
def test_a_run_has_ids_of_its_own_and_does_not_know_what_others_learned(
    run: FittedInputs, words: list[int], phonemes: list[int]
) -> None:
    assert JOINT.own_word_ids(run).tolist() == words
    assert JOINT.own_phoneme_ids(run).tolist() == phonemes


def test_texts_are_padded_and_further_vectors_follow_the_joint_ids() -> None:
    texts = [
        [("the", ["DH", "AH"]), ("moon", ["M"]), ("zyx", ["S", "B", "S"])],
        [("sun", ["S"]), ("qwrtz", ["?"])],
    ]
    words, phonemes = JOINT.ids_of(texts, {"moon": 0, "sun": 1})
    assert words.tolist() == [[5, 7, 6], [8, 1, 0]]
    assert phonemes.tolist() == [
        [[1, 2, 0], [1, 0, 0], [4, 3, 4]],
        [[4, 0, 0], [1, 0, 0], [0, 0, 0]],
    ]


def test_runs_that_read_no_words_know_padding_and_the_unknown() -> None:
    none = Vocabulary.of([fitted("", "", "")])
    assert none.num_words == 2
    assert none.own_word_ids(FIRST).tolist() == none.own_phoneme_ids(FIRST).tolist() == [0, 1]
    words, phonemes = none.ids_of([[("the", ["DH"])]], {})
    assert (words.tolist(), phonemes.tolist()) == ([[1]], [[[1]]])
