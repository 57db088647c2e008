"""Frozen speech encoders: one vector per recording, pooled over time.

The encoders are those that `mlt_ray.encoders.folder` finds for speech: wav2vec 2.0 and its
relatives, and Resemblyzer's speaker encoder. Recordings are encoded one by one, not in batches:
padding would change all values in a wav2vec 2.0 that normalises its first convolution over time.

Shapes: N samples at 16 kHz, T states of H values.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples, each_recording, lengthened
from mlt_ray.encoders.catalogue import RESEMBLYZER_WEIGHTS
from mlt_ray.encoders.pretrained import load_feature_extractor, load_model
from mlt_ray.encoders.resemblyzer import open_resemblyzer

States = Callable[[Samples], Tensor]
"""A function from samples (N,) to states (T, H)."""


def speech_vectors(folder: Path, paths: Sequence[Path]) -> Iterator[NDArray[np.float32]]:
    """Yield (1, 2H) for each recording, in order: the `pooled` states of the encoder in `folder`.

    Raises `UserError` for a recording that cannot be read.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    states = open_encoder(folder, device)
    num_threads = 1 if device.type == "cuda" else None
    return each_recording(
        paths, lambda samples: pooled(states(samples)).cpu().numpy()[None], num_threads
    )


def pooled(states: Tensor) -> Tensor:
    """(T, H) → (2H,): mean over time, then population standard deviation (0 if T is 1)."""
    return torch.cat([states.mean(dim=0), states.std(dim=0, correction=0)])


def open_encoder(folder: Path, device: torch.device) -> States:
    """The encoder in `folder` as a function that computes on `device`."""
    if (folder / RESEMBLYZER_WEIGHTS).exists():
        return open_resemblyzer(folder, device)
    return _open_transformer(folder, device)


def _open_transformer(folder: Path, device: torch.device) -> States:
    """Last hidden states of a transformers encoder, after its own preprocessor."""
    prepare, model = load_feature_extractor(folder), load_model(folder).to(device).eval()
    shortest = receptive_field(model.config)

    @torch.no_grad()
    def states(samples: Samples) -> Tensor:
        inputs = prepare(lengthened(samples, 1), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
        values = inputs["input_values"]
        values = nn.functional.pad(values, (0, max(0, shortest - values.shape[1])))
        found: Tensor = model(values.to(device)).last_hidden_state[0]
        return found

    return states


def receptive_field(config: Any) -> int:
    """Number of samples that the convolutions of a transformers encoder need for one state."""
    samples = 1
    for kernel, stride in zip(config.conv_kernel[::-1], config.conv_stride[::-1], strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
