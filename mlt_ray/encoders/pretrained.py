"""Loads what the folder of a pre-trained encoder holds: offline, without a word, in float32.

No other file imports transformers, which takes seconds; so the functions here import it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ATTENTION = "mlt_ray"
"""The name under which transformers finds an attention of ours."""


def load_model(folder: Path, attention: Callable[..., Any] | None = None) -> Any:
    """The encoder's module.

    `attention`, where given, computes attention in place of transformers' own; it is called as
    functions of `transformers.AttentionInterface` are.
    """
    from transformers import AttentionInterface, AttentionMaskInterface, AutoModel
    from transformers.masking_utils import eager_mask
    from transformers.utils import logging

    options = {}
    if attention is not None:
        AttentionInterface.register(ATTENTION, attention)
        AttentionMaskInterface.register(ATTENTION, eager_mask)
        options["attn_implementation"] = ATTENTION
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32, **options)


def load_config(folder: Path) -> Any:
    """The encoder's configuration."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, local_files_only=True)


def load_tokenizer(folder: Path) -> Any:
    """What cuts texts into the word pieces of a text encoder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def load_feature_extractor(folder: Path) -> Any:
    """What prepares samples for a speech encoder."""
    from transformers import AutoFeatureExtractor

    return AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
