"""Texts as a pre-trained encoder reads them: word pieces, and the vectors that it gives a text.

Shapes: B utterances, L pieces, E values of a vector. `folder` holds an encoder (see
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

BLOCK, BATCH = 256, 32
"""Texts that are sorted by length together, and that the encoder reads together."""


def padding_id(folder: Path) -> int:
    """The piece that stands where a text has ended; real pieces have other ids."""
    padding: int = load_config(folder).pad_token_id
    return padding


def word_pieces(folder: Path, texts: Sequence[str]) -> Iterator[np.ndarray]:
    """(L,) int32 ids of each text, CLS first; what the encoder has no position for is cut off."""
    config, tokenizer = load_config(folder), load_tokenizer(folder)
    longest = min(tokenizer.model_max_length, num_positions(config))
    for start in range(0, len(texts), BLOCK):
        block = list(texts[start : start + BLOCK])
        for ids in tokenizer(block, truncation=True, max_length=longest)["input_ids"]:
            yield np.asarray(ids, np.int32)


def num_positions(config: Any) -> int:
    """Pieces that an encoder has positions for; RoBERTa counts from behind the padding's id."""
    positions: int = config.max_position_embeddings
    return positions - (config.pad_token_id + 1 if config.model_type == "roberta" else 0)


def cls_vectors(folder: Path, texts: Sequence[str]) -> Iterator[np.ndarray]:
    """(1, E) float32 of each text: the frozen encoder's last output at CLS (section 3.2.2)."""
    return _vectors(folder, texts, lambda outputs, mask: outputs[:, 0])


def sentence_vectors(folder: Path, texts: Sequence[str]) -> Iterator[np.ndarray]:
    """(1, E) float32 of each text: the mean of the frozen encoder's last outputs, of length 1.

    CLS and SEP count like the other pieces, as in the models of sentence-transformers.
    """
    return _vectors(folder, texts, mean_direction)


def mean_direction(outputs: Tensor, mask: Tensor) -> Tensor:
    """(B, L, E) outputs, (B, L) mask → (B, E): the mean where the mask is 1, of length 1."""
    return F.normalize((outputs * mask[..., None]).sum(dim=1), dim=1)


def _vectors(
    folder: Path, texts: Sequence[str], pool: Callable[[Tensor, Tensor], Tensor]
) -> Iterator[np.ndarray]:
    """(1, E) float32 of each text: what `pool` makes of (B, L, E) outputs and their (B, L) mask."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(folder).to(device).eval()
    pieces = word_pieces(folder, texts)
    while block := list(islice(pieces, BLOCK)):
        vectors = np.empty((len(block), model.config.hidden_size), np.float32)
        order = sorted(range(len(block)), key=lambda n: len(block[n]))
        for start in range(0, len(block), BATCH):
            chosen = order[start : start + BATCH]
            ids = padded([block[n] for n in chosen], model.config.pad_token_id).to(device)
            mask = (ids != model.config.pad_token_id).long()
            with torch.no_grad():
                outputs = model(input_ids=ids, attention_mask=mask).last_hidden_state
                vectors[chosen] = pool(outputs, mask).cpu().numpy()
        yield from vectors[:, None]


def padded(arrays: Sequence[np.ndarray], padding: int) -> Tensor:
    """(B, L) int64 of B arrays of ids, `padding` behind the shorter ones."""
    ids = np.full((len(arrays), max(map(len, arrays))), padding, np.int64)
    for row, array in zip(ids, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(ids)
