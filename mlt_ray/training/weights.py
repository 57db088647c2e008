"""The file of a network's weights: safetensors, which holds arrays and nothing that is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from mlt_ray.errors import UserError

WEIGHTS_FILE: Final = "weights.safetensors"
"""Name of the file in a run's folder."""

EARLIER_FILE: Final = "weights.pt"
"""Name of the file that earlier versions wrote, by `torch.save`."""


def weights_bytes(weights: Mapping[str, Tensor]) -> bytes:
    """The content of a file with the weights, by name, that `read_weights` reads."""
    from safetensors.torch import save

    # Cloned: the format refuses tensors that share their memory.
    content: bytes = save({name: value.detach().cpu().clone() for name, value in weights.items()})
    return content


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a file, by name; `UserError` if it is damaged."""
    from safetensors.torch import load_file

    try:
        if path.name == EARLIER_FILE:
            return dict(torch.load(path, map_location="cpu", weights_only=True))
        return load_file(path)
    except MemoryError:
        raise
    except Exception as error:  # of many types, if the file is damaged
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: expected a network's weights, got: {reason}; delete the run's folder to "
            "compute it again"
        ) from error
