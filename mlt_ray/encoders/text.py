"""Text encoders: the word pieces of a text, and one frozen vector per text.

Shapes: B texts, L word pieces, E values of a vector. `folder` holds an encoder (see
`mlt_ray.encoders.folder`).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mlt_ray.encoders.pretrained import load_config, load_model, load_tokenizer
from mlt_ray.machine import device_of, torch_threads, usable_cpus

BLOCK, BATCH = 256, 32
"""Number of texts that are sorted by length together, and that are encoded together."""


OFFSET = ("roberta", "camembert", "mpnet", "xlm-roberta")
"""Families whose first position has the number behind the id of padding."""


class Opened:
    """Text encoders that are opened once and stay open, each by its folder."""

    def __init__(self) -> None:
        self._tokenizers: dict[Path, Any] = {}
        self._models: dict[tuple[Path, torch.device], Any] = {}

    def tokenizer(self, folder: Path) -> Any:
        """The tokenizer in a folder."""
        if folder not in self._tokenizers:
            self._tokenizers[folder] = load_tokenizer(folder)
        return self._tokenizers[folder]

    def model(self, folder: Path, device: torch.device) -> Any:
        """The model in a folder, on a device, in evaluation mode."""
        if (folder, device) not in self._models:
            self._models[folder, device] = load_model(folder).to(device).eval()
        return self._models[folder, device]


def padding_id(folder: Path) -> int:
    """Id that pads short texts; no word piece has it."""
    padding: int = load_config(folder).pad_token_id
    return padding


def word_pieces(
    folder: Path, texts: Sequence[str], opened: Opened | None = None
) -> Iterator[np.ndarray]:
    """Yield (L,) int32 ids of each text, CLS first; texts are cut to the encoder's positions.

    `opened` keeps the encoder open for the next call.
    """
    config, tokenizer = load_config(folder), (opened or Opened()).tokenizer(folder)
    max_pieces = min(tokenizer.model_max_length, num_positions(config))
    for start in range(0, len(texts), BLOCK):
        block = list(texts[start : start + BLOCK])
        for ids in tokenizer(block, truncation=True, max_length=max_pieces)["input_ids"]:
            yield np.asarray(ids, np.int32)


def num_positions(config: Any) -> int:
    """Longest text in word pieces; positions of RoBERTa's kin begin after the id of padding."""
    positions: int = config.max_position_embeddings
    return positions - (config.pad_token_id + 1 if config.model_type in OFFSET else 0)


def num_blocks(folder: Path) -> int:
    """Number of an encoder's blocks."""
    blocks: int = load_config(folder).num_hidden_layers
    return blocks


def cls_vectors(
    folder: Path,
    texts: Sequence[str],
    device: torch.device | None = None,
    opened: Opened | None = None,
) -> Iterator[np.ndarray]:
    """Yield (1, E) float32 for each text: the last hidden state at CLS (section 3.2.2).

    Without a `device`, a GPU computes them if there is one. `opened` keeps the encoder open.
    """
    return _vectors(folder, texts, lambda outputs, mask: outputs[:, 0], device, opened)


def sentence_vectors(
    folder: Path,
    texts: Sequence[str],
    device: torch.device | None = None,
    opened: Opened | None = None,
) -> Iterator[np.ndarray]:
    """Yield (1, E) float32 for each text: the mean of the last hidden states, scaled to norm 1.

    CLS and SEP are part of the mean, as in sentence-transformers.
    """
    return _vectors(folder, texts, mean_direction, device, opened)


def mean_vectors(
    folder: Path,
    texts: Sequence[str],
    device: torch.device | None = None,
    opened: Opened | None = None,
) -> Iterator[np.ndarray]:
    """Yield (1, E) float32 for each text: the mean of the last hidden states, CLS and SEP too."""
    return _vectors(folder, texts, mean_state, device, opened)


def mean_state(outputs: Tensor, mask: Tensor) -> Tensor:
    """(B, L, E) outputs, (B, L) mask → (B, E): the mean where the mask is 1."""
    return (outputs * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def mean_direction(outputs: Tensor, mask: Tensor) -> Tensor:
    """(B, L, E) outputs, (B, L) mask → (B, E): the mean where the mask is 1, scaled to norm 1."""
    return F.normalize((outputs * mask[..., None]).sum(dim=1), dim=1)


def _vectors(
    folder: Path,
    texts: Sequence[str],
    pool: Callable[[Tensor, Tensor], Tensor],
    device: torch.device | None = None,
    opened: Opened | None = None,
) -> Iterator[np.ndarray]:
    """Yield (1, E) float32 for each text: `pool` of the (B, L, E) outputs and their (B, L) mask."""
    device = device_of(device)
    opened = opened or Opened()
    model, pieces = opened.model(folder, device), word_pieces(folder, texts, opened)
    while block := list(islice(pieces, BLOCK)):
        vectors = np.empty((len(block), model.config.hidden_size), np.float32)
        order = sorted(range(len(block)), key=lambda n: len(block[n]))
        for start in range(0, len(block), BATCH):
            chosen = order[start : start + BATCH]
            ids = padded([block[n] for n in chosen], model.config.pad_token_id).to(device)
            mask = (ids != model.config.pad_token_id).long()
            with torch.no_grad(), torch_threads(usable_cpus()):
                outputs = model(input_ids=ids, attention_mask=mask).last_hidden_state
                vectors[chosen] = pool(outputs, mask).cpu().numpy()
        yield from vectors[:, None]


def padded(arrays: Sequence[np.ndarray], padding: int) -> Tensor:
    """(B, L) int64 ids; shorter arrays are padded with `padding` at the end."""
    ids = np.full((len(arrays), max(map(len, arrays))), padding, np.int64)
    for row, array in zip(ids, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(ids)
