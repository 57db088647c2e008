"""A speech encoder of random weights in a folder, small enough for every test to have its own."""

from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

WIDTH = 12
KERNELS, STRIDES = (10, 5, 3), (5, 4, 3)
SHORTEST = 10 + 5 * (5 - 1) + 5 * 4 * (3 - 1)
"""Samples that KERNELS and STRIDES need for one state."""


def write_speech_encoder(
    folder: Path,
    kind: str = "wav2vec2",
    *,
    norm: str = "group",
    do_normalize: bool = True,
    sample_rate_hz: int = 16_000,
    seed: int = 0,
) -> Path:
    """An encoder of `kind`, whose first convolution is normalised by `norm`; returns `folder`.

    Of Whisper it is the whole model, with a decoder, as OpenAI's folders are.
    """
    if kind == "whisper":
        return write_whisper(folder, sample_rate_hz, seed)
    values = {
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 17,
        "conv_dim": (7,) * 3,
        "conv_kernel": KERNELS,
        "conv_stride": STRIDES,
        "conv_pos_kernel_size": 5,
        "num_conv_pos_embeddings": 11,
        "num_conv_pos_embedding_groups": 3,
        "feat_extract_norm": norm,
        "do_stable_layer_norm": norm == "layer",
        "initializer_range": 0.5,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AutoModel.from_config(AutoConfig.for_model(kind, **values)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(
        sampling_rate=sample_rate_hz, do_normalize=do_normalize
    ).save_pretrained(folder)
    return folder


def write_whisper(folder: Path, sample_rate_hz: int = 16_000, seed: int = 0) -> Path:
    """A Whisper of 30 seconds, as all are, with two small blocks on either side."""
    config = WhisperConfig(
        d_model=WIDTH,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=17,
        decoder_ffn_dim=17,
        num_mel_bins=13,
        vocab_size=29,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        init_std=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(
        feature_size=13, sampling_rate=sample_rate_hz, hop_length=sample_rate_hz // 100
    ).save_pretrained(folder)
    return folder
