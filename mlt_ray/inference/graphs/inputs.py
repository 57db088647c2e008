"""The inputs of a model's graph: what they are, for a reader, and examples to trace and check it.

Shapes: B utterances, T steps, F values a frame, W words, P phonemes a word, L word pieces, S
layers of an encoder.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from mlt_ray.batch import real
from mlt_ray.encoders.text import padding_id
from mlt_ray.inference.ensemble import Inputs
from mlt_ray.inference.trained import TrainedModel
from mlt_ray.inference.vocabulary import Vocabulary

OWN: Final = ("frames", "num_frames", "words", "num_words", "word_vectors", "phonemes")
"""The inputs that are no extra ones."""

DESCRIBED: Final[Mapping[str, str]] = {
    "frames": "means of frames_per_step frames, zero behind the end of an utterance",
    "num_frames": "steps of each utterance, at least 1",
    "words": "ids: 0 padding, 1 unknown, from 2 on `words`, then the rows of word_vectors",
    "num_words": "words of each utterance, at least 1",
    "word_vectors": "pre-trained vectors of words that are not in `words`; at least one row",
    "phonemes": "ids of each word's phonemes: 0 padding, 1 unknown, from 2 on `phonemes`",
    "alignment": "first step of each word, and the step behind its last",
    "prosody": "prosody of the recording (openSMILE)",
    "egemaps": "eGeMAPS of the recording (openSMILE)",
    "pieces": "ids of the text encoder's word pieces, padded with its own id for padding",
    "text_embedding": "the text encoder's last state at CLS",
    "text_mean": "mean of the text encoder's last states",
    "sentence_embedding": "the sentence encoder's vector of the text",
    "speech_layers": "mean and deviation over time of the speech encoder's states",
}
"""What each input is."""

FIRST_PIECE, PIECES = 3, 40
"""Word pieces of made-up texts; every encoder has them."""

_PHONEMES, _VECTORS, _LONGEST_TEXT = 5, 3, 11


def made_up(
    model: TrainedModel,
    num_frames: Sequence[int],
    num_words: Sequence[int],
    *,
    with_new_words: bool = False,
) -> Inputs:
    """Random inputs of the model, for utterances of so many steps and words.

    `with_new_words`: every other word is none of the vocabulary, but a row of the word vectors.
    """
    generator = torch.Generator().manual_seed(len(num_frames))
    vocabulary = Vocabulary.of(run.fitted for run in model.runs)
    size, steps, words = len(num_frames), max(num_frames), max(num_words)
    fitted = model.runs[0].fitted
    spoken = real(torch.tensor(num_words), words)
    deviation = torch.tensor(fitted.deviation)

    def ids(count: int, *shape: int) -> Tensor:
        return torch.randint(1, max(count, 2), shape, generator=generator)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    drawn = ids(vocabulary.num_words, size, words)
    if with_new_words:
        rows = torch.arange(words) // 2 % _VECTORS
        drawn = torch.where(torch.arange(words) % 2 == 0, vocabulary.num_words + rows, drawn)
    frames = torch.tensor(fitted.mean) + deviation * numbers(size, steps, len(deviation))
    return Inputs(
        frames=frames * real(torch.tensor(num_frames), steps)[..., None],
        num_frames=torch.tensor(num_frames),
        words=drawn * spoken,
        num_words=torch.tensor(num_words),
        word_vectors=numbers(_VECTORS, model.vector_dim),
        phonemes=ids(2 + len(vocabulary.phonemes), size, words, _PHONEMES) * spoken[..., None],
        extras={
            extra.name: _extra(extra.name, extra.encoder, model, num_frames, num_words, generator)
            for extra in model.spec.model.extras
        },
    )


def _extra(
    name: str,
    encoder: str,
    model: TrainedModel,
    num_frames: Sequence[int],
    num_words: Sequence[int],
    generator: torch.Generator,
) -> Tensor:
    """(B, …) random values of an extra input."""
    fitted, size = model.runs[0].fitted, len(num_frames)
    if name == "alignment":
        # Each word has its share of the steps, and at least one.
        spans = torch.zeros(size, max(num_words), 2, dtype=torch.int64)
        for n, (steps, words) in enumerate(zip(num_frames, num_words, strict=True)):
            edges = torch.arange(words + 1) * steps // words
            spans[n, :words] = torch.stack([edges[:-1], edges[1:].maximum(edges[:-1] + 1)], dim=1)
        return spans
    if name == "pieces":
        lengths = torch.arange(size) % _LONGEST_TEXT + 1
        last = FIRST_PIECE + PIECES
        pieces = torch.randint(FIRST_PIECE, last, (size, int(lengths.max())), generator=generator)
        hidden = ~real(lengths, pieces.shape[1])
        return pieces.masked_fill(hidden, padding_id(model.tools.folder_of(encoder)))
    layers = (fitted.num_speech_layers,) if fitted.num_speech_layers else ()
    shape = layers if name == "speech_layers" else ()
    return torch.randn(size, *shape, fitted.extras[name].dim, generator=generator)


def tensors_of(inputs: Inputs) -> dict[str, Tensor]:
    """The inputs by name, extras among them."""
    return {**{name: getattr(inputs, name) for name in OWN}, **inputs.extras}


def inputs_of(tensors: Mapping[str, Tensor]) -> Inputs:
    """The inputs with these tensors, by name."""
    extras = {name: x for name, x in tensors.items() if name not in OWN}
    return Inputs(**{name: tensors[name] for name in OWN}, extras=extras)
