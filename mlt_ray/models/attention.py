"""Multi-head scaled dot-product attention (Vaswani et al. 2017, section 3.2), in one pass.

Shapes: B utterances, H heads, T query positions, S key positions, D channels. Masks are bool, True
where a position is real.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.models.dropout import Dropout

REGISTER, FEW = 16, 64
"""Fewer than `FEW` keys are padded to a multiple of `REGISTER`, the others being hidden: a CPU's
softmax takes up to ten times as long over rows that do not fill its vector registers."""


class Attention(nn.Module):
    """Multi-head scaled dot-product attention; equals `torch.nn.MultiheadAttention`.

    `dropout` is that of attention weights. Without it, weights are never held in memory.
    """

    def __init__(self, width: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(
        self, x: Tensor, memory: Tensor, memory_mask: Tensor, causal: bool = False
    ) -> Tensor:
        """(B, T, D) queries over (B, S, D) memory with its (B, S) mask → (B, T, D).

        With `causal`, query t sees the keys 0 to t; the first of them must be real.
        """
        if memory.shape[1] < FEW and (missing := -memory.shape[1] % REGISTER):
            memory = F.pad(memory, (0, 0, 0, missing))
            memory_mask = F.pad(memory_mask, (0, missing))
        query = self._split(self.query(x))
        key, value = map(self._split, self.key_value(memory).chunk(2, dim=-1))
        bias = key_bias(memory_mask, query.shape[2] if causal else None, query.dtype)
        if self.dropout.drops:
            mixed = self._mix_dropping(query, key, value, bias)
        else:
            mixed = self.mix(query, key, value, bias)
        return self.output(mixed.transpose(1, 2).flatten(2))

    def mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """softmax(Q Kᵀ / √d + bias) V of (B, H, T or S, d) → (B, H, T, d)."""
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)

    def _mix_dropping(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """The same, with dropout of the weights, a (B, H, T, S) tensor."""
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
        # Not in place: under vmap a mask may be batched where the scores are not.
        return self.dropout((scores + bias).softmax(dim=-1)) @ value

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def key_bias(mask: Tensor, causal_steps: int | None, dtype: torch.dtype) -> Tensor:
    """What is added to scores: -inf where a key is hidden, else 0.

    (B, 1, 1, S) of a (B, S) mask, or (B, 1, T, S) where T `causal_steps` see no later key.
    """
    hidden = ~mask[:, None, None, :]
    if causal_steps is not None:
        later = torch.ones(causal_steps, mask.shape[1], dtype=torch.bool, device=mask.device)
        hidden = hidden | later.triu(1)
    return torch.zeros_like(hidden, dtype=dtype).masked_fill_(hidden, -torch.inf)
