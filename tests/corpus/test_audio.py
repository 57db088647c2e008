import io
import resource

import numpy as np
import pytest
import soundfile

from mlt_ray.corpus import audio
from mlt_ray.corpus.audio import (
    MOST_S,
    at_16_khz,
    each_recording,
    length_s,
    read_audio,
    read_encoded,
)
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


def encoded(samples, sample_rate_hz=16_000, **kind):
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate_hz, **(kind or {"format": "WAV"}))
    return bytearray(file.getvalue())


def with_length(flac, num_samples):
    """The bytes of a FLAC file whose header says another number of samples; 0 says none."""
    value = int.from_bytes(flac[18:26], "big")
    flac[18:26] = (value >> 36 << 36 | num_samples).to_bytes(8, "big")
    return flac


def test_samples_are_read_as_they_are():
    samples = noise(1013)
    assert read_audio(samples) is samples
    assert [len(found) for found in each_recording([samples, noise(17)], lambda x: x)] == [1013, 17]


@pytest.mark.parametrize(
    "kind",
    [
        {"format": "WAV"},
        {"format": "FLAC"},
        {"format": "OGG", "subtype": "VORBIS"},
        {"format": "OGG", "subtype": "OPUS"},
        {"format": "MP3"},
    ],
    ids=str,
)
def test_bytes_and_files_are_read_in_blocks_as_soundfile_reads_them_whole(
    tmp_path, monkeypatch, kind
):
    monkeypatch.setattr(audio, "_AT_ONCE", 1 << 12)
    content = encoded(np.stack([noise(70_001), noise(70_001, seed=4)], axis=1), **kind)
    (tmp_path / "a").write_bytes(content)
    expected, _ = soundfile.read(tmp_path / "a", dtype="float32", always_2d=True)
    for found in (read_audio(tmp_path / "a"), read_encoded(io.BytesIO(content), "a")):
        np.testing.assert_array_equal(found, expected.mean(axis=1))


def test_a_wav_that_a_pipe_has_written_is_read_to_its_end():
    content = encoded(noise(1013), subtype="FLOAT", format="WAV")
    place = content.find(b"data")
    content[4:8] = content[place + 4 : place + 8] = b"\xff" * 4
    np.testing.assert_array_equal(read_encoded(io.BytesIO(content), "-"), noise(1013))


def test_a_stream_that_does_not_say_how_long_it_is_is_read_to_its_end(tmp_path):
    content = with_length(encoded(noise(9_001), format="FLAC", subtype="PCM_24"), 0)
    found = read_encoded(io.BytesIO(content), "-")
    np.testing.assert_allclose(found, noise(9_001), atol=2.0**-22)
    (tmp_path / "a.flac").write_bytes(content)
    assert length_s(tmp_path / "a.flac") is None


def test_the_header_says_how_long_a_recording_is(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(441, 44_100), 44_100)
    assert length_s(tmp_path / "a.wav") == 0.5


@pytest.mark.parametrize("num_samples", [0, 7200 * 16_000])
def test_hours_of_silence_are_refused_before_they_fill_the_memory(tmp_path, num_samples):
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", 16_000, 1) as file:
        for _ in range(int(MOST_S) // 600 + 1):
            file.write(np.zeros(600 * 16_000, np.int16))
    assert path.stat().st_size < 1 << 20
    path.write_bytes(with_length(bytearray(path.read_bytes()), num_samples))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"a\.flac: expected at most 3600 s at 16000 Hz, got .*cut"):
        read_audio(path)
    an_hour_kib = MOST_S * 16_000 * 4 / 1024
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1.5 * an_hour_kib


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "a.wav"
    with path.open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(UserError, match=r"a\.wav: expected a file of at most 1024 MiB"):
        read_audio(path)


def test_a_rate_whose_filter_would_fill_the_memory_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1013), 44_101)
    with pytest.raises(UserError, match=r"expected a usual sample rate, .* got 44101 Hz"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_a_recording_resampled_in_stretches_is_the_same(monkeypatch, rate):
    samples = noise(5 * rate + 17)
    whole = at_16_khz(samples, rate)
    monkeypatch.setattr(audio, "_STRETCH", rate)
    np.testing.assert_allclose(at_16_khz(samples, rate), whole, rtol=0, atol=1e-6)
