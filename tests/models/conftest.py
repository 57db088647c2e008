"""Batches of random utterances for models."""

from collections.abc import Callable, Sequence

import pytest
import torch

from mlt_ray.batch import Batch, InputSizes

FRAME_DIM, NUM_PHONEMES, NUM_LEARNED, NUM_VECTORS, VECTOR_DIM = 11, 17, 7, 13, 3


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def sizes() -> InputSizes:
    vectors = torch.randn(NUM_VECTORS, VECTOR_DIM, generator=torch.Generator().manual_seed(3))
    return InputSizes(
        frame_dim=FRAME_DIM,
        num_phonemes=NUM_PHONEMES,
        num_learned_words=NUM_LEARNED,
        word_vectors=vectors,
    )


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Random utterances of the given numbers of frames and words."""

    def make(num_frames: Sequence[int], num_words: Sequence[int], seed: int = 0) -> Batch:
        torch.manual_seed(seed)
        size, most_words = len(num_frames), max(num_words)
        frames = torch.zeros(size, max(num_frames), FRAME_DIM)
        words = torch.zeros(size, most_words, dtype=torch.int64)
        phonemes = torch.zeros(size, most_words, 5, dtype=torch.int64)
        for n, (t, w) in enumerate(zip(num_frames, num_words, strict=True)):
            frames[n, :t] = torch.randn(t, FRAME_DIM)
            words[n, :w] = torch.randint(1, NUM_LEARNED + NUM_VECTORS, (w,))
            for k in range(w):
                spoken = int(torch.randint(1, 6, ()))
                phonemes[n, k, :spoken] = torch.randint(1, NUM_PHONEMES, (spoken,))
        return Batch(
            utterances=torch.arange(size) + 101,
            labels=torch.arange(size) % 4,
            frames=frames,
            num_frames=torch.tensor(list(num_frames)),
            words=words,
            num_words=torch.tensor(list(num_words)),
            phonemes=phonemes,
        )

    return make
