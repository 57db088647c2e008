"""Frames of every kind are compared with their formulas, computed frame by frame."""

import numpy as np
import pytest
import scipy.fft

from mlt_ray.errors import UserError
from mlt_ray.features.frames import FRAME_KINDS, average_frames, compute_frames, log_mel
from mlt_ray.spec import FramesSpec

MFCC = FramesSpec(kind="mfcc", num_bins=39, window_ms=25.0, hop_ms=10.0)
SPECTROGRAM = FramesSpec(kind="spectrogram", num_bins=257, window_ms=25.0, hop_ms=10.0)
LOG_MEL = FramesSpec(num_bins=40, window_ms=25.0, hop_ms=10.0)
every_kind = pytest.mark.parametrize("spec", [MFCC, SPECTROGRAM, LOG_MEL], ids=lambda s: s.kind)


def noise(num_samples, seed=3):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, num_samples).astype(np.float32)


def mel(frequency_hz):
    return 1127.0 * np.log1p(np.asarray(frequency_hz) / 700.0)


def cut(samples, window, hop):
    """Windows of samples in ±32768, in double precision."""
    starts = range(0, len(samples) - window + 1, hop)
    return np.array([samples[s : s + window].astype(float) * 32768 for s in starts])


def expected_cepstra(samples, num_ceps, window=400, hop=160, fft_size=512, rate=16_000):
    """Log energy and liftered cepstra of 26 mel bands: the first third of the values of mfcc."""
    edges = np.linspace(mel(0.0), mel(rate / 2), 28)
    lines = mel(np.arange(fft_size // 2) * rate / fft_size)
    shape = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(window) / (window - 1))
    rows = []
    for frame in cut(samples, window, hop):
        frame = frame - frame.mean()
        energy = np.log(max(frame @ frame, 1.0))
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * shape, fft_size))[:-1] ** 2
        bands = []
        for left, center, right in zip(edges, edges[1:], edges[2:], strict=False):
            rising, falling = (lines - left) / (center - left), (right - lines) / (right - center)
            bands.append(np.clip(np.minimum(rising, falling), 0, None) @ power)
        cepstra = scipy.fft.dct(np.log(bands), norm="ortho")[:num_ceps]
        lifter = 1 + 11 * np.sin(np.pi * np.arange(num_ceps) / 22)
        rows.append([energy, *(lifter * cepstra)[1:]])
    return np.array(rows)


def difference(values):
    """Regression over two frames on either side; the first and last frames are repeated."""
    last = len(values) - 1
    rows = []
    for t in range(len(values)):
        row = np.zeros(values.shape[1])
        for n in (1, 2):
            row += n * (values[min(t + n, last)] - values[max(t - n, 0)])
        rows.append(row / 10)
    return np.array(rows)


@pytest.mark.parametrize("num_bins", [39, 21])
def test_mfcc_are_cepstra_with_their_differences(num_bins):
    samples = noise(7919)
    static = expected_cepstra(samples, num_bins // 3)
    first = difference(static)
    expected = np.concatenate([static, first, difference(first)], axis=1)
    spec = FramesSpec(kind="mfcc", num_bins=num_bins, hop_ms=10.0)
    frames = compute_frames(samples, 16_000, spec)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames, expected, atol=5e-3)


@pytest.mark.parametrize("num_bins", [257, 401])
def test_a_spectrogram_is_the_log_power_of_a_fourier_transform(num_bins):
    samples = noise(3001)
    points = 2 * (num_bins - 1)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(num_bins), np.arange(400)) / points)
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
    expected = np.log(np.abs((cut(samples, 400, 160) * shape) @ waves.T) ** 2)
    spec = FramesSpec(kind="spectrogram", num_bins=num_bins, hop_ms=10.0)
    frames = compute_frames(samples, 16_000, spec)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames, expected, atol=1e-3)


def test_log_mel_frames_are_those_of_audio():
    samples = noise(3001)
    found = compute_frames(samples, 16_000, LOG_MEL)
    np.testing.assert_array_equal(found, log_mel(samples, 16_000, LOG_MEL))


@every_kind
@pytest.mark.parametrize(
    ("num_samples", "num_frames"), [(0, 1), (1, 1), (400, 1), (559, 1), (560, 2), (1201, 6)]
)
def test_every_kind_has_the_same_frames_and_at_least_one(spec, num_samples, num_frames):
    frames = compute_frames(noise(num_samples), 16_000, spec)
    assert frames.shape == (num_frames, spec.num_bins)
    assert np.isfinite(frames).all()


@every_kind
def test_silence_is_finite_even_in_half_precision(spec):
    frames = compute_frames(np.zeros(4001, np.float32), 16_000, spec).astype(np.float16)
    assert np.isfinite(frames).all()


@every_kind
def test_frames_are_deterministic(spec):
    first, second = (compute_frames(noise(5003), 16_000, spec) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_every_kind_of_the_specification_can_be_computed():
    hints = FramesSpec.__annotations__["kind"]
    assert set(hints.__args__) == {*FRAME_KINDS, "encoder"}


@pytest.mark.parametrize(
    ("kind", "num_bins", "message"),
    [
        ("mfcc", 40, "expected a multiple of 3 up to 78 for mfcc .*, got 40; set it to 39"),
        ("mfcc", 81, "expected a multiple of 3 up to 78"),
        ("spectrogram", 128, "expected at least 201 for a spectrogram of 400 .*, got 128"),
    ],
)
def test_a_number_of_values_that_a_kind_cannot_have_is_refused(kind, num_bins, message):
    spec = FramesSpec(kind=kind, num_bins=num_bins)
    with pytest.raises(UserError, match=message):
        compute_frames(noise(1601), 16_000, spec)


def tone(frequency_hz, sample_rate_hz, duration_s=0.5):
    times = np.arange(int(duration_s * sample_rate_hz)) / sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


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


@pytest.mark.parametrize("num_frames", [1, 2, 6, 7, 8])
@pytest.mark.parametrize("step", [1, 2, 3, 11])
def test_averaged_frames_are_means_of_consecutive_ones(num_frames: int, step: int) -> None:
    frames = np.random.default_rng(5).normal(size=(num_frames, 7)).astype(np.float32)
    expected = [
        frames[start : start + step].astype(np.float64).mean(axis=0)
        for start in range(0, num_frames, step)
    ]
    found = average_frames(frames, step)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-6)


@pytest.mark.parametrize("step", [*range(2, 11), 17])
@pytest.mark.parametrize("width", [1, 7, 257])
def test_averaged_frames_are_added_in_numpy_s_order(step: int, width: int) -> None:
    """Runs that were stored have read these bits."""
    rng = np.random.default_rng(step)
    for length in (1, step - 1, step, 3 * step, 97):
        frames = rng.normal(size=(length, width)).astype(np.float32)
        starts = np.arange(0, length, step)
        counts = np.minimum(step, length - starts)[:, None]
        expected = np.add.reduceat(frames, starts, axis=0) / counts
        np.testing.assert_array_equal(average_frames(frames, step), expected.astype(np.float32))


@pytest.mark.parametrize("kind", ["log_mel", "mfcc", "spectrogram"])
@pytest.mark.parametrize("rate_hz", [900, 1_000])
def test_a_window_without_samples_is_refused(kind: str, rate_hz: int) -> None:
    spec = FramesSpec(kind=kind, num_bins=39, window_ms=1.0, hop_ms=1.0)
    with pytest.raises(UserError, match=r"features.frames.window_ms: expected 2 samples or more"):
        compute_frames(np.zeros(5_000, np.float32), rate_hz, spec)


def test_a_hop_without_a_sample_is_refused() -> None:
    spec = FramesSpec(kind="spectrogram", num_bins=39, window_ms=25.0, hop_ms=1.0)
    with pytest.raises(UserError, match=r"hop_ms: expected a sample or more, got 1 ms at 900 Hz"):
        compute_frames(np.zeros(5_000, np.float32), 900, spec)
