"""Contours follow the voice, and statistics are those worked out by hand."""

import numpy as np
import pytest
import soundfile as sf

from mlt_ray.errors import UserError
from mlt_ray.features.prosody import (
    CONTOURS,
    NUM_VALUES,
    STATISTICS,
    contour_statistics,
    prosody,
    prosody_vectors,
)
from tests.features.voices import RATE_HZ, voice


def value(vector, contour, statistic):
    table = vector.reshape(len(CONTOURS), len(STATISTICS))
    return float(table[CONTOURS.index(contour), STATISTICS.index(statistic)])


@pytest.fixture(scope="module")
def steady():
    return prosody(voice(131.0))


def test_the_pitch_is_that_of_the_voice(steady):
    assert steady.shape == (NUM_VALUES,) == (35,)
    assert steady.dtype == np.float32
    assert value(steady, "f0_hz", "mean") == pytest.approx(131, rel=0.02)
    semitones = 12 * np.log2(131 / 27.5)
    assert value(steady, "f0_semitones", "mean") == pytest.approx(semitones, abs=0.5)
    assert value(steady, "voicing", "mean") > 0.7


def test_a_rising_pitch_has_a_positive_slope_and_a_falling_one_a_negative():
    rising, falling = prosody(voice((110, 220))), prosody(voice((220, 110)))
    # 110 Hz in 70 frames.
    assert value(rising, "f0_hz", "slope") == pytest.approx(110 / 70, rel=0.3)
    assert value(falling, "f0_hz", "slope") == pytest.approx(-110 / 70, rel=0.3)
    assert value(rising, "f0_hz", "range") > 50


def test_a_louder_voice_is_louder_and_nothing_else(steady):
    loud = prosody(voice(131.0, gain=0.2))
    assert value(loud, "loudness", "mean") > 1.3 * value(steady, "loudness", "mean")
    assert value(loud, "f0_hz", "mean") == pytest.approx(value(steady, "f0_hz", "mean"), rel=0.01)


def test_silence_has_no_pitch(steady):
    silence = prosody(np.zeros(RATE_HZ // 2, np.float32)).reshape(5, 7)
    assert not silence[:3].any()
    assert np.isfinite(silence).all()


@pytest.mark.parametrize("num_samples", [0, 1, 400, 1599, 1600])
def test_the_shortest_recording_has_finite_values(num_samples):
    assert np.isfinite(prosody(voice(131.0)[:num_samples])).all()


def test_values_do_not_depend_on_what_was_computed_before(steady):
    prosody(voice(301.0))
    np.testing.assert_array_equal(prosody(voice(131.0)), steady)


def test_statistics_are_those_of_the_counted_frames():
    contour = np.array([2.0, 9.0, -3.0, 5.0, 9.0, 4.0, 9.0])
    counted = np.array([True, False, True, True, False, True, False])
    values, frames = np.array([2.0, -3.0, 5.0, 4.0]), np.array([0, 2, 3, 5])
    ordered = sorted(values)
    low = ordered[0] + 0.3 * (ordered[1] - ordered[0])
    high = ordered[2] + 0.7 * (ordered[3] - ordered[2])
    expected = {
        "mean": 2.0,
        "deviation": np.sqrt((0 + 25 + 9 + 4) / 4),
        "slope": np.polyfit(frames, values, 1)[0],
        "centroid": (2 * 0.5 + 3 * 2.5 + 5 * 3.5 + 4 * 5.5) / 7 / 14,
        "low": low,
        "high": high,
        "range": high - low,
    }
    found = dict(zip(STATISTICS, contour_statistics(contour, counted), strict=True))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("contour", "counted", "expected"),
    [
        ([3.0, 5.0], [False, False], [0, 0, 0, 0, 0, 0, 0]),
        ([3.0, 5.0], [False, True], [5, 0, 0, 0.75, 5, 5, 0]),
        ([0.0, 0.0], [True, True], [0, 0, 0, 0.5, 0, 0, 0]),
    ],
)
def test_statistics_of_next_to_nothing_are_finite(contour, counted, expected):
    found = contour_statistics(np.array(contour), np.array(counted))
    assert found.tolist() == pytest.approx(expected)


def test_recordings_come_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr("mlt_ray.corpus.audio.BLOCK", 2)
    paths = [tmp_path / f"{pitch}.wav" for pitch in (131, 211, 307)]
    for path in paths:
        sf.write(path, voice(float(path.stem), 0.3), RATE_HZ, subtype="FLOAT")
    found = list(prosody_vectors(paths))
    assert [v.shape for v in found] == [(1, 35)] * 3
    pitches = [value(v[0], "f0_hz", "mean") for v in found]
    assert pitches == pytest.approx([131, 211, 307], rel=0.05)


def test_a_recording_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.wav: expected audio"):
        list(prosody_vectors([tmp_path / "gone.wav"]))
