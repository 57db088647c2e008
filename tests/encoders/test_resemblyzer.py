"""Resemblyzer's mel frames, states and vectors are those of the package itself."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mlt_ray.encoders.catalogue import SPEECH
from mlt_ray.encoders.embedding import Embedding, embed_files
from mlt_ray.encoders.folder import Encoder, find_encoder
from mlt_ray.encoders.opening import encoder_shape, open_encoder
from mlt_ray.encoders.resemblyzer import louder, resemblyzer_mel
from mlt_ray.encoders.speech import layer_states
from tests.encoders.noise import noise

REFERENCE = Path(__file__).parents[1] / "reference" / "resemblyzer_0_1_4.npz"
CPU = torch.device("cpu")

needs_resemblyzer = pytest.mark.skipif(
    importlib.util.find_spec("resemblyzer") is None,
    reason="Resemblyzer is not installed: pip install --no-deps Resemblyzer==0.1.4",
)


def resemblyzer() -> Encoder:
    return find_encoder("resemblyzer", SPEECH)


@pytest.mark.parametrize("name", ["loud", "quiet"])
def test_mel_frames_are_resemblyzer_s_own(name: str) -> None:
    stored = np.load(REFERENCE)
    mel = resemblyzer_mel(stored[f"{name}_samples"].astype(np.float32) / 32768).numpy()
    expected = stored[f"{name}_mel"]
    assert mel.shape == expected.shape == (74, 40)
    # The largest energies are about 1; librosa sums in another order.
    np.testing.assert_allclose(mel, expected, rtol=1e-4, atol=1e-6)


@needs_resemblyzer
@pytest.mark.parametrize("name", ["loud", "quiet"])
def test_states_and_vector_are_resemblyzer_s_own(name: str, tmp_path: Path) -> None:
    stored = np.load(REFERENCE)
    samples = stored[f"{name}_samples"]
    encoder = open_encoder(resemblyzer().folder, CPU)
    [[*_, states]] = layer_states(encoder, [samples.astype(np.float32) / 32768])
    assert states.shape == (74, 256)
    path = tmp_path / "voice.wav"
    soundfile.write(path, samples, 16_000)
    [[*_, vector]] = embed_files(resemblyzer().folder, [path], Embedding())
    np.testing.assert_allclose(vector, stored[f"{name}_vector"], rtol=0, atol=1e-4)
    # Its speaker embedding is the last state through one more layer, of length 1.
    stored_weights = resemblyzer().folder / "pretrained.pt"
    weights = torch.load(stored_weights, map_location="cpu", weights_only=True)["model_state"]
    embedding = (weights["linear.weight"] @ states[-1] + weights["linear.bias"]).relu()
    embedding = embedding / embedding.norm()
    np.testing.assert_allclose(embedding.numpy(), stored[f"{name}_embedding"], rtol=0, atol=1e-4)


@needs_resemblyzer
@pytest.mark.parametrize(
    ("length", "num_states"), [(0, 1), (1, 1), (159, 1), (160, 2), (34 * 16_000, 3401)]
)
def test_resemblyzer_accepts_any_length(length: int, num_states: int) -> None:
    [states] = layer_states(open_encoder(resemblyzer().folder, CPU), [noise(length)])
    assert states.shape == (3, num_states, 256)
    assert bool(states.isfinite().all())


@needs_resemblyzer
def test_resemblyzer_is_named_by_its_weights_and_never_imported() -> None:
    encoder = resemblyzer()
    assert (encoder.name, encoder.files) == ("resemblyzer", ("pretrained.pt",))
    assert encoder.identity == f"resemblyzer@{encoder.digest}"
    open_encoder(encoder.folder, CPU)
    assert "resemblyzer" not in sys.modules


def test_only_quiet_recordings_are_made_louder() -> None:
    tone = np.sin(np.arange(1600) / 7).astype(np.float32)
    loud, quiet, silent = 0.5 * tone, 0.01 * tone, 0 * tone
    np.testing.assert_array_equal(louder(loud), loud)
    np.testing.assert_array_equal(louder(silent), silent)
    raised = louder(quiet)
    volume_dbfs = 20 * np.log10(np.sqrt(np.mean(raised.astype(np.float64) ** 2)))
    assert volume_dbfs == pytest.approx(-30, abs=1e-3)
    assert raised.dtype == np.float32


@needs_resemblyzer
def test_padding_does_not_change_a_state_and_every_lstm_layer_has_one() -> None:
    encoder = open_encoder(resemblyzer().folder, CPU)
    samples = [noise(4003), noise(1601, seed=1)]
    together = layer_states(encoder, samples)
    for alone, found in zip(samples, together, strict=True):
        np.testing.assert_allclose(layer_states(encoder, [alone])[0], found, rtol=0, atol=1e-6)
    assert encoder_shape(resemblyzer().folder)[:3] == (2, 256, 100.0)
