"""A recording as a pre-trained speech encoder hears it: one vector, pooled over time.

The encoders are those of `mlt_ray.features.encoders` for speech: wav2vec 2.0 and its relatives,
and Resemblyzer's speaker encoder. They are frozen; there is no fine-tuning of them here.

A recording passes alone: in the wav2vec 2.0 that normalises its first convolution over time,
padding would change every value.

N samples at 16 kHz, T states of H values.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, each_recording
from mlt_ray.features.encoders import RESEMBLYZER_WEIGHTS

Samples = NDArray[np.float32]
States = Callable[[Samples], Tensor]
"""From samples (N,) in [-1, 1] to states (T, H)."""

# Resemblyzer's own values.
_MEL_BINS: Final = 40
_WINDOW: Final = 400
_HOP: Final = 160
_LSTM_WIDTH: Final = 256
_LSTM_LAYERS: Final = 3
_LEAST_VOLUME_DBFS: Final = -30.0


def speech_vectors(folder: Path, paths: Sequence[Path]) -> Iterator[NDArray[np.float32]]:
    """(1, 2H) of each recording, in order: `pooled` states of the encoder in `folder`.

    Raises `UserError` for a recording that cannot be read.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    states = open_encoder(folder, device)
    num_threads = 1 if device.type == "cuda" else None
    return each_recording(
        paths, lambda samples: pooled(states(samples)).cpu().numpy()[None], num_threads
    )


def pooled(states: Tensor) -> Tensor:
    """(T, H) → (2H,): mean over time, then (population) standard deviation, 0 of one state."""
    return torch.cat([states.mean(dim=0), states.std(dim=0, correction=0)])


def open_encoder(folder: Path, device: torch.device) -> States:
    """The encoder in `folder`, on `device`."""
    if (folder / RESEMBLYZER_WEIGHTS).exists():
        return _open_resemblyzer(folder, device)
    return _open_transformer(folder, device)


def _open_transformer(folder: Path, device: torch.device) -> States:
    """Last hidden states of an encoder of transformers, which has prepared the samples its way."""
    from transformers import AutoFeatureExtractor, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    prepare = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    model.to(device).eval()
    shortest = receptive_field(model.config)

    @torch.no_grad()
    def states(samples: Samples) -> Tensor:
        given = prepare(_lengthened(samples, 1), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
        values = given["input_values"]
        values = nn.functional.pad(values, (0, max(0, shortest - values.shape[1])))
        found: Tensor = model(values.to(device)).last_hidden_state[0]
        return found

    return states


def receptive_field(config: Any) -> int:
    """Samples that the convolutions of an encoder of transformers need for one state."""
    samples = 1
    for kernel, stride in zip(config.conv_kernel[::-1], config.conv_stride[::-1], strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def _open_resemblyzer(folder: Path, device: torch.device) -> States:
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
    power = _mel_spectrogram()(torch.from_numpy(louder(_lengthened(samples, 1))))
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


def _lengthened(samples: Samples, least: int) -> Samples:
    """Samples continued with silence to `least` of them."""
    return np.pad(samples, (0, max(0, least - len(samples))))
