"""Loads the model, configuration and tokenizer of an encoder's folder: offline, silent, float32.

A folder's own code is never run, whatever its configuration names. Importing transformers takes
seconds, so only the functions here import it.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from mlt_ray.encoders.catalogue import CONFIG, LEFT_OUT, UNREAD
from mlt_ray.errors import UserError

ATTENTION = "mlt_ray"
"""Name under which our attention function is registered with transformers."""

_LOADING: Final = threading.Lock()
"""Held while transformers loads weights: meanwhile it replaces functions of torch and its own.

Two threads that loaded at once would put back each other's, for the rest of the process.
"""


def load_model(folder: Path, attention: Callable[..., Any] | None = None) -> Any:
    """The encoder as a torch module; on the meta device, with the shapes of its weights alone.

    `attention`, if given, replaces transformers' own attention; it has the signature of the
    functions in `transformers.AttentionInterface`. Raises `UserError` if the weights in `folder`
    are not those of the network that its config.json describes.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask
    from transformers.utils import logging

    options: dict[str, Any] = {}
    if attention is not None:
        AttentionInterface.register(ATTENTION, attention)
        AttentionMaskInterface.register(ATTENTION, eager_mask)
        options["attn_implementation"] = ATTENTION
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    kind, key_mapping = _class_of(folder)
    if torch.get_default_device().type == "meta":
        make = getattr(kind, "from_config", None) or kind._from_config
        return make(load_config(folder), dtype=torch.float32, **options)
    options["key_mapping"] = key_mapping
    # Weights of another size are told below, with all that is wrong.
    model, found = load_weights(kind, folder, ignore_mismatched_sizes=True, **options)
    if faults := _faults(model, found):
        raise UserError(
            f"{folder}: expected the weights of the {model.config.model_type} in {CONFIG}, got "
            f"{faults}; fetch the folder again, or name another encoder"
        )
    return model


def load_weights(kind: Any, folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A model of a class of transformers, and transformers' account of what it loaded.

    `options` are those of `from_pretrained`. Threads wait for each other.
    """
    with _LOADING:
        model, found = kind.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    return model, found


def _class_of(folder: Path) -> tuple[Any, dict[str, str] | None]:
    """The class of the encoder in `folder`, and how it finds its weights by their names there.

    Of Whisper, whose decoder is not read, it is the encoder alone.
    """
    from transformers import AutoModel

    if load_config(folder).model_type != "whisper":
        return AutoModel, None
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return WhisperEncoder, {r"^(model\.)?encoder\.": ""}


def _faults(model: Any, found: dict[str, Any]) -> str:
    """In words, the weights for which transformers has put random numbers or left some unread.

    `found` is its account of what it loaded. Heads for other tasks are no fault: they stand beside
    the parts of the network, not inside them.
    """
    parts = {name for name, _ in model.named_children()}
    missing = sorted(n for n in found["missing_keys"] if not n.startswith(UNREAD))
    shapes = {n: s for n, *s in found["mismatched_keys"] if not n.startswith(UNREAD)}
    unknown = sorted(found["unexpected_keys"])
    if model.config.model_type == "whisper":
        unknown = [name for name in unknown if not name.startswith(LEFT_OUT)]
    if not missing:
        names = ((n, n.removeprefix(f"{model.base_model_prefix}.")) for n in unknown)
        unknown = [n for n, own in names if own.split(".")[0] in parts]
    faults = []
    if missing:
        number = len(model.state_dict())
        faults.append(f"none for {len(missing)} of its {number} weights, such as {missing[0]}")
    if shapes:
        name = min(shapes)
        got, wanted = (" x ".join(map(str, shape)) for shape in shapes[name])
        faults.append(f"{len(shapes)} of another shape, such as {name} ({got} instead of {wanted})")
    if unknown:
        faults.append(f"{len(unknown)} that it does not have, such as {unknown[0]}")
    return ", and ".join(faults)


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
