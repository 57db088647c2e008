"""Writes resemblyzer_0_1_4.npz: what Resemblyzer itself makes of a made-up voice.

Run in an environment with Resemblyzer==0.1.4, librosa and webrtcvad (or webrtcvad-wheels):

    python tests/reference/resemblyzer_0_1_4.py
"""

import sys
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch

# Resemblyzer imports a name that SciPy has since removed.
sys.modules["scipy.ndimage.morphology"] = scipy.ndimage

import librosa  # noqa: E402
from resemblyzer import VoiceEncoder, normalize_volume, wav_to_mel_spectrogram  # noqa: E402

RATE_HZ = 16_000


def voice(seconds: float, level: float, seed: int) -> np.ndarray:
    """(N,) int16: a gliding tone with harmonics, swelling and fading, and noise; `level` in 0–1."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (140 * time + 35 * np.sin(2 * np.pi * time))
    tone = sum(np.sin(k * phase) / k for k in range(1, 12))
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 2.7 * time)
    noise = np.random.default_rng(seed).normal(size=len(time))
    samples = tone * swell + 0.05 * noise
    return np.rint(samples / np.abs(samples).max() * level * 32767).astype(np.int16)


def main() -> None:
    encoder = VoiceEncoder("cpu", verbose=False)
    arrays: dict[str, np.ndarray] = {"librosa": np.array(librosa.__version__)}
    for name, level in (("loud", 0.7), ("quiet", 0.02)):
        samples = voice(seconds=0.737, level=level, seed=7)
        waveform = samples.astype(np.float32) / 32768
        mel = wav_to_mel_spectrogram(normalize_volume(waveform, -30, increase_only=True))
        with torch.no_grad():
            states = encoder.lstm(torch.from_numpy(mel)[None])[0][0].numpy()
            embedding = encoder(torch.from_numpy(mel)[None])[0].numpy()
        vector = np.concatenate([states.mean(axis=0), states.std(axis=0)])
        values = {"samples": samples, "mel": mel, "vector": vector, "embedding": embedding}
        arrays |= {f"{name}_{key}": value for key, value in values.items()}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
