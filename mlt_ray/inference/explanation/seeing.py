"""Looks into a network while it reads one utterance: attention, phonemes, the last layer's input.

Shapes: B utterances, T steps, W words, P phonemes a word, C channels, D values of a vector.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch
from mlt_ray.models.attention import Attention
from mlt_ray.models.layers import CharCnn, TransformerLayer


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a network did with one utterance; None for what the network does not have.

    `attention`: (T, W) weights of the frames over the words, means over heads and layers, which
    sum to 1 over the words. A learnt vector that the network puts before the frames is left out.
    `phoneme_shares`: (P,) for each word, `maximum_shares` of its phonemes.
    """

    attention: np.ndarray | None
    phoneme_shares: tuple[np.ndarray, ...] | None


def see(network: nn.Module, read: Callable[[], object]) -> Seen:
    """What the network did while `read` let it read a batch of one utterance, once."""
    attentions, phonemes = cross_attentions(network), phoneme_networks(network)
    with torch.no_grad(), heard([network, *attentions, *phonemes]) as calls:
        read()
        [batch] = [given[0] for module, given in calls if module is network]
        return Seen(
            attention=_attention([c for c in calls if c[0] in attentions], batch),
            phoneme_shares=_phoneme_shares(phonemes, batch),
        )


def last_vectors(network: nn.Module, read: Callable[[], object]) -> Tensor | None:
    """(B, D) vectors that the network's `classifier` reads while `read` calls the network once.

    None if the network has no such layer, or if it does not read one vector an utterance.
    """
    classifier = getattr(network, "classifier", None)
    if not isinstance(classifier, nn.Linear):
        return None
    with torch.no_grad(), heard([classifier]) as calls:
        read()
    given = [arguments[0] for _, arguments in calls]
    return given[0] if len(given) == 1 and given[0].dim() == 2 else None


@contextlib.contextmanager
def heard(modules: Sequence[nn.Module]) -> Iterator[list[tuple[nn.Module, tuple[Any, ...]]]]:
    """Collects each call of the modules in the block: the module and its arguments, in order."""
    calls: list[tuple[nn.Module, tuple[Any, ...]]] = []

    def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
        calls.append((module, given))

    handles = [module.register_forward_pre_hook(keep) for module in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def cross_attentions(network: nn.Module) -> list[Attention]:
    """The attentions of a network's frames over its words, in the order of its layers."""
    layers = (m for m in network.modules() if isinstance(m, TransformerLayer))
    return [layer.cross_attention for layer in layers if layer.cross_attention is not None]


def phoneme_networks(network: nn.Module) -> list[CharCnn]:
    """What makes a word's vector from its phonemes in a network; empty without any."""
    return [m for m in network.modules() if isinstance(m, CharCnn)]


def maximum_shares(channels: Tensor, mask: Tensor) -> Tensor:
    """(W, P, C) values with a (W, P) mask → (W, P): the share of channels whose maximum each gives.

    Of the channels with a maximum above zero, the others being nothing after a ReLU. Of several
    positions with the same value, each has a part. The shares of a word sum to 1, or to 0 if it has
    no channel above zero.
    """
    real = channels.masked_fill(~mask[..., None], -torch.inf)
    highest = real.amax(dim=1, keepdim=True)
    gives = (real == highest) & (highest > 0)
    parts = gives / gives.sum(dim=1, keepdim=True).clamp(min=1)
    return parts.sum(dim=2) / (highest > 0).sum(dim=2).clamp(min=1)


def _attention(
    calls: Sequence[tuple[nn.Module, tuple[Any, ...]]], batch: Batch
) -> np.ndarray | None:
    weights = [
        module.weights(*given)[0].mean(dim=0)
        for module, given in calls
        if isinstance(module, Attention)
    ]
    if not weights:
        return None
    num_frames, num_words = int(batch.num_frames[0]), int(batch.num_words[0])
    mean = torch.stack(weights).mean(dim=0)
    before = len(mean) - batch.frames.shape[1]
    return _numpy(mean[before : before + num_frames, :num_words])


def _phoneme_shares(networks: Sequence[CharCnn], batch: Batch) -> tuple[np.ndarray, ...] | None:
    if not networks:
        return None
    words = batch.phonemes[0, : int(batch.num_words[0])]
    shares = maximum_shares(networks[0].convolve(words), words != 0)
    lengths = (words != 0).sum(dim=1).tolist()
    return tuple(_numpy(share[:n]) for share, n in zip(shares, lengths, strict=True))


def _numpy(values: Tensor) -> np.ndarray:
    found: np.ndarray = values.double().cpu().numpy()
    return found
