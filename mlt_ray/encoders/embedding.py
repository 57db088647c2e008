"""What is kept of a frozen speech encoder's states, for one recording after another.

Shapes: N samples, T states of H values, S layers.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mlt_ray.corpus.audio import (
    SAMPLE_RATE_HZ,
    Samples,
    Sound,
    each_recording,
    import_torchaudio,
)
from mlt_ray.encoders.opening import open_encoder
from mlt_ray.encoders.speech import SpeechEncoder, layer_states, pooled
from mlt_ray.errors import UserError
from mlt_ray.machine import device_of, torch_threads, usable_cpus
from mlt_ray.spec import Layer

Embedder = Callable[[Path, Sequence[Sound], "Embedding"], Iterator[NDArray[Any]]]
"""`embed_files`, or what computes the same elsewhere."""

BLOCK: Final = 64
"""Recordings that are read before their arrays are yielded."""

BATCH_S: Final = 60.0
"""Seconds of audio, padding included, that a GPU computes together."""

GPU_BATCHES: Final = 4
"""Batches that a GPU's memory holds at once (*assumed*): one is computed, others are prepared."""


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """What is kept of a recording's (S, T, H) states.

    Without a `layer`: mean and deviation over time of every layer, (S, 2H) float32. With one: its
    states, (T, H) float16; ``weighted`` keeps the states of all layers side by side, (T, S · H).
    """

    layer: Layer | None = None
    pad_to_30s: bool = False

    def last_of(self, num_blocks: int) -> int:
        """The last layer that is read, of an encoder of so many blocks."""
        if self.layer is None or self.layer == "weighted":
            return num_blocks
        return layer_index(self.layer, num_blocks + 1)

    def of(self, states: Tensor) -> NDArray[np.float32] | NDArray[np.float16]:
        """The array that is kept of the states of layers up to `last_of`.

        Values beyond float16's range become infinite.
        """
        if self.layer is None:
            layers: NDArray[np.float32] = pooled(states).cpu().numpy()
            return layers
        chosen = states[-1]
        if self.layer == "weighted":
            chosen = states.transpose(0, 1).flatten(1)
        frames: NDArray[np.float16] = chosen.half().cpu().numpy()
        return frames


def layer_index(layer: Layer, num_layers: int) -> int:
    """The place of one layer among `num_layers`, from 0; `UserError` if there is no such layer."""
    number = -1 if layer == "last" else layer
    if isinstance(number, str) or not -num_layers <= number < num_layers:
        raise UserError(
            f"layer: expected a number from {-num_layers} to {num_layers - 1} for an encoder of "
            f"{num_layers} layers, layer 0 included, got {layer}"
        )
    return number % num_layers


def embed(
    encoder: SpeechEncoder,
    recordings: Sequence[Samples],
    embedding: Embedding,
    num_threads: int | None = None,
) -> Iterator[NDArray[Any]]:
    """Yield the array that is kept of each recording, in order, as soon as it is there.

    `num_threads` threads compute (None: one for each usable CPU). On a CPU each takes one recording
    at a time: batches by length would be no faster there. On a GPU it takes a batch of similar
    length, and while one waits for the GPU, others prepare what it reads.
    """
    import_torchaudio()
    groups = [[n] for n in range(len(recordings))]
    at_once = num_threads or usable_cpus()
    if next(encoder.parameters()).device.type != "cpu":
        groups = list(batches(recordings, embedding.pad_to_30s))
        at_once = min(at_once, GPU_BATCHES)
    found: dict[int, NDArray[Any]] = {}
    next_one = 0
    pool = ThreadPoolExecutor(at_once)
    try:
        with torch_threads(1):
            arrays = pool.map(
                lambda group: _embed(encoder, [recordings[n] for n in group], embedding), groups
            )
            for group, arrays_of_group in zip(groups, arrays, strict=True):
                found |= zip(group, arrays_of_group, strict=True)
                while next_one in found:
                    yield found.pop(next_one)
                    next_one += 1
    finally:
        # After Ctrl-C only what is under way is waited for.
        pool.shutdown(cancel_futures=True)


def _embed(
    encoder: SpeechEncoder, recordings: Sequence[Samples], embedding: Embedding
) -> list[NDArray[Any]]:
    last = embedding.last_of(encoder.num_layers)
    states = layer_states(encoder, recordings, embedding.pad_to_30s, last)
    return [embedding.of(s) for s in states]


def batches(recordings: Sequence[Samples], pad_to_30s: bool = False) -> Iterator[list[int]]:
    """Places of recordings of similar length, the longest first, of at most `BATCH_S` together."""
    order = sorted(range(len(recordings)), key=lambda n: -len(recordings[n]))
    while order:
        longest_s = 30 if pad_to_30s else len(recordings[order[0]]) / SAMPLE_RATE_HZ
        size = max(1, int(BATCH_S / max(longest_s, 1 / SAMPLE_RATE_HZ)))
        yield order[:size]
        order = order[size:]


def embed_files(
    folder: Path, sounds: Sequence[Sound], embedding: Embedding
) -> Iterator[NDArray[Any]]:
    """The array that is kept of each recording, in order, by the encoder in `folder`.

    A GPU computes them if there is one. Raises `UserError` for a recording that cannot be read.
    """
    yield from embed_sounds(open_encoder(folder, device_of()), sounds, embedding)


def embed_sounds(
    encoder: SpeechEncoder, sounds: Sequence[Sound], embedding: Embedding
) -> Iterator[NDArray[Any]]:
    """`embed_files`, by an encoder that is open."""
    for block in blocks(sounds):
        yield from embed(encoder, block, embedding)


def blocks(sounds: Sequence[Sound]) -> Iterator[list[Samples]]:
    """The samples of recordings, `BLOCK` by `BLOCK`; `UserError` for one that cannot be read."""
    for start in range(0, len(sounds), BLOCK):
        yield list(each_recording(sounds[start : start + BLOCK], lambda samples: samples))
