"""Speech encoders of random weights in the shape of published ones, to measure speed with."""

from pathlib import Path
from typing import Final

import torch
from transformers import (
    AutoModel,
    PretrainedConfig,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.utils import logging

WHISPER: Final = WhisperConfig(
    d_model=512,
    encoder_layers=6,
    encoder_attention_heads=8,
    encoder_ffn_dim=2048,
    # Nobody reads the decoder.
    decoder_layers=1,
    decoder_attention_heads=1,
    decoder_ffn_dim=1,
    vocab_size=4,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=1,
)
BASES: Final[dict[str, PretrainedConfig]] = {
    "whisper-base": WHISPER,
    "wav2vec2-base": Wav2Vec2Config(),
}
"""Configurations by name; those of transformers itself have the base models' sizes."""


def write_base(folder: Path, name: str) -> Path:
    """The encoder of one of `BASES`; returns `folder`."""
    logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(BASES[name]).save_pretrained(folder)
    is_whisper = BASES[name].model_type == "whisper"
    (WhisperFeatureExtractor if is_whisper else Wav2Vec2FeatureExtractor)().save_pretrained(folder)
    return folder
