"""Opens the speech encoder in a folder, whatever its family, and tells its sizes."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mlt_ray.encoders.catalogue import RESEMBLYZER_WEIGHTS
from mlt_ray.encoders.pretrained import load_config, load_feature_extractor, load_model
from mlt_ray.encoders.resemblyzer import Resemblyzer
from mlt_ray.encoders.speech import SpeechEncoder
from mlt_ray.encoders.wav2vec2 import Wav2Vec2
from mlt_ray.encoders.wavlm import WavLM
from mlt_ray.encoders.whisper import Whisper

Attention = Callable[..., Any]
"""An attention function as `mlt_ray.encoders.pretrained.load_model` takes it."""


def open_encoder(
    folder: Path,
    device: torch.device,
    *,
    first: int | None = None,
    attention: Attention | None = None,
) -> SpeechEncoder:
    """The encoder in `folder` on `device`, in evaluation mode.

    With `first`, only what follows layer `first` is kept, and `start` cannot be called. `attention`
    replaces transformers' own.
    """
    encoder = _open(folder, attention)
    if first is not None:
        encoder.keep_blocks(first)
    return encoder.to(device).eval()


def _open(folder: Path, attention: Attention | None) -> SpeechEncoder:
    if (folder / RESEMBLYZER_WEIGHTS).exists():
        return Resemblyzer(folder)
    model, prepare = load_model(folder, attention), load_feature_extractor(folder)
    if model.config.model_type == "whisper":
        return Whisper(model, prepare)
    if model.config.model_type == "wavlm":
        return WavLM(model, prepare)
    return Wav2Vec2(model, prepare)


class EncoderShape(NamedTuple):
    """The sizes of a `SpeechEncoder`, and what it can do.

    `takes_adapters`: LoRA can train it. `pads_to_30s`: it was trained on 30 seconds.
    """

    num_layers: int
    width: int
    states_per_s: float
    takes_adapters: bool = True
    pads_to_30s: bool = False


def encoder_shape(folder: Path) -> EncoderShape:
    """The sizes of the encoder in `folder`, by its configuration, without its weights."""
    if (folder / RESEMBLYZER_WEIGHTS).exists():
        return EncoderShape(
            Resemblyzer.num_layers,
            Resemblyzer.width,
            Resemblyzer.states_per_s,
            takes_adapters=bool(Resemblyzer.lora_modules),
        )
    config, prepare = load_config(folder), load_feature_extractor(folder)
    if config.model_type == "whisper":
        rate = prepare.sampling_rate / (2 * prepare.hop_length)
        return EncoderShape(config.encoder_layers, config.d_model, rate, pads_to_30s=True)
    rate = prepare.sampling_rate / math.prod(config.conv_stride)
    return EncoderShape(config.num_hidden_layers, config.hidden_size, rate)
