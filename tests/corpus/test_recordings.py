"""What is refused is judged on the samples that training reads."""

import numpy as np
import pytest
import soundfile as sf

from mlt_ray.corpus.recordings import decode_all


def decoded(tmp_path, samples, rate_hz=16_000):
    path = tmp_path / "a.wav"
    sf.write(path, samples, rate_hz, subtype="FLOAT")
    [found] = decode_all([path])
    return found


def noise(num_samples=4800, seed=1):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, num_samples)


def test_channels_that_cancel_are_silent(tmp_path):
    one = noise()
    expected = ("audio is silent from start to end where its 2 channels are averaged",)
    assert decoded(tmp_path, np.stack([one, -one], axis=1)).faults == expected
    assert decoded(tmp_path, np.stack([one, 0 * one], axis=1)).faults == ()


def test_a_sound_that_16_khz_cannot_hold_is_silent(tmp_path):
    times = np.arange(48_000) / 48_000
    # Faded in and out, since a sudden start would be heard as a click.
    tone = 0.5 * np.hanning(48_000) * np.sin(2 * np.pi * 16_000 * times)
    assert decoded(tmp_path, tone, 48_000).faults == ("audio is silent from start to end",)
    assert decoded(tmp_path, noise(), 48_000).faults == ()
    assert decoded(tmp_path, noise(), 8_000).faults == ()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_is_found_in_every_channel(tmp_path, value):
    samples = np.stack([noise(), noise(seed=2)], axis=1)
    samples[7] = (value, -value)
    expected = ("audio holds samples that are not finite",)
    assert decoded(tmp_path, samples).faults == expected


def test_files_of_two_formats_may_hold_one_sound(tmp_path):
    samples = (32_767 * noise()).astype(np.int16)
    for name in ("a.wav", "b.flac"):
        sf.write(tmp_path / name, samples, 16_000, subtype="PCM_16")
    sf.write(tmp_path / "c.wav", samples[::-1], 16_000, subtype="PCM_16")
    a, b, c = (found.sound for found in decode_all(sorted(tmp_path.iterdir())))
    assert a == b != c
