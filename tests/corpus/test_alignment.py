from pathlib import Path

import pytest

from mlt_ray.corpus.alignment import FRAME_S, WordTime, align, read_wdseg, uniform, word_times
from mlt_ray.corpus.utterance import Utterance

HEADER = "\t SFrm  EFrm    SegAScr Word\n"


@pytest.fixture
def utterance(tmp_path):
    """Builds an utterance with an alignment of words (first frame, last frame, word)."""

    def build(*rows, duration_s=2.0):
        path = tmp_path / "a.wdseg"
        lines = "".join(f"\t{a:5d} {b:5d} {-123:10d} {word}\n" for a, b, word in rows)
        path.write_text(f"{HEADER}{lines}Total score:   -4711\n")
        return Utterance(
            id="a",
            audio=Path("a.wav"),
            text="",
            emotion="sad",
            speaker="s",
            alignment=path,
            duration_s=duration_s,
            audio_sha256="",
        )

    return build


def spans(times):
    return [(t.word, round(t.start_s, 4), round(t.end_s, 4)) for t in times]


def test_frames_of_ten_milliseconds_become_seconds(utterance):
    sentence = utterance(
        (0, 49, "<s>"),
        (50, 79, "WHAT(2)"),
        (80, 89, "<sil>"),
        (90, 99, "++NOISE++"),
        (100, 119, "NOW"),
        (120, 199, "</s>"),
    )
    expected = (WordTime("WHAT", 0.5, 0.8), WordTime("NOW", 1.0, 1.2))
    assert read_wdseg(sentence.alignment) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("12 30 word", "expected first frame"),
        ("x 30 0 word", "expected first frame"),
        ("12 11 0 word", "frames 12 to 11"),
        ("5 30 0 word", "frames 5 to 30 after frame 9"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, reason):
    path = tmp_path / "b.wdseg"
    path.write_text(f"{HEADER}0 9 0 <s>\n{line}\n")
    with pytest.raises(ValueError, match=f"b.wdseg, line 3: {reason}"):
        read_wdseg(path)


def test_words_get_their_own_times_and_punctuation_that_of_the_word_before(utterance):
    sentence = utterance((20, 39, "YOU'RE"), (40, 59, "LATE"))
    times = word_times(sentence, ["...", "You’re", ",", "late", "!"])
    assert spans(times) == [
        ("...", 0.2, 0.4),
        ("You’re", 0.2, 0.4),
        (",", 0.2, 0.4),
        ("late", 0.4, 0.6),
        ("!", 0.4, 0.6),
    ]


def test_words_with_another_spelling_share_the_span_of_the_aligned_words(utterance):
    sentence = utterance((10, 29, "I"), (30, 69, "DON'T"), (70, 99, "KNOW"))
    times = word_times(sentence, ["I", "do", "n't", "know"])
    assert spans(times)[1:3] == [("do", 0.3, 0.5), ("n't", 0.5, 0.7)]


def test_words_missing_in_the_alignment_lie_between_their_neighbours(utterance):
    sentence = utterance((10, 29, "ONE"), (70, 99, "FOUR"))
    times = word_times(sentence, ["one", "two", "three", "four"])
    assert spans(times)[1:3] == [("two", 0.3, 0.5), ("three", 0.5, 0.7)]


def test_words_without_room_share_the_span_of_the_word_before(utterance):
    sentence = utterance((10, 29, "ONE"), (30, 49, "THREE"))
    assert spans(word_times(sentence, ["one", "two", "three"]))[1] == ("two", 0.1, 0.3)


def test_missing_words_at_the_edges_reach_to_the_edges(utterance):
    sentence = utterance((50, 99, "B"), (100, 149, "C"))
    times = word_times(sentence, ["a", "b", "c", "d"])
    assert spans(times)[0] == ("a", 0.0, 0.5)
    assert spans(times)[3] == ("d", 1.5, 2.0)


def test_aligned_words_that_the_text_lacks_are_ignored(utterance):
    sentence = utterance((0, 9, "UH"), (10, 19, "A"), (20, 29, "UM"), (30, 39, "B"))
    assert spans(word_times(sentence, ["a", "b"])) == [("a", 0.1, 0.2), ("b", 0.3, 0.4)]


def test_uniform_times_share_the_recording_among_spoken_words():
    assert spans(uniform(["a", ",", "b"], 3.0)) == [("a", 0, 1.5), (",", 0, 1.5), ("b", 1.5, 3)]
    assert spans(uniform(["?", "!"], 3.0)) == [("?", 0, 1.5), ("!", 1.5, 3)]
    assert uniform([], 3.0) == ()


def test_an_unusable_alignment_falls_back_to_uniform_times(utterance, tmp_path):
    words = ["quite", "another", "sentence"]
    other = utterance((0, 9, "NOT"), (10, 19, "THIS"), (20, 29, "ONE"))
    assert align(other, words) is None
    assert word_times(other, words) == uniform(words, 2.0)
    overlong = utterance((0, 9, "QUITE"), (10, 19, "ANOTHER"), (20, 229, "SENTENCE"))
    assert align(overlong, words) is None
    (tmp_path / "a.wdseg").write_text("rubbish")
    assert align(overlong, words) is None
    (tmp_path / "a.wdseg").unlink()
    assert word_times(overlong, words) == uniform(words, 2.0)


def test_times_stay_inside_the_recording_and_are_never_empty(utterance):
    sentence = utterance((0, 197, "A"), (198, 206, "B"), duration_s=2.0)
    for time in word_times(sentence, ["a", "b", "c", "."]):
        assert 0 <= time.start_s < time.end_s <= 2.0
        assert time.end_s - time.start_s >= FRAME_S - 1e-9


def test_no_words_have_no_times(utterance):
    assert word_times(utterance((0, 9, "A")), []) == ()
