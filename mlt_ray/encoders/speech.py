"""Pre-trained speech encoders: the states of every layer of a recording.

All are one class, `SpeechEncoder`, with a subclass for each family. What comes before the first
block (convolutions, projection, positions) is computed for one recording at a time, and blocks for
many, with masks. So a recording's states depend on no other recording and on no padding.

Shapes: N samples at 16 kHz, B recordings, T states of H values, L blocks, S = L + 1 layers.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples


class SpeechEncoder(nn.Module):
    """A speech encoder of L = `num_layers` blocks over states of H = `width` values.

    Layer 0 is what the first block reads, layer n what the n-th block gives. Where the family has a
    norm behind the last block, layer L is its output. `states_per_s` counts the states of a second.
    `lora_modules` names the linear layers in a block that adapters are set on; a family without
    takes none.

    Dropout of the blocks are `nn.Dropout` modules. Functional dropout, layer drop and masks of time
    are left out.

    With `recomputes`, a backward pass computes the inside of each block once more instead of
    keeping it (gradient checkpointing): slower, less memory, the same numbers.
    """

    width: int
    num_layers: int
    states_per_s: float
    lora_modules: tuple[str, ...] = ()

    def __init__(self, blocks: nn.ModuleList, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.blocks: Any = blocks  # transformers' own, with attributes that torch knows nothing of
        self.norm = norm
        self.first = 0  # the layer that the first of `blocks` reads
        self.recomputes = False

    @abstractmethod
    def start(self, samples: Samples, pad_to_30s: bool = False) -> Tensor:
        """(N,) samples of one recording → (T, H) states of layer 0, T at least 1.

        `pad_to_30s` gives the states of Whisper for the recording and silence up to 30 seconds;
        other encoders have no such length, and `ValueError` is raised.
        """

    @abstractmethod
    def block(self, number: int, states: Tensor, context: Any) -> Tensor:
        """(B, T, H) states of layer `number` → (B, T, H) of the next, without `norm`."""

    def context(self, states: Tensor, mask: Tensor) -> Any:
        """What all blocks read besides (B, T, H) states: here the additive (B, 1, 1, T) mask."""
        least = torch.finfo(states.dtype).min
        return torch.zeros_like(mask, dtype=states.dtype).masked_fill(~mask, least)[:, None, None]

    def num_states(self, num_samples: int) -> int | None:
        """How many states of so many samples are of the recording; None if all are."""
        return None

    def forward(
        self, states: Tensor, mask: Tensor, first: int = 0, last: int | None = None
    ) -> list[Tensor]:
        """The states of layers `first` to `last` (None: L), each (B, T, H).

        `states` (B, T, H) are those of layer `first`, and the first of the list. `mask` (B, T) is
        True where a state is real.
        """
        last = self.num_layers if last is None else last
        context = self.context(states, mask)
        found = [states]
        for number in range(first, last):
            if self.recomputes and torch.is_grad_enabled():
                states = checkpoint(self.block, number, states, context, use_reentrant=False)
            else:
                states = self.block(number, states, context)
            if number + 1 == self.num_layers and self.norm is not None:
                states = self.norm(states)
            found.append(states)
        return found

    def keep_blocks(self, first: int) -> None:
        """Forget all that comes before layer `first`: from now on it reads that layer's states."""
        self.blocks = self.blocks[first - self.first :]
        self.first = first

    def drop_blocks(self, last: int) -> None:
        """Forget all that comes behind layer `last`."""
        self.blocks = self.blocks[: last - self.first]
        if last < self.num_layers:
            self.norm = None


@torch.no_grad()
def layer_states(
    encoder: SpeechEncoder,
    recordings: Sequence[Samples],
    pad_to_30s: bool = False,
    last: int | None = None,
) -> list[Tensor]:
    """(S, T, H) states of all layers of each recording, up to layer `last` (None: L).

    The blocks compute them together.
    """
    starts = [encoder.start(samples, pad_to_30s) for samples in recordings]
    lengths = torch.tensor([len(states) for states in starts], device=starts[0].device)
    states = pad_sequence(starts, batch_first=True)
    mask = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
    layers = torch.stack(encoder(states, mask, last=last), dim=1)
    return [
        found[:, : encoder.num_states(len(samples)) or len(start)]
        for found, start, samples in zip(layers, starts, recordings, strict=True)
    ]


def pooled(states: Tensor) -> Tensor:
    """(S, T, H) → (S, 2H): mean over time, then population standard deviation (0 if T is 1)."""
    return torch.cat([states.mean(dim=-2), states.std(dim=-2, correction=0)], dim=-1)


def resampled(samples: Samples, rate_hz: int) -> Samples:
    """Samples at the rate that an encoder was trained at."""
    if rate_hz == SAMPLE_RATE_HZ or not len(samples):
        return samples
    from torchaudio.functional import resample

    found: Samples = resample(torch.from_numpy(samples), SAMPLE_RATE_HZ, rate_hz).numpy()
    return found
