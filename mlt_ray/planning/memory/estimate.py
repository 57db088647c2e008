"""Estimates the memory that a run takes, from the sizes of its network and of its corpus."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.encoders.opening import encoder_shape
from mlt_ray.encoders.pretrained import load_config
from mlt_ray.features.batch_order import (
    EVALUATION_BATCH,
    EVALUATION_PAIRS,
    TRAINING_PAIRS,
)
from mlt_ray.features.batching import KEPT_BYTES
from mlt_ray.features.egemaps import NUM_VALUES as EGEMAPS
from mlt_ray.features.prosody import NUM_VALUES as PROSODY
from mlt_ray.models.registry import is_network
from mlt_ray.planning.contents import Pretrained
from mlt_ray.planning.memory.needs import Memory
from mlt_ray.spec import ExtraInput, FeatureSpec, ModelSpec, RunSpec
from mlt_ray.training.footprint import Footprint, footprint

_FLOAT_BYTES: Final = 4

_COPIES_ALONE: Final = 4
"""Of each weight that is trained: its value, two moments of Adam, and its best value."""

_COPIES_IN_A_PACK: Final = 7
"""The same, and value and moments once more in the pack's tensors."""

_COPIES_OF_INPUTS: Final = 3
"""Of each extra input: as it was read, joined and standardised."""

_UTTERANCE_BYTES: Final = 4_096
"""An utterance's texts, names and ids."""

_PHONEMES: Final = 16
"""Phonemes of a word, at most."""


def memory_of(
    values: RunSpec, corpus: Corpus, pretrained: Pretrained, workers: int = 1
) -> Memory | None:
    """What a run takes on what counts of a corpus, in each of the `workers` that share its batches.

    The network is built and stepped on torch's meta device, with the longest utterances. None if
    that cannot be done: its encoder is not at hand, or it is a model of one's own that cannot be
    built there. One that can be built and not be stepped is taken to keep a few tensors of each
    layer's size (`mlt_ray.training.footprint`).
    """
    if not _has_encoders(values, pretrained):
        return None
    model, training = values.model, values.training
    longest = _Longest.of(values, corpus, pretrained)
    sizes = _sizes(model, longest, corpus, pretrained)
    inputs = len(corpus) * _UTTERANCE_BYTES
    frames = longest.total_steps * longest.frame_dim * _FLOAT_BYTES
    inputs += frames if frames <= KEPT_BYTES else 0
    for extra in model.extras:
        shape = _shape(extra, longest, pretrained)
        inputs += _COPIES_OF_INPUTS * len(corpus) * math.prod(shape) * _FLOAT_BYTES
    if not is_network(model):
        ngrams = longest.words * getattr(model, "ngrams", 0)
        fitted = len(corpus) * ngrams * _UTTERANCE_BYTES // 32
        return Memory(inputs=inputs, alone=fitted, in_a_pack=fitted, run_beside_gpu=fitted)
    trained = training.batch_size
    if training.batch_seconds is not None:
        most = 1000 * training.batch_seconds / (longest.step_ms * longest.steps)
        trained = max(1, int(min(most, len(corpus))))
    trained = math.ceil(min(trained, len(corpus)) / workers)
    trained = longest.pieces(trained, TRAINING_PAIRS)
    scored = longest.pieces(min(EVALUATION_BATCH, len(corpus)), EVALUATION_PAIRS)
    try:
        found = footprint(
            model,
            sizes,
            _batch(model, trained, longest, pretrained),
            _batch(model, scored, longest, pretrained),
        )
    except Exception:
        if model.source:
            return None
        raise
    return _of_network(found, inputs)


def _has_encoders(values: RunSpec, pretrained: Pretrained) -> bool:
    """Whether every encoder that a run reads has been found."""
    model = values.model
    speech = (model.speech_encoder, (model.frames or values.features.frames).encoder)
    known = [pretrained.speech_encoders.knows(name) for name in speech if name is not None]
    if model.text_encoder is not None:
        known.append(pretrained.encoders.knows(model.text_encoder))
    return all(known)


def _of_network(found: Footprint, inputs: int) -> Memory:
    frozen = found.weights - found.trained
    return Memory(
        inputs=inputs,
        alone=frozen + _COPIES_ALONE * found.trained + found.step,
        in_a_pack=frozen + _COPIES_IN_A_PACK * found.trained + found.step,
        run_beside_gpu=2 * found.weights,
    )


class _Longest(NamedTuple):
    """The sizes of the longest utterance of a corpus, as a row reads it, and those of a step.

    `total_steps` are those of all utterances.
    """

    steps: int
    words: int
    total_steps: int
    step_ms: float
    frame_dim: int
    frame_layers: int

    @classmethod
    def of(cls, values: RunSpec, corpus: Corpus, pretrained: Pretrained) -> "_Longest":
        features: FeatureSpec = values.features
        frames = values.model.frames or features.frames
        hop_ms, dim, layers = frames.hop_ms, frames.num_bins, 1
        if frames.encoder is not None:
            shape = encoder_shape(pretrained.speech_encoders.folder(frames.encoder))
            hop_ms, dim = 1000 / shape.states_per_s, shape.width
            layers += shape.num_layers if frames.layer == "weighted" else 0
        step_ms = hop_ms * features.frames_per_step
        most = features.max_steps or math.inf
        steps = [
            int(min(max(1, math.ceil(1000 * u.duration_s / step_ms)), most))
            for u in corpus.utterances
        ]
        words = max(1, max(len(u.text.split()) for u in corpus.utterances))
        return cls(
            steps=max(steps),
            words=int(min(words, features.max_words or math.inf)),
            total_steps=sum(steps),
            step_ms=step_ms,
            frame_dim=dim * layers,
            frame_layers=layers,
        )

    def pieces(self, size: int, most_pairs: int) -> int:
        """How many of so many utterances are computed at a time (`batch_order.split_batch`)."""
        return max(1, min(size, most_pairs // self.steps**2))


def _sizes(
    model: ModelSpec, longest: _Longest, corpus: Corpus, pretrained: Pretrained
) -> InputSizes:
    """The sizes that the network is built for, at most: words and phonemes of the whole corpus."""
    words = {word for u in corpus.utterances for word in u.text.casefold().split()}
    speech = next((extra for extra in model.extras if extra.name == "speech_layers"), None)
    shape = _shape(speech, longest, pretrained) if speech is not None else ()
    trains_speech = model.speech_encoder is not None and not model.normalises_frames
    return InputSizes(
        frame_dim=longest.frame_dim,
        num_phonemes=100,
        num_learned_words=len(words) // 4 + 2,
        word_vectors=torch.empty(len(words), pretrained.vectors.dim, device="meta"),
        extras={extra.name: _shape(extra, longest, pretrained)[-1] for extra in model.extras},
        encoder=_text_folder(model, pretrained),
        num_classes=len(corpus.classes),
        frame_layers=longest.frame_layers,
        num_speech_layers=shape[0] if len(shape) == 2 else 0,
        speech_encoder=pretrained.speech_encoders.folder(model.speech_encoder)
        if trains_speech and model.speech_encoder is not None
        else None,
    )


def _text_folder(model: ModelSpec, pretrained: Pretrained) -> Path | None:
    if model.text_encoder is None:
        return None
    return pretrained.encoders.folder(model.text_encoder)


def _shape(extra: ExtraInput, longest: _Longest, pretrained: Pretrained) -> tuple[int, ...]:
    """The shape of an extra input of one utterance."""
    fixed: Mapping[str, tuple[int, ...]] = {
        "alignment": (longest.words, 2),
        "prosody": (PROSODY,),
        "egemaps": (EGEMAPS,),
    }
    if extra.name in fixed:
        return fixed[extra.name]
    if extra.name == "speech_layers":
        of = encoder_shape(pretrained.speech_encoders.folder(extra.encoder))
        layers = (of.num_layers + 1,) if extra.layer == "weighted" else ()
        return (*layers, 2 * of.width)
    config = load_config(pretrained.encoders.folder(extra.encoder))
    if extra.name == "pieces":
        # A word has mostly one piece or two; two more begin and end a text.
        return (min(2 * longest.words + 2, config.max_position_embeddings),)
    return (config.hidden_size,)


_INTEGERS: Final = ("alignment", "pieces")
"""Extra inputs that are whole numbers."""


def _batch(model: ModelSpec, size: int, longest: _Longest, pretrained: Pretrained) -> Batch:
    """A batch of the longest utterance so many times, on the meta device."""
    steps, words = longest.steps, longest.words
    with torch.device("meta"):
        whole: dict[str, Any] = {"dtype": torch.int64}
        extras = {
            extra.name: torch.empty(
                size,
                *_shape(extra, longest, pretrained),
                dtype=torch.int64 if extra.name in _INTEGERS else torch.float32,
            )
            for extra in model.extras
        }
        return Batch(
            utterances=torch.empty(size, **whole),
            labels=torch.empty(size, **whole),
            frames=torch.empty(size, steps, longest.frame_dim),
            num_frames=torch.empty(size, **whole),
            words=torch.empty(size, words, **whole),
            num_words=torch.empty(size, **whole),
            phonemes=torch.empty(size, words, _PHONEMES, **whole),
            extras=extras,
        )
