"""Tries a model of one's own on three made-up utterances, before anything is computed.

What it must keep to (`mlt_ray.models.system`) shows in its logits: a model that breaks it trains
all the same, and gives other numbers in another batch.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.errors import UserError
from mlt_ray.models.contract import check_packable
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.faults import explained
from mlt_ray.models.registry import build_model
from mlt_ray.models.system import System
from mlt_ray.studies.study import Row

NUM_FRAMES, NUM_WORDS = (29, 17, 23), (3, 7, 5)
"""Frames and words of the three utterances."""

SYMBOLS, VECTOR_DIM, MOST_PHONEMES = 13, 300, 5
"""Size of each vocabulary, values of a word vector, phonemes of a word."""

TOLERANCE = 1e-4
"""Logits may differ by it, and by this share of their value: rounding gives about 1e-6."""


def try_model(row: Row, num_classes: int) -> None:
    """`UserError` if the row's model cannot be built, or breaks what it must keep to.

    It must give K = `num_classes` finite logits an utterance, the same ones again, with more
    padding and alone, and a gradient. A model that reads further inputs (`extras`) or an encoder's
    states is not tried.
    """
    model = row.model
    if model.extras or (model.frames or row.features.frames).encoder is not None:
        return
    frame_dim = row.features.frames.num_bins
    with torch.random.fork_rng(devices=[]), explained(model.source):
        torch.manual_seed(1)
        sizes = InputSizes(
            frame_dim=frame_dim,
            num_phonemes=SYMBOLS,
            num_learned_words=SYMBOLS,
            word_vectors=torch.randn(SYMBOLS, VECTOR_DIM),
            num_classes=num_classes,
        )
        network, batch = build_model(model, sizes), _made_up(frame_dim, num_classes)
        if model.can_be_packed:
            check_packable(network, model.source)
        _check_logits(network.eval(), batch, model.source)
        _check_gradient(network.train(), batch, model.source)


@torch.no_grad()
def _check_logits(network: System, batch: Batch, source: str) -> None:
    expected = network(batch)
    if not bool(expected.isfinite().all()):
        raise UserError(f"{source}: expected finite logits, got {expected.tolist()}")
    alone = [network(_only(batch, n)) for n in range(len(batch))]
    for found, what, remedy in (
        (network(batch), "a second call", "draw no random numbers in forward"),
        (
            network(_padded(batch)),
            "padding",
            "mask frames by batch.frame_mask and words by batch.word_mask wherever positions meet",
        ),
        (torch.cat(alone), "other utterances of the batch", "let each utterance stand for itself"),
    ):
        if not torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
            most = float((found - expected).abs().max())
            raise UserError(f"{source}: {what} changes the logits by up to {most:.2g}; {remedy}")


def _check_gradient(network: System, batch: Batch, source: str) -> None:
    set_dropout_keys(network, batch.utterances, 1)
    loss = network.loss(batch)
    if loss.shape != () or not loss.requires_grad:
        raise UserError(
            f"{source}: expected a loss of shape () that depends on weights, got shape "
            f"{tuple(loss.shape)}{'' if loss.requires_grad else ' without a gradient'}"
        )
    loss.backward()
    for name, weight in network.named_parameters():
        if weight.grad is not None and not bool(weight.grad.isfinite().all()):
            raise UserError(f"{source}: expected a finite gradient, got none for {name}")


def _made_up(frame_dim: int, num_classes: int) -> Batch:
    """A batch of random utterances, zero in padding."""
    shape = (len(NUM_WORDS), max(NUM_WORDS))
    batch = Batch(
        utterances=torch.arange(len(NUM_FRAMES)),
        labels=torch.arange(len(NUM_FRAMES)) % num_classes,
        frames=torch.randn(len(NUM_FRAMES), max(NUM_FRAMES), frame_dim),
        num_frames=torch.tensor(NUM_FRAMES),
        words=torch.randint(1, 2 * SYMBOLS, shape),
        num_words=torch.tensor(NUM_WORDS),
        phonemes=torch.randint(1, SYMBOLS, (*shape, MOST_PHONEMES)),
    )
    batch.frames[~batch.frame_mask] = 0
    batch.words[~batch.word_mask] = 0
    batch.phonemes[~batch.word_mask] = 0
    return batch


def _padded(batch: Batch) -> Batch:
    """The same utterances with more padding, in which anything may stand."""
    longer = replace(
        batch,
        frames=_longer(batch.frames),
        words=_longer(batch.words),
        phonemes=_longer(batch.phonemes),
    )
    longer.frames[~longer.frame_mask] = 3
    longer.words[~longer.word_mask] = 2
    longer.phonemes[~longer.word_mask] = 2
    return longer


def _longer(x: Tensor) -> Tensor:
    """(B, T, …) → (B, T + 4, …)."""
    return F.pad(x, (*(0, 0) * (x.dim() - 2), 0, 4))


def _only(batch: Batch, number: int) -> Batch:
    """One utterance by itself, without padding."""
    own: dict[str, Any] = {
        name: value[number : number + 1] for name, value in batch.tensors.items()
    }
    own["frames"] = own["frames"][:, : NUM_FRAMES[number]]
    for name in ("words", "phonemes"):
        own[name] = own[name][:, : NUM_WORDS[number]]
    return replace(batch, **own)
