"""Speech has the same bytes for the same text, and a time for each of its words."""

import numpy as np
import pytest

from mlt_ray.corpus.synthetic.speech import Prosody, readable, say, words_to_say
from mlt_ray.corpus.texts import normalise_word, spoken_words


def test_speech_does_not_depend_on_what_was_said_before() -> None:
    prosody = Prosody()
    first, _ = say("Who are you?", "en-us+f1", prosody)
    say("Something else, and faster.", "en-us+m7", Prosody(rate_wpm=250, pitch=90))
    second, _ = say("Who are you?", "en-us+f1", prosody)
    np.testing.assert_array_equal(first, second)


def test_an_unknown_voice_is_an_error() -> None:
    with pytest.raises(ValueError, match="no voice 'xx-nobody'"):
        say("Hello.", "xx-nobody", Prosody())


@pytest.mark.parametrize(
    "text",
    [
        "Put it on the table, at the end of the day.",
        "They're sure we've lost; I'd've known that—wouldn't you?",
        "It’s 50% off at 10:30 a.m. … [BREATHING] naïve café 你好 ok",
        "<b>well-known</b> u/foo www.example.com :) #1 _under_score_",
        "NO! " * 40,
        "हिन्दी में की, का!",
    ],
)
def test_every_word_has_a_span_after_the_one_before(text: str) -> None:
    waveform, times = say(text, "en-us+m3", Prosody())
    assert [time.word for time in times] == words_to_say(text)
    assert [normalise_word(time.word) for time in times] == spoken_words(text)
    edges = [edge for time in times for edge in (time.start_s, time.end_s)]
    assert edges == sorted(edges)
    assert all(time.start_s < time.end_s for time in times)
    assert edges[-1] <= len(waveform) / 16_000


def test_punctuation_that_stands_alone_is_a_pause() -> None:
    assert readable("Stop it , now 😂 !") == "Stop it, now!"
