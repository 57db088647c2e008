"""A recurrent layer over padded sequences.

Shapes: B utterances, T positions, C input channels, H units, D = H, or 2 H in both directions.
"""

from typing import Literal

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """One recurrent layer, in one direction or in both; each sequence is read as if alone.

    Equals torch's bidirectional layer over a packed sequence. Packing is avoided: on a CPU its
    gradient takes time that grows with the square of the length.
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
        """(B, T, C) and (B,) lengths of at least 1 → (B, T, D) states; any value in padding."""
        states, _ = self.ahead(x)
        if self.back is None:
            return states
        states_back, _ = self.back(reversed_each(x, lengths))
        return torch.cat([states, reversed_each(states_back, lengths)], dim=-1)


def reversed_each(x: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence of (B, T, C) from its last real position to its first, then its padding."""
    place = torch.arange(x.shape[1], device=x.device)
    mirrored = lengths[:, None] - 1 - place
    index = torch.where(mirrored < 0, place, mirrored)
    return x.gather(1, index[..., None].expand_as(x))


def last_states(states: Tensor, lengths: Tensor) -> Tensor:
    """The state at the last real position of each sequence: (B, T, D), (B,) → (B, D)."""
    index = (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2])
    return states.gather(1, index)[:, 0]
