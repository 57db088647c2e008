"""Resemblyzer's speaker encoder: its mel spectrogram and its LSTM. Shapes: N samples, T states."""

import functools
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples, lengthened
from mlt_ray.encoders.catalogue import RESEMBLYZER_WEIGHTS
from mlt_ray.encoders.speech import SpeechEncoder

# Values of Resemblyzer 0.1.4.
_MEL_BINS: Final = 40
_WINDOW: Final = 400
_HOP: Final = 160
_LSTM_WIDTH: Final = 256
_LSTM_LAYERS: Final = 3
_LEAST_VOLUME_DBFS: Final = -30.0


class Resemblyzer(SpeechEncoder):
    """Resemblyzer's LSTM of three layers over mel frames, 100 a second.

    Layer 0 is the first LSTM layer's output; the other two are blocks. The states of the whole
    recording are kept, since emotion changes over time (*assumed*). Resemblyzer itself cuts it into
    pieces of 1.6 s and keeps the last state of each.

    An LSTM reads the past alone, so padding at the end changes no state before it.
    """

    width = _LSTM_WIDTH
    num_layers = _LSTM_LAYERS - 1
    states_per_s = SAMPLE_RATE_HZ / _HOP

    def __init__(self, folder: Path) -> None:
        stored = torch.load(folder / RESEMBLYZER_WEIGHTS, map_location="cpu", weights_only=True)
        lstm = nn.LSTM(_MEL_BINS, _LSTM_WIDTH, _LSTM_LAYERS)
        of_lstm = {n: w for n, w in stored["model_state"].items() if n.startswith("lstm.")}
        lstm.load_state_dict({name.removeprefix("lstm."): w for name, w in of_lstm.items()})
        lowest, *blocks = _layers_of(lstm)
        super().__init__(nn.ModuleList(blocks))
        self.lowest: nn.Module = lowest

    @torch.no_grad()
    def start(self, samples: Samples, pad_to_30s: bool = False) -> Tensor:
        """(N,) → (1 + N // 160, 256)."""
        if pad_to_30s:
            raise ValueError("only Whisper is trained on recordings that are padded to 30 s")
        device = next(self.lowest.parameters()).device
        found: Tensor = self.lowest(resemblyzer_mel(samples).to(device)[None])[0][0]
        return found

    def block(self, number: int, states: Tensor, context: Any) -> Tensor:
        """The next LSTM layer."""
        found: Tensor = self.blocks[number - self.first](states)[0]
        return found

    def keep_blocks(self, first: int) -> None:
        """Forget the lowest LSTM layer too."""
        super().keep_blocks(first)
        self.lowest = nn.Identity()


def _layers_of(lstm: nn.LSTM) -> list[nn.LSTM]:
    """Each layer of an LSTM as one of its own, from the lowest up."""
    found = []
    for number in range(lstm.num_layers):
        layer = nn.LSTM(lstm.hidden_size if number else lstm.input_size, lstm.hidden_size)
        layer.batch_first = True
        for name, weight in layer.named_parameters():
            weight.data = getattr(lstm, name.replace("_l0", f"_l{number}")).data
        found.append(layer)
    return found


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
