"""Loads the model, configuration and tokenizer of an encoder's folder: offline, silent, float32.

A folder's own code is never run, whatever its configuration names. Importing transformers takes
seconds, so only the functions here import it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ATTENTION = "mlt_ray"
"""Name under which our attention function is registered with transformers."""


def load_model(folder: Path, attention: Callable[..., Any] | None = None) -> Any:
    """The encoder as a torch module.

    `attention`, if given, replaces transformers' own attention; it has the signature of the
    functions in `transformers.AttentionInterface`.
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
    return AutoModel.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, dtype=torch.float32, **options
    )


def load_config(folder: Path) -> Any:
    """The encoder's configuration."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a text encoder: texts to word pieces."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_feature_extractor(folder: Path) -> Any:
    """The preprocessor of a speech encoder: samples to input values."""
    from transformers import AutoFeatureExtractor

    return AutoFeatureExtractor.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
