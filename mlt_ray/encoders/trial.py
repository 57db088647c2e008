"""Tries an encoder, whole, before anything is computed with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ
from mlt_ray.encoders.catalogue import CONFIG, SPEECH, TEXT, Modality
from mlt_ray.encoders.opening import open_encoder
from mlt_ray.encoders.pretrained import load_config, load_tokenizer
from mlt_ray.encoders.speech import layer_states
from mlt_ray.encoders.text import cls_vectors, word_pieces
from mlt_ray.errors import UserError
from mlt_ray.machine import torch_threads, usable_cpus

TEXTS = ("so what", "")

_DEVICE = torch.device("cpu")
"""Not a GPU: the process that tries encoders would keep some of its memory from the runs."""


def try_encoder(folder: Path, modality: Modality) -> None:
    """Raise `UserError` unless the encoder in `folder` gives finite values for a sample.

    The line says what is wrong: weights that are missing, of other names or of another shape,
    pieces of the tokenizer that the network has no row for, or what transformers says itself.
    """
    try:
        with torch_threads(usable_cpus()):
            values = _TRIALS[modality.option](folder)
    except UserError:
        raise
    except Exception as error:  # what a damaged file makes of transformers can be anything
        raise UserError(
            f"{folder}: expected an encoder that reads {modality.sample}, got {_reason(error)}; "
            f"fetch it again, or {modality.remedy}"
        ) from error
    if not np.isfinite(values).all():
        bad = values[~np.isfinite(values)][0]
        raise UserError(
            f"{folder}: expected an encoder that gives finite values, got {bad} for "
            f"{modality.sample}; fetch it again, or {modality.remedy}"
        )


def _vectors_of_texts(folder: Path) -> np.ndarray:
    config, tokenizer = load_config(folder), load_tokenizer(folder)
    rows, padding = config.vocab_size, config.pad_token_id
    if (last := max(tokenizer.get_vocab().values())) >= rows:
        raise UserError(
            f"{folder}: expected word pieces below {rows}, the rows of the embedding, got a "
            f"tokenizer with {last}; {TEXT.remedy}"
        )
    pieces = [ids.tolist() for ids in word_pieces(folder, TEXTS)]
    if len(first := {tuple(ids[:1]) for ids in pieces}) > 1:
        raise UserError(
            f"{folder}: expected a tokenizer that begins every text with the same piece (CLS), got "
            f"{' and '.join(str(list(ids)) for ids in sorted(first))}; {TEXT.remedy}"
        )
    if padding is None:
        raise UserError(f"{folder / CONFIG}: expected a pad_token_id, got none; {TEXT.remedy}")
    if any(padding in ids for ids in pieces):
        raise UserError(
            f"{folder}: expected word pieces other than the padding {padding} (pad_token_id), got "
            f"it in the pieces of {TEXTS[0]!r}; {TEXT.remedy}"
        )
    return np.concatenate(list(cls_vectors(folder, TEXTS, _DEVICE)))


def _states_of_sound(folder: Path) -> np.ndarray:
    seconds = np.arange(SAMPLE_RATE_HZ // 2) / SAMPLE_RATE_HZ
    tone = 0.1 * np.sin(2 * np.pi * 220 * seconds)
    [states] = layer_states(open_encoder(folder, _DEVICE), [tone.astype(np.float32)])
    values: np.ndarray = states.numpy()
    return values


_TRIALS: dict[str, Callable[[Path], np.ndarray]] = {
    TEXT.option: _vectors_of_texts,
    SPEECH.option: _states_of_sound,
}


def _reason(error: Exception) -> str:
    """Kind and text of an error in one line, without torch's advice to run code in the file."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    if "weights_only" in text:
        text = "its weights are not tensors alone"
    return f"{kind}: {text[:300]}"
