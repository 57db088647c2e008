"""A recurrent layer over padded sequences.

Shapes: B utterances, T positions, C input channels, H units, D = H, or 2 H if bidirectional.
"""

from typing import Literal

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """One recurrent layer, in one direction or in both, whose states do not depend on padding.

    Equals torch's layer over a packed sequence. It does not pack, since on a CPU the gradient of a
    packed sequence takes time that grows with the square of the length.
    """

    def __init__(
        self, cell: Literal["lstm", "gru"], inputs: int, width: int, bidirectional: bool
    ) -> None:
        super().__init__()
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.ahead = kind(inputs, width, batch_first=True)
        self.back = kind(inputs, width, batch_first=True) if bidirectional else None
        self.width = width * (2 if bidirectional else 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, C) and (B,) lengths of at least 1 → (B, T, D) states, arbitrary in padding."""
        states, _ = self.ahead(x)
        if self.back is None:
            return states
        states_back, _ = self.back(reversed_each(x, lengths))
        return torch.cat([states, reversed_each(states_back, lengths)], dim=-1)


def reversed_each(x: Tensor, lengths: Tensor) -> Tensor:
    """The (B, T, C) sequences, each reversed within its real positions; padding stays behind."""
    place = torch.arange(x.shape[1], device=x.device)
    mirrored = lengths[:, None] - 1 - place
    index = torch.where(mirrored < 0, place, mirrored)
    return x.gather(1, index[..., None].expand_as(x))


def last_states(states: Tensor, lengths: Tensor) -> Tensor:
    """The state at the last real position of each sequence: (B, T, D), (B,) → (B, D)."""
    index = (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2])
    return states.gather(1, index)[:, 0]
