"""Makes the batches of a pack on the device, so that no step waits for the host.

All utterances of the pack's folds are put into tables once. A batch is then a lookup at *places*,
the utterances' numbers in the tables. Place 0 is the empty utterance, which fills up batches.

Shapes: R runs, B utterances of the largest batch, S steps, N utterances in the tables, the empty
one included.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mlt_ray.batch import real
from mlt_ray.features.batching import KEPT_BYTES, FoldData
from mlt_ray.training.packs.host_batches import (
    FILL,
    HostBatches,
    Stacked,
    Steps,
    renumbered,
    stand_in_utterance,
)
from mlt_ray.training.packs.replay import rounded


@dataclass(frozen=True, kw_only=True)
class SequenceTable:
    """The sequences of N utterances in one tensor, one behind another, without padding.

    The first is that of the empty utterance: one row of zeros.
    """

    rows: Tensor  # (1 + sum of lengths, …)
    starts: Tensor  # (N,) int64
    lengths: Tensor  # (N,) int64

    @classmethod
    def of(cls, sequences: Sequence[Tensor], device: torch.device) -> "SequenceTable":
        """The table of (length, …) sequences; the empty utterance is added before them."""
        nothing = torch.zeros_like(sequences[0][:1])
        lengths = torch.tensor([1, *(len(s) for s in sequences)])
        return cls(
            rows=torch.cat([nothing, *sequences]).to(device),
            starts=(lengths.cumsum(0) - lengths).to(device),
            lengths=lengths.to(device),
        )

    def gather(self, places: Tensor, longest: int) -> tuple[Tensor, Tensor]:
        """(R, B) places → (R, B, `longest`, …) rows, zero in padding, and (R, B) lengths."""
        lengths, starts = self.lengths[places], self.starts[places]
        position = torch.arange(longest, device=places.device)
        here = real(lengths.flatten(), longest).unflatten(0, lengths.shape)
        return self.rows[(starts[..., None] + position) * here], lengths


class Sizes(NamedTuple):
    """Sizes of a batch: frames and words an utterance, phonemes a word."""

    frames: int
    words: int
    phonemes: int

    def rounded(self) -> "Sizes":
        """These sizes rounded up to a few that recur; frames grow by 3 % on average.

        A GPU's recording of a step fits one set of sizes only.
        """
        return Sizes(rounded(self.frames, 16), rounded(self.words, 4), rounded(self.phonemes, 2))


class DeviceBatches:
    """Makes batches on the device, from tables that lie there."""

    def __init__(
        self, folds: Mapping[int, FoldData], num_learned_words: int, device: torch.device
    ) -> None:
        """`folds` are by number. `num_learned_words` is the pack's: the largest of any fold."""
        self._folds, self._device = folds, device
        members = [(d, i) for d in folds.values() for i in members_of(d)]
        counts = [len(members_of(d)) for d in folds.values()]
        firsts = 1 + np.cumsum([0, *counts[:-1]])
        # By fold, then by index in the corpus.
        self._places = {
            number: dict(zip(members_of(data), range(first, first + count), strict=True))
            for (number, data), first, count in zip(folds.items(), firsts, counts, strict=True)
        }
        texts = [d.text(i) for d, i in members]
        frames = [torch.from_numpy(d.frames(i)) for d, i in members]
        widest = max(t.phonemes.shape[1] for t in texts)
        words = [
            renumbered(torch.from_numpy(t.words), d.num_learned_words, num_learned_words)
            for t, (d, _) in zip(texts, members, strict=True)
        ]
        phonemes = [torch.from_numpy(t.phonemes) for t in texts]
        self._frames = SequenceTable.of(frames, device)
        self._words = SequenceTable.of(words, device)
        self._phonemes = SequenceTable.of(
            [F.pad(p, (0, widest - p.shape[1])) for p in phonemes], device
        )
        labels = [d.corpus.labels[i] for d, i in members]
        self._labels = torch.tensor([FILL["labels"], *labels], device=device)
        self._utterances = torch.tensor([0, *(i for _, i in members)], device=device)
        weights = [d.weights(members_of(d)) for d in folds.values()]
        given = [w for w in weights if w is not None]
        self._weights = torch.cat([torch.zeros(1), *given]).to(device) if given else None
        extras = [d.extras(members_of(d)) for d in folds.values()]
        self._extras = {}
        for name, one in extras[0].items():
            empty = one.new_zeros(1, *one.shape[1:])
            self._extras[name] = torch.cat([empty, *(e[name] for e in extras)]).to(device)
        sizes = [(len(f), *t.phonemes.shape) for f, t in zip(frames, texts, strict=True)]
        self._sizes = np.asarray([(1, 1, 1), *sizes])

    def batches(self, steps: Steps, fold_numbers: Sequence[int]) -> Iterator[Stacked]:
        """The batch of every step, for runs on the folds with the (R,) `fold_numbers`."""
        places, sizes = self.places(steps, fold_numbers)
        for here, size in zip(places, sizes, strict=True):
            yield self.gather(here, size)

    def places(self, steps: Steps, fold_numbers: Sequence[int]) -> tuple[Tensor, list[Sizes]]:
        """(S, R, B) places of the utterances of all steps, and the largest sizes in each step."""
        places = self._places_of(steps, fold_numbers)
        sizes = self._sizes[places].max(axis=(1, 2)).tolist()
        return torch.as_tensor(places).to(self._device), [Sizes(*size) for size in sizes]

    def gather(self, places: Tensor, sizes: Sizes) -> Stacked:
        """The batch of the utterances at (R, B) places, padded to `sizes`."""
        frames, lengths = self._frames.gather(places, sizes.frames)
        words, word_counts = self._words.gather(places, sizes.words)
        phonemes, _ = self._phonemes.gather(places, sizes.words)
        weights = {} if self._weights is None else {"weights": self._weights[places]}
        return {
            "utterances": self._utterances[places],
            "labels": self._labels[places],
            "frames": frames,
            "num_frames": lengths,
            "words": words,
            "num_words": word_counts,
            "phonemes": phonemes[..., : sizes.phonemes],
            "extras": {name: value[places] for name, value in self._extras.items()},
            **weights,
        }

    def _places_of(self, steps: Steps, fold_numbers: Sequence[int]) -> np.ndarray:
        """(S, R, B) places; 0 where a batch has fewer utterances than the largest."""
        size = max(len(i) for step in steps for i in step if i is not None)
        places = np.zeros((len(steps), len(fold_numbers), size), np.int64)
        for at, step in zip(places, steps, strict=True):
            for row, indices, number in zip(at, step, fold_numbers, strict=True):
                chosen = stand_in_utterance(self._folds[number]) if indices is None else indices
                row[: len(chosen)] = [self._places[number][i] for i in chosen.tolist()]
        return places


def members_of(data: FoldData) -> list[int]:
    """The utterances of a fold's three parts, by their index in the corpus."""
    return [i for part in data.parts.values() for i in part]


def batches_for(
    folds: Mapping[int, FoldData], num_learned_words: int, device: torch.device
) -> DeviceBatches | HostBatches:
    """`DeviceBatches` if all frames and extra inputs fit, else `HostBatches`.

    They fit into a quarter of a GPU's free memory, or into `KEPT_BYTES` on a CPU.
    """
    room = torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else KEPT_BYTES
    values = sum(map(_num_values, folds.values()))
    kind = DeviceBatches if 4 * values <= room else HostBatches
    return kind(folds, num_learned_words, device)


def _num_values(data: FoldData) -> int:
    """Values of a fold's frames and extra inputs, if all of these are as large as the first."""
    members = members_of(data)
    an_utterance = sum(extra.numel() for extra in data.extras(members[:1]).values())
    return int(data.num_steps[members].sum()) * len(data.fitted.mean) + len(members) * an_utterance
