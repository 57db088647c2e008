import numpy as np
import pytest
import soundfile

from mlt_ray.errors import UserError
from mlt_ray.features.audio import log_mel, read_audio
from mlt_ray.spec import FramesSpec


def noise(num_samples, seed=3):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, num_samples).astype(np.float32)


def tone(frequency_hz, sample_rate_hz, duration_s=0.5):
    times = np.arange(int(duration_s * sample_rate_hz)) / sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def mel(frequency_hz):
    return 1127.0 * np.log1p(np.asarray(frequency_hz) / 700.0)


def kaldi_fbank(samples, rate, num_bins, window, hop, fft_size):
    """Kaldi's compute-fbank-feats in double precision, one frame and one bin at a time."""
    edges = np.linspace(mel(20.0), mel(rate / 2), num_bins + 2)
    lines = mel(np.arange(fft_size // 2) * rate / fft_size)
    shape = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / (window - 1))) ** 0.85
    rows = []
    for start in range(0, len(samples) - window + 1, hop):
        frame = samples[start : start + window].astype(float) * 32768
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * shape, fft_size))[:-1] ** 2
        row = []
        for left, center, right in zip(edges, edges[1:], edges[2:], strict=False):
            rising, falling = (lines - left) / (center - left), (right - lines) / (right - center)
            triangle = np.clip(np.minimum(rising, falling), 0, None)
            row.append(np.log(max(triangle @ power, 2.0**-23)))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize(
    ("rate", "spec", "window", "hop", "fft_size"),
    [
        (16_000, FramesSpec(num_bins=23, window_ms=23.0, hop_ms=7.0), 368, 112, 512),
        (16_000, FramesSpec(), 400, 192, 512),
        (8_000, FramesSpec(num_bins=41, window_ms=37.0, hop_ms=11.0), 296, 88, 512),
    ],
)
def test_frames_are_those_of_kaldi(rate, spec, window, hop, fft_size):
    samples = noise(7919)
    expected = kaldi_fbank(samples, rate, spec.num_bins, window, hop, fft_size)
    frames = log_mel(samples, rate, spec)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames, expected, atol=2e-3)


@pytest.mark.parametrize(
    ("num_samples", "num_frames"), [(0, 1), (1, 1), (399, 1), (400, 1), (591, 1), (592, 2)]
)
def test_there_is_always_a_frame(num_samples, num_frames):
    frames = log_mel(noise(num_samples), 16_000, FramesSpec())
    assert frames.shape == (num_frames, 128)
    assert np.isfinite(frames).all()


def test_frames_are_deterministic():
    first, second = (log_mel(noise(5003), 16_000, FramesSpec()) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_twice_as_loud_is_four_times_the_energy():
    quiet, loud = (log_mel(gain * noise(5003), 16_000, FramesSpec()) for gain in (0.1, 0.2))
    filled = np.arange(128) != 3
    np.testing.assert_allclose((loud - quiet)[:, filled], np.log(4), atol=1e-3)


def test_one_bin_of_the_paper_is_constant():
    frames = log_mel(noise(16_001), 16_000, FramesSpec())
    assert np.flatnonzero(frames.std(axis=0) == 0).tolist() == [3]
    assert frames[0, 3] == pytest.approx(np.log(2.0**-23))


def test_a_tone_sounds_in_the_bin_of_its_frequency():
    frames = log_mel(tone(1009, 16_000), 16_000, FramesSpec(num_bins=61))
    centers = np.linspace(mel(20), mel(8000), 63)[1:-1]
    loudest = int(frames.mean(axis=0).argmax())
    assert loudest == int(np.abs(centers - mel(1009)).argmin())


def test_log_mel_refuses_two_channels():
    with pytest.raises(ValueError, match="shape"):
        log_mel(np.zeros((7, 2), np.float32), 16_000, FramesSpec())


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
