"""The layers of the transformer (Vaswani et al. 2017), embeddings, pre-nets and pooling.

Padding never reaches a real position: attention ignores masked keys, and convolutions see zeros
there.

Shapes: B utterances, T query positions, S key positions, D channels, W words, P phonemes a word.
Masks are bool, True where a position is real.
"""

import functools
import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.models.attention import Attention
from mlt_ray.models.convolution import Conv1d
from mlt_ray.models.dropout import Dropout


class FeedForward(nn.Sequential):
    """Two linear layers with a ReLU between them, applied at every position."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))


class ResidualNorm(nn.Module):
    """Residual connection: dropout of a sub-layer's output, its input added, then layer norm."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """The sub-layer's (B, T, D) input and output → (B, T, D)."""
        return self.norm(x + self.dropout(output))


class TransformerLayer(nn.Module):
    """Self-attention, attention to a memory if `cross` is set, and feed-forward.

    Each is followed by `ResidualNorm` (post-norm, as in the paper). Equals
    `torch.nn.TransformerEncoderLayer`, and `torch.nn.TransformerDecoderLayer` with `cross`.
    With `causal`, self-attention at a position sees that position and the ones before it.

    `dropout` applies to the output of each sub-layer before its input is added (Vaswani et al.
    2017, section 5.4), `attention_dropout` to attention weights, as in torch's layers.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        hidden: int,
        dropout: float,
        cross: bool = False,
        causal: bool = False,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.self_attention = Attention(width, num_heads, attention_dropout)
        self.self_norm = ResidualNorm(width, dropout)
        self.cross_attention = Attention(width, num_heads, attention_dropout) if cross else None
        self.cross_norm = ResidualNorm(width, dropout) if cross else None
        self.feed_forward = FeedForward(width, hidden)
        self.feed_forward_norm = ResidualNorm(width, dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        first: int | None = None,
    ) -> Tensor:
        """(B, T, D) with its (B, T) mask → (B, T, D).

        With `cross`, `memory` is (B, S, D) and `memory_mask` (B, S); `ValueError` without them.
        With `first`, only the first positions are computed, so many of them: (B, `first`, D).
        """
        wanted = x[:, :first]
        attended = self.self_attention(wanted, x, mask, self.causal)
        x = self.self_norm(wanted, attended)
        if self.cross_attention is not None and self.cross_norm is not None:
            if memory is None or memory_mask is None:
                raise ValueError("a layer with cross attention needs a memory and its mask")
            x = self.cross_norm(x, self.cross_attention(x, memory, memory_mask))
        return self.feed_forward_norm(x, self.feed_forward(x))


class ScaledPositions(nn.Module):
    """Adds sinusoidal positions times a learnt scale α that starts at 1 (Transformer TTS)."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) → (B, T, D)."""
        # Cached for a few round lengths: computing the sines costs more than adding them.
        rounded = 1 << (x.shape[1] - 1).bit_length()
        table = sinusoid(rounded, x.shape[2], x.device).to(x.dtype)
        return self.dropout(x + self.scale * table[: x.shape[1]])


# Kept for good: a recorded CUDA graph reads the tensor at its address.
@functools.cache
def sinusoid(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """(length, width) float32: sin and cos of t / 10000^(2i/width), in turns along the width."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate[: width // 2])
    return table.to(device)


class Highway(nn.Module):
    """Highway layers (equation 3).

    Z(u) = H(u)·T(u) + u·(1 − T(u)), where H is affine with ReLU and T is a sigmoid gate.
    """

    def __init__(self, width: int, num_layers: int) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(nn.Linear(width, width) for _ in range(num_layers))
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(num_layers))

    def forward(self, u: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        for transform, gate in zip(self.transforms, self.gates, strict=True):
            passed = torch.sigmoid(gate(u))
            u = torch.relu(transform(u)) * passed + u * (1 - passed)
        return u


def symbol_embedding(num_symbols: int, dim: int) -> nn.Embedding:
    """A learnt vector for each symbol; those of 0 (padding) and 1 (unknown) start at zero.

    All symbols of the training part are known, so the vector of the unknown symbol is never
    trained. It is zero because a random vector would be noise at test.
    """
    embedding = nn.Embedding(num_symbols, dim, padding_idx=0)
    with torch.no_grad():
        embedding.weight[:2].zero_()
    return embedding


class WordEmbedding(nn.Module):
    """Given word vectors, and learnt ones for padding, the unknown word and words without a vector.

    The given vectors are frozen, or trained from there if `trainable`. A trained network can read
    words that it was not built for: `more` are their (N, dim) vectors, and their ids are the next.
    """

    vectors: Tensor
    more: Tensor | None = None

    def __init__(self, num_learned: int, vectors: Tensor, trainable: bool = False) -> None:
        super().__init__()
        self.learned = symbol_embedding(num_learned, vectors.shape[1])
        # A spare row, for a lookup if no word has a vector.
        spare = vectors.new_zeros(1, vectors.shape[1])
        table = torch.cat([vectors, spare])
        if trainable:
            self.vectors = nn.Parameter(table)
        else:
            self.register_buffer("vectors", table, persistent=False)

    @property
    def dim(self) -> int:
        """Values a word."""
        return self.vectors.shape[1]

    def forward(self, words: Tensor) -> Tensor:
        """(B, W) word ids → (B, W, D)."""
        first = self.learned.num_embeddings
        learned = self.learned(words.clamp(max=first - 1))
        table = self.vectors
        if self.more is not None:
            table = torch.cat([table[:-1], self.more])
        given = F.embedding((words - first).clamp(min=0), table)
        return torch.where((words < first)[..., None], learned, given)


class CharCnn(nn.Module):
    """The vector of a word from its phonemes: convolution, ReLU, maximum over the phonemes.

    After Kim (2014) and BiDAF (Seo et al. 2017), which the paper cites (section 3.1.3).
    """

    def __init__(self, num_symbols: int, dim: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.embedding = symbol_embedding(num_symbols, dim)
        self.convolution = Conv1d(dim, channels, kernel, padding="same")

    def forward(self, phonemes: Tensor) -> Tensor:
        """(B, W, P) phoneme ids, 0 in padding → (B, W, channels), 0 for a word of padding."""
        flat = phonemes.flatten(0, 1)
        # Zeros in padding do not change the maximum after a ReLU, which is never negative.
        kept = self.convolve(flat) * (flat != 0)[:, :, None]
        return torch.relu(kept.amax(dim=1)).unflatten(0, phonemes.shape[:2])

    def convolve(self, phonemes: Tensor) -> Tensor:
        """(N, P) phoneme ids of N words → (N, P, channels)."""
        return self.convolution(self.embedding(phonemes).transpose(1, 2)).transpose(1, 2)


class ConvolutionPrenet(nn.Module):
    """Convolutions with layer norm, ReLU and dropout, then a projection (section 3.1.1).

    Tacotron 2 and Transformer TTS use batch norm. Layer norm stands in for it: a batch of 4 gives
    poor statistics, and an utterance's output must not depend on its neighbours (*assumed*).
    """

    def __init__(
        self, inputs: int, width: int, num_layers: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        sizes = [inputs] + [width] * num_layers
        self.convolutions = nn.ModuleList(
            Conv1d(a, b, kernel, padding="same") for a, b in itertools.pairwise(sizes)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_layers))
        self.dropouts = nn.ModuleList(Dropout(dropout) for _ in range(num_layers))
        self.projection = nn.Linear(sizes[-1], width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, inputs) with its (B, T) mask → (B, T, width)."""
        parts = zip(self.convolutions, self.norms, self.dropouts, strict=True)
        for convolution, norm, dropout in parts:
            x = x * mask[..., None]
            x = norm(convolution(x.transpose(1, 2)).transpose(1, 2))
            x = dropout(torch.relu(x))
        return self.projection(x)


class MelPrenet(nn.Sequential):
    """Two fully connected layers with ReLU and dropout on every frame (section 3.1.1)."""

    def __init__(self, inputs: int, hidden: int, width: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(inputs, hidden),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(hidden, width),
            nn.ReLU(),
            Dropout(dropout),
        )


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """Maximum over the real positions of (B, T, D) → (B, D)."""
    return x.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
