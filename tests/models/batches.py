"""Random batches for the tests of models, and changes of a batch that must not change logits."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mlt_ray.batch import Batch, InputSizes

FRAME_DIM, NUM_PHONEMES, NUM_LEARNED, NUM_VECTORS, VECTOR_DIM = 11, 17, 7, 13, 3
PROSODY_DIM, MOST_PHONEMES = 5, 5

SIZES = InputSizes(
    frame_dim=FRAME_DIM,
    num_phonemes=NUM_PHONEMES,
    num_learned_words=NUM_LEARNED,
    word_vectors=torch.randn(NUM_VECTORS, VECTOR_DIM, generator=torch.Generator().manual_seed(3)),
    extras={"prosody": PROSODY_DIM, "alignment": 2},
)


def made_up(num_frames: Sequence[int], num_words: Sequence[int], seed: int = 0) -> Batch:
    """Utterances of the given numbers of frames and words, the words spoken one after another."""
    generator = torch.Generator().manual_seed(seed)
    size, longest, most = len(num_frames), max(num_frames), max(num_words)
    batch = Batch(
        utterances=torch.arange(size) + 101,
        labels=torch.arange(size) % 4,
        frames=torch.randn(size, longest, FRAME_DIM, generator=generator),
        num_frames=torch.tensor(list(num_frames)),
        words=torch.randint(1, NUM_LEARNED + NUM_VECTORS, (size, most), generator=generator),
        num_words=torch.tensor(list(num_words)),
        phonemes=torch.zeros(size, most, MOST_PHONEMES, dtype=torch.int64),
        extras={
            "prosody": torch.randn(size, PROSODY_DIM, generator=generator),
            "alignment": torch.zeros(size, most, 2, dtype=torch.int64),
        },
    )
    batch.frames[~batch.frame_mask] = 0
    batch.words[~batch.word_mask] = 0
    for n, (t, w) in enumerate(zip(num_frames, num_words, strict=True)):
        edges = torch.arange(w + 1) * t // w
        spans = torch.stack([edges[:-1], torch.maximum(edges[1:], edges[:-1] + 1)], dim=1)
        batch.extras["alignment"][n, :w] = spans
        for k in range(w):
            spoken = int(torch.randint(1, MOST_PHONEMES + 1, (), generator=generator))
            ids = torch.randint(1, NUM_PHONEMES, (spoken,), generator=generator)
            batch.phonemes[n, k, :spoken] = ids
    return batch


def picked(batch: Batch, order: list[int]) -> Batch:
    """The utterances of `order`, without the padding that only the others need."""
    frames, words = int(batch.num_frames[order].max()), int(batch.num_words[order].max())
    extras = {name: extra[order] for name, extra in batch.extras.items()}
    if "alignment" in extras:
        extras["alignment"] = extras["alignment"][:, :words]
    if "pieces" in extras:
        extras["pieces"] = extras["pieces"][:, : int((extras["pieces"] != 0).sum(1).max())]
    return Batch(
        utterances=batch.utterances[order],
        labels=batch.labels[order],
        frames=batch.frames[order, :frames],
        num_frames=batch.num_frames[order],
        words=batch.words[order, :words],
        num_words=batch.num_words[order],
        phonemes=batch.phonemes[order, :words],
        extras=extras,
    )


def padded(batch: Batch) -> Batch:
    """The same utterances with more padding behind frames, words, phonemes and word pieces."""
    longer: dict[str, Tensor] = {}
    if "alignment" in batch.extras:
        longer["alignment"] = F.pad(batch.extras["alignment"], (0, 0, 0, 3))
    if "pieces" in batch.extras:
        longer["pieces"] = F.pad(batch.extras["pieces"], (0, 1))
    return replace(
        batch,
        frames=F.pad(batch.frames, (0, 0, 0, 17)),
        words=F.pad(batch.words, (0, 3)),
        phonemes=F.pad(batch.phonemes, (0, 2, 0, 3)),
        extras={**batch.extras, **longer},
    )


def littered(batch: Batch) -> Batch:
    """The same utterances with something else than zeros in the padding of frames and words."""
    return replace(
        batch,
        frames=batch.frames.masked_fill(~batch.frame_mask[..., None], 3.0),
        words=batch.words.masked_fill(~batch.word_mask, 2),
        phonemes=batch.phonemes.masked_fill(~batch.word_mask[..., None], 2),
    )
