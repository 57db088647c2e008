"""Acoustic frames as a graph of ONNX: from samples to what a network reads.

Shapes: N samples, L samples a window, T frames of F values, S lines of the spectrum, T' steps.
"""

import math
from pathlib import Path
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ
from mlt_ray.features.frames import KALDI_SCALE, SMALLEST_POWER
from mlt_ray.models.exportable import write_graph
from mlt_ray.spec import FeatureSpec

KINDS: Final = ("log_mel", "spectrogram")
"""Kinds of frames that `FrontEnd` computes."""

_PREEMPHASIS: Final = 0.97
_POVEY_POWER: Final = 0.85
_LOWEST_MEL_HZ: Final = 20.0


class FrontEnd(nn.Module):
    """Samples at 16 kHz to means of `frames_per_step` frames, which are not normalised.

    The frames are those of `mlt_ray.features.frames`, rounded to float16 as a store keeps them. The
    spectrum is a product with cosines and sines. It is computed in float64: in float32, the lines
    of a quiet band would be little more than the rounding errors of a loud one.
    """

    window: Tensor
    waves: Tensor
    filters: Tensor | None

    def __init__(self, features: FeatureSpec) -> None:
        """`ValueError` for another kind of frames than `KINDS`."""
        super().__init__()
        spec = features.frames
        if spec.kind not in KINDS:
            raise ValueError(f"expected frames of kind {' or '.join(KINDS)}, got {spec.kind}")
        # Rounded down to whole samples, as by Kaldi.
        self.length = int(SAMPLE_RATE_HZ * spec.window_ms * 0.001)
        self.hop = int(SAMPLE_RATE_HZ * spec.hop_ms * 0.001)
        self.frames_per_step, self.max_steps = features.frames_per_step, features.max_steps
        window = torch.hann_window(self.length, periodic=False, dtype=torch.float64)
        filters, fft_size = None, 2 * (spec.num_bins - 1)
        if spec.kind == "log_mel":
            window = window**_POVEY_POWER
            fft_size = 1 << (self.length - 1).bit_length()
            filters = mel_filters(spec.num_bins, fft_size)
        self.register_buffer("filters", filters)
        self.register_buffer("window", window)
        self.register_buffer("waves", waves(self.length, fft_size))

    def forward(self, samples: Tensor) -> Tensor:
        """(N,) float32 samples in [-1, 1] → (T', F) float32."""
        count = torch.ones_like(samples, dtype=torch.int64).sum()  # N; a length would be a constant
        starts = places((count - self.length).clamp(min=0) // self.hop + 1) * self.hop
        # A recording that is shorter than a window goes on with zeros.
        samples = F.pad(samples.double() * KALDI_SCALE, (0, self.length))
        cut = samples[starts[:, None] + torch.arange(self.length)]
        if self.filters is not None:
            cut = cut - cut.mean(dim=1, keepdim=True)
            cut = cut - _PREEMPHASIS * torch.cat([cut[:, :1], cut[:, :-1]], dim=1)
        real, imaginary = ((cut * self.window) @ self.waves).chunk(2, dim=1)
        power = real.square() + imaginary.square()
        if self.filters is not None:
            power = power @ self.filters
        frames = power.clamp(min=SMALLEST_POWER).log().half().float()
        return self._means(frames, torch.ones_like(starts).sum())

    def _means(self, frames: Tensor, count: Tensor) -> Tensor:
        """(T, F) frames, T of which is `count` → (T', F); the last is maybe of fewer."""
        size = self.frames_per_step
        first = places((count + size - 1) // size)[: self.max_steps] * size
        sums = F.pad(frames, (0, 0, 0, size))[first[:, None] + torch.arange(size)].sum(dim=1)
        return sums / (count - first).clamp(max=size)[:, None]


def places(count: Tensor) -> Tensor:
    """() number → the int64 numbers from 0 on, so many of them."""
    return torch.arange(cast(int, count))


def waves(length: int, fft_size: int) -> Tensor:
    """(L, 2 S) float64 cosines, then sines, of the S = `fft_size` / 2 + 1 lines of the spectrum."""
    turns = torch.arange(length)[:, None] * torch.arange(fft_size // 2 + 1) % fft_size
    angles = turns.double() * (2 * math.pi / fft_size)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def mel_filters(num_bins: int, fft_size: int) -> Tensor:
    """(S, F) float64 weights of Kaldi's triangles, from 20 Hz to half the sample rate."""
    from torchaudio.compliance.kaldi import get_mel_banks

    lines, _ = get_mel_banks(
        num_bins, fft_size, SAMPLE_RATE_HZ, _LOWEST_MEL_HZ, 0.0, 100.0, -500.0, 1.0
    )
    filters: Tensor = F.pad(lines, (0, 1)).T.double()
    return filters


def write_front_end(features: FeatureSpec, path: Path) -> None:
    """Write `FrontEnd` to `path`: input ``samples`` (N,), output ``frames`` (T', F).

    `ValueError` for another kind of frames than `KINDS`.
    """
    write_graph(
        FrontEnd(features),
        {"samples": torch.zeros(SAMPLE_RATE_HZ)},
        ["frames"],
        path,
        {"samples": {0: "samples"}, "frames": {0: "frames"}},
    )
