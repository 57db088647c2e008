"""The networks of a row's runs, side by side, with inputs that are the same for all of them.

Shapes: M runs, B utterances, T steps, F values a frame, W words, P phonemes a word, V further word
vectors of D values, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mlt_ray.batch import NO_LABEL, Batch, InputSizes, real
from mlt_ray.errors import UserError
from mlt_ray.features.fitted import FittedInputs
from mlt_ray.inference.trained import TrainedModel, TrainedRun
from mlt_ray.inference.vocabulary import Vocabulary
from mlt_ray.models.layers import WordEmbedding
from mlt_ray.models.registry import build_model
from mlt_ray.models.system import System
from mlt_ray.training.learner import load_kept_state


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A batch of utterances as no run in particular reads it: the inputs of `Ensemble`.

    Ids are those of a `Vocabulary`. Padding is zero.
    """

    frames: Tensor  # (B, T, F) float32: means of `frames_per_step` frames, not normalised
    num_frames: Tensor  # (B,) int64
    words: Tensor  # (B, W) int64: ids; those from Vocabulary.num_words on are rows of word_vectors
    num_words: Tensor  # (B,) int64
    word_vectors: Tensor  # (V, D) float32, V at least 1: of words that the vocabulary lacks
    phonemes: Tensor  # (B, W, P) int64
    extras: Mapping[str, Tensor] = field(default_factory=dict)  # (B, …), not standardised

    def to(self, device: torch.device) -> "Inputs":
        """The same inputs on another device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if k != "extras"}
        return Inputs(**moved, extras={k: v.to(device) for k, v in self.extras.items()})


class Member(nn.Module):
    """The network of one run, and what the run has fitted on its training part.

    With `is_normalised`, the frames come as the network reads them.
    """

    mean: Tensor
    deviation: Tensor
    word_ids: Tensor
    phoneme_ids: Tensor

    def __init__(
        self, network: System, fitted: FittedInputs, vocabulary: Vocabulary, is_normalised: bool
    ) -> None:
        super().__init__()
        self.network = network.eval()
        self.normalises = not is_normalised
        self.num_own_words = 2 + len(fitted.words) + len(fitted.vectors)
        self.tables = [m for m in network.modules() if isinstance(m, WordEmbedding)]
        buffers = {
            "mean": torch.tensor(fitted.mean, dtype=torch.float32),
            "deviation": torch.tensor(fitted.deviation, dtype=torch.float32),
            "word_ids": torch.from_numpy(vocabulary.own_word_ids(fitted)),
            "phoneme_ids": torch.from_numpy(vocabulary.own_phoneme_ids(fitted)),
        }
        for name, extra in fitted.extras.items():
            if extra.moments is not None:
                mean, deviation = map(torch.from_numpy, extra.moments)
                buffers |= {f"{name}_mean": mean, f"{name}_deviation": deviation}
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, inputs: Inputs) -> Tensor:
        """→ (B, K) logits."""
        for table in self.tables:
            table.more = inputs.word_vectors
        logits: Tensor = self.network(self.batch(inputs))
        return logits

    def batch(self, inputs: Inputs) -> Batch:
        """The batch as this run's network reads it."""
        frames = inputs.frames
        if self.normalises:
            mask = real(inputs.num_frames, frames.shape[1])
            frames = (frames - self.mean) / self.deviation * mask[..., None]
        count = len(self.word_ids)
        known = self.word_ids[inputs.words.clamp(max=count - 1)]
        words = torch.where(inputs.words < count, known, inputs.words - count + self.num_own_words)
        extras = {name: self._standardised(name, x) for name, x in inputs.extras.items()}
        return Batch(
            utterances=torch.zeros_like(inputs.num_frames),
            labels=torch.full_like(inputs.num_frames, NO_LABEL),
            frames=frames,
            num_frames=inputs.num_frames,
            words=words,
            num_words=inputs.num_words,
            phonemes=self.phoneme_ids[inputs.phonemes],
            extras=extras,
        )

    def _standardised(self, name: str, values: Tensor) -> Tensor:
        mean: Any = getattr(self, f"{name}_mean", None)
        if mean is None:
            return values
        deviation: Any = getattr(self, f"{name}_deviation")
        return (values - mean) / deviation


class Ensemble(nn.Module):
    """The networks of a row's runs; `vocabulary` is what they know together.

    `reads_new_words`: whether words may come with vectors that the networks were not built for. A
    network of one's own whose table of word vectors is no `WordEmbedding` takes none.
    """

    def __init__(self, members: Sequence[Member], vocabulary: Vocabulary) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.vocabulary = vocabulary
        self.reads_new_words = all(member.tables for member in members)

    def forward(self, inputs: Inputs) -> Tensor:
        """→ (M, B, K) probabilities of each run, float64 softmax of its logits."""
        logits = [member(inputs) for member in self.members]
        return torch.stack(logits).double().softmax(dim=-1)


def build_ensemble(model: TrainedModel) -> Ensemble:
    """The networks of a trained model, on the CPU, in evaluation mode.

    `UserError` for weights that do not fit the specification.
    """
    vocabulary = Vocabulary.of(run.fitted for run in model.runs)
    members = [_member(model, run, vocabulary) for run in model.runs]
    return Ensemble(members, vocabulary).eval().requires_grad_(False)


def _member(model: TrainedModel, run: TrainedRun, vocabulary: Vocabulary) -> Member:
    values = model.spec.model
    try:
        network = build_model(values, sizes_of(model, run.fitted))
        load_kept_state(network, run.network_weights())
        is_normalised = model.is_by_speaker or not values.normalises_frames
        return Member(network, run.fitted, vocabulary, is_normalised)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"run {run.digest}: expected weights and fitted inputs of its network, got: {reason}; "
            "compute the run again, or export it again"
        ) from error


def sizes_of(model: TrainedModel, fitted: FittedInputs) -> InputSizes:
    """The sizes that the network of a run was built for."""
    spec = model.spec.model
    heard = spec.speech_encoder if not spec.normalises_frames else None
    return InputSizes(
        frame_dim=len(fitted.mean),
        num_phonemes=2 + len(fitted.phonemes),
        num_learned_words=2 + len(fitted.words),
        word_vectors=torch.from_numpy(model.vectors_of(fitted.vectors)),
        extras={name: extra.dim for name, extra in fitted.extras.items()},
        encoder=model.tools.folder_of(spec.text_encoder) if spec.text_encoder else None,
        num_classes=len(model.spec.classes),
        frame_layers=fitted.frame_layers,
        num_speech_layers=fitted.num_speech_layers,
        speech_encoder=model.tools.folder_of(heard) if heard else None,
    )
