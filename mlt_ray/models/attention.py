"""Multi-head scaled dot-product attention (Vaswani et al. 2017, section 3.2).

Every query position gets a weighted mean of the values at all key positions. Padding is hidden by a
bias on the scores: 0 where a key is real and -inf where it is padding, so that the softmax gives
padding the weight 0. Without dropout, torch's fused kernel computes the mean and never stores the
weights. Dropout of weights needs them as a tensor.

Shapes: B utterances, H heads, T query positions, S key positions, D channels, d = D / H channels of
a head. Masks are bool, True where a position is real.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.models.dropout import Dropout

KEY_MULTIPLE, FEW_KEYS = 16, 64
"""Fewer keys than `FEW_KEYS` are padded to a multiple of `KEY_MULTIPLE` with hidden keys. A CPU's
softmax takes up to ten times as long over rows that do not fill its vector registers."""


class Attention(nn.Module):
    """Multi-head scaled dot-product attention; equals `torch.nn.MultiheadAttention`.

    `dropout` is the dropout rate of the attention weights.
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
        """(B, T, D) queries over a (B, S, D) memory with its (B, S) mask → (B, T, D).

        With `causal`, query t sees only the keys 0 to t; key 0 must be real.
        """
        if memory.shape[1] < FEW_KEYS and (missing := -memory.shape[1] % KEY_MULTIPLE):
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
        """softmax(Q Kᵀ / √d + bias) V of (B, H, T, d) queries and (B, H, S, d) keys and values.

        → (B, H, T, d).
        """
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)

    def weights(
        self, x: Tensor, memory: Tensor, memory_mask: Tensor, causal: bool = False
    ) -> Tensor:
        """The weights that `forward` takes its means with, without dropout → (B, H, T, S).

        Those of a query sum to 1 over the keys; padding and hidden keys have 0.
        """
        query = self._split(self.query(x))
        key = self._split(self.key_value(memory).chunk(2, dim=-1)[0])
        bias = key_bias(memory_mask, query.shape[2] if causal else None, query.dtype)
        return _weights(query, key, bias)

    def _mix_dropping(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """The same as `mix` with dropout of the (B, H, T, S) weights."""
        return self.dropout(_weights(query, key, bias)) @ value

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _weights(query: Tensor, key: Tensor, bias: Tensor) -> Tensor:
    """softmax(Q Kᵀ / √d + bias) of (B, H, T, d) queries and (B, H, S, d) keys → (B, H, T, S)."""
    scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
    # Not in place: under vmap the bias may have a run axis where the scores have none.
    return (scores + bias).softmax(dim=-1)


def key_bias(mask: Tensor, causal_steps: int | None, dtype: torch.dtype) -> Tensor:
    """The bias on the scores: -inf where a key is hidden, else 0.

    (B, S) mask → (B, 1, 1, S), or (B, 1, T, S) if `causal_steps` is T: then each of the T queries
    sees no later key.
    """
    hidden = ~mask[:, None, None, :]
    if causal_steps is not None:
        later = torch.ones(causal_steps, mask.shape[1], dtype=torch.bool, device=mask.device)
        hidden = hidden | later.triu(1)
    return torch.zeros_like(hidden, dtype=dtype).masked_fill_(hidden, -torch.inf)
