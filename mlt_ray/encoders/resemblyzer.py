"""Resemblyzer's speaker encoder: its mel spectrogram and its LSTM. Shapes: N samples, T states."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples, lengthened
from mlt_ray.encoders.catalogue import RESEMBLYZER_WEIGHTS

# Values of Resemblyzer 0.1.4.
_MEL_BINS: Final = 40
_WINDOW: Final = 400
_HOP: Final = 160
_LSTM_WIDTH: Final = 256
_LSTM_LAYERS: Final = 3
_LEAST_VOLUME_DBFS: Final = -30.0


def open_resemblyzer(folder: Path, device: torch.device) -> Callable[[Samples], Tensor]:
    """A function from samples (N,) to the states (T, 256) of the last LSTM layer.

    All states of the whole recording are kept, since emotion changes over time (*assumed*).
    Resemblyzer itself cuts it into pieces of 1.6 s and keeps the last state of each.
    """
    lstm = nn.LSTM(_MEL_BINS, _LSTM_WIDTH, _LSTM_LAYERS, batch_first=True)
    stored = torch.load(folder / RESEMBLYZER_WEIGHTS, map_location="cpu", weights_only=True)
    of_lstm = {n: w for n, w in stored["model_state"].items() if n.startswith("lstm.")}
    lstm.load_state_dict({name.removeprefix("lstm."): w for name, w in of_lstm.items()})
    lstm.to(device).eval()

    @torch.no_grad()
    def states(samples: Samples) -> Tensor:
        found: Tensor = lstm(resemblyzer_mel(samples).to(device)[None])[0][0]
        return found

    return states


def resemblyzer_mel(samples: Samples) -> Tensor:
    """Mel power spectrum (1 + N // 160, 40) as Resemblyzer computes it, without logarithm.

    As in Resemblyzer, quiet recordings are raised to -30 dBFS first. Long silences are kept,
    since a pause may be part of an emotion (*assumed*); Resemblyzer cuts them out.
    """
    power = _mel_spectrogram()(torch.from_numpy(louder(lengthened(samples, 1))))
    mel: Tensor = power.T.contiguous()
    return mel


def louder(samples: Samples) -> Samples:
    """The samples, amplified to a root mean square of -30 dBFS if below; silence stays silence."""
    volume = float(np.sqrt(np.mean(np.square(samples.astype(np.float64)))))
    least = 10 ** (_LEAST_VOLUME_DBFS / 20)
    if not 0 < volume < least:
        return samples
    return (samples * (least / volume)).astype(np.float32)


@functools.cache
def _mel_spectrogram() -> Any:
    """torchaudio's mel spectrogram with librosa's defaults (Slaney's mel scale and norm)."""
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
