import numpy as np
import pytest
import soundfile

from mlt_ray.corpus.audio import read_audio
from mlt_ray.errors import UserError


def tone(frequency_hz, sample_rate_hz, duration_s=0.5):
    times = np.arange(int(duration_s * sample_rate_hz)) / sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def noise(num_samples, seed=3):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, num_samples).astype(np.float32)


def test_a_file_is_read_as_written(tmp_path):
    samples = noise(1013)
    soundfile.write(tmp_path / "a.flac", samples, 16_000, subtype="PCM_24")
    read = read_audio(tmp_path / "a.flac")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, samples, atol=2.0**-22)


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([noise(1013, seed=1), noise(1013, seed=2)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), stereo.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_other_rates_are_resampled(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(441, rate), rate, subtype="FLOAT")
    read = read_audio(tmp_path / "a.wav")
    assert len(read) == 8_000
    middle = slice(500, -500)
    np.testing.assert_allclose(read[middle], tone(441, 16_000)[middle], atol=5e-3)


def test_an_empty_file_is_silence(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.float32), 8_000)
    assert read_audio(tmp_path / "a.wav").shape == (0,)


@pytest.mark.parametrize("content", [None, b"", b"not audio at all"])
def test_a_file_that_is_no_audio_is_the_users_mistake(tmp_path, content):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.wav: expected audio"):
        read_audio(path)
