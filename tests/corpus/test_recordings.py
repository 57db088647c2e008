"""What is refused is judged on the samples that training reads."""

import io
import os

import numpy as np
import pytest
import soundfile as sf

from mlt_ray.corpus.audio import read_audio
from mlt_ray.corpus.recordings import _digest_and_duration, decode_all, read_speech
from mlt_ray.errors import UserError


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
    a, b, c = (found.heard.sound for found in decode_all(sorted(tmp_path.iterdir())))
    assert a == b != c


def test_speech_is_read_as_audio_is(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, noise(), 22_050)
    np.testing.assert_array_equal(read_speech(path, "a"), read_audio(path))
    with path.open("rb") as file:
        np.testing.assert_array_equal(read_speech(file, "a"), read_audio(path))


@pytest.mark.parametrize(
    ("samples", "line"),
    [
        (np.zeros(0), "here: expected audio, got a recording without samples"),
        (np.full(4800, 0.3), "here: expected speech, got a recording silent from start to end"),
        (np.append(noise(), np.nan), "here: expected audio, got samples that are not finite"),
    ],
)
def test_a_recording_in_which_nothing_is_heard_is_refused(tmp_path, samples, line):
    path = tmp_path / "a.wav"
    sf.write(path, samples, 16_000, subtype="FLOAT")
    with pytest.raises(UserError) as error:
        read_speech(path, "here")
    assert str(error.value) == line


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_recording_that_is_cut_short_is_refused(tmp_path, kind):
    file = io.BytesIO()
    sf.write(file, noise(), 16_000, format=kind)
    half = file.getvalue()[: len(file.getvalue()) // 2]
    with pytest.raises(UserError, match=r"^here: (audio file is cut short|expected audio)"):
        read_speech(io.BytesIO(half), "here")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_would_never_end_is_not_read(tmp_path, kind):
    path = tmp_path / "endless.wav"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    reason = "audio file is a device or a pipe, no file"
    assert _digest_and_duration(path) == reason
    assert list(decode_all([path])) == [reason]
