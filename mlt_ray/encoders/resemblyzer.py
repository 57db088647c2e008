"""Resemblyzer's speaker encoder: its mel spectrogram, and the states of its LSTM layers."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples, lengthened
from mlt_ray.encoders.catalogue import RESEMBLYZER_WEIGHTS

# Resemblyzer's own values.
_MEL_BINS: Final = 40
_WINDOW: Final = 400
_HOP: Final = 160
_LSTM_WIDTH: Final = 256
_LSTM_LAYERS: Final = 3
_LEAST_VOLUME_DBFS: Final = -30.0


def open_resemblyzer(folder: Path, device: torch.device) -> Callable[[Samples], Tensor]:
    """States of the last LSTM layer over the whole recording.

    Resemblyzer cuts a recording into pieces of 1.6 s, and reads the last state of each for the
    speaker's sake; what changes in between is of interest here (*assumed*).
    """
    lstm = nn.LSTM(_MEL_BINS, _LSTM_WIDTH, _LSTM_LAYERS, batch_first=True)
    stored = torch.load(folder / RESEMBLYZER_WEIGHTS, map_location="cpu", weights_only=True)
    weights = stored["model_state"]
    lstm.load_state_dict({name: weights[f"lstm.{name}"] for name in lstm.state_dict()})
    lstm.to(device).eval()

    @torch.no_grad()
    def states(samples: Samples) -> Tensor:
        found: Tensor = lstm(resemblyzer_mel(samples).to(device)[None])[0][0]
        return found

    return states


def resemblyzer_mel(samples: Samples) -> Tensor:
    """Mel power spectrum (1 + N // 160, 40) as Resemblyzer computes it: no logarithm.

    Quiet recordings are raised to -30 dBFS first, as there. Long silences stay in: Resemblyzer
    cuts them out by WebRTC's voice detector, but a pause may be part of an emotion (*assumed*).
    """
    power = _mel_spectrogram()(torch.from_numpy(louder(lengthened(samples, 1))))
    mel: Tensor = power.T.contiguous()
    return mel


def louder(samples: Samples) -> Samples:
    """Samples of at least -30 dBFS (root mean square); silence stays silence."""
    volume = float(np.sqrt(np.mean(np.square(samples.astype(np.float64)))))
    least = 10 ** (_LEAST_VOLUME_DBFS / 20)
    if not 0 < volume < least:
        return samples
    return (samples * (least / volume)).astype(np.float32)


@functools.cache
def _mel_spectrogram() -> Any:
    """librosa's mel spectrogram by its defaults (Slaney's mel scale and norm), by torchaudio."""
    from torchaudio.transforms import MelSpectrogram

    return MelSpectrogram(
        SAMPLE_RATE_HZ,
        n_fft=_WINDOW,
        hop_length=_HOP,
        n_mels=_MEL_BINS,
        pad_mode="constant",
        norm="slaney",
        mel_scale="slaney",
    )
