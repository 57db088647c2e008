"""espeak-ng gives sound, and an event for each word that it reaches."""

import numpy as np

from mlt_ray.corpus.espeak import ESPEAK_RATE_HZ, speak

TEXT = "Green birds sing."


def test_events_name_the_first_character_of_each_word_in_the_order_of_time() -> None:
    samples, events = speak(TEXT, "en-us", rate_wpm=165, pitch=50, pitch_range=50)
    assert samples.dtype == np.int16
    assert [event.character for event in events] == [0, 6, 12]
    times_ms = [event.time_ms for event in events]
    assert times_ms == sorted(times_ms)
    assert times_ms[-1] < 1000 * len(samples) / ESPEAK_RATE_HZ


def test_a_higher_rate_is_faster() -> None:
    slow, fast = (
        speak(TEXT, "en-us", rate_wpm=rate, pitch=50, pitch_range=50)[0] for rate in (120, 240)
    )
    assert len(slow) > 1.5 * len(fast)
