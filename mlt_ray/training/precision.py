"""Applies `TrainingSpec.precision`, the precision of matrix products and convolutions, to torch.

Weights, their gradients and the optimiser are float32 in every case.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from mlt_ray.errors import UserError
from mlt_ray.spec import NO_TF32, Precision

NO_BFLOAT16_LSTM = (
    "training.precision: expected a GPU, or a CPU with AVX-512, for bfloat16 in a system with an "
    "LSTM, found neither; set float32"
)
"""Text of the error for an LSTM in bfloat16 on a CPU for which oneDNN has none."""


def check_precision(precision: Precision, network: nn.Module, device: torch.device) -> None:
    """`UserError` if the device cannot compute the network in this precision."""
    if device.type != "cpu":
        return
    if precision == "tf32":
        raise UserError(NO_TF32)
    has_lstm = any(isinstance(module, nn.LSTM) for module in network.modules())
    if precision == "bfloat16" and has_lstm and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise UserError(NO_BFLOAT16_LSTM)


@contextlib.contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Inside the block, a GPU computes float32 products in TF32 if `precision` is ``tf32``.

    Torch has one setting for the whole process. Products *and* convolutions are set, since cuDNN
    computes convolutions in TF32 by default.
    """
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32 = before[1]


def casting(precision: Precision, device: torch.device) -> torch.autocast:
    """Context of one forward pass: products are in bfloat16 if `precision` is ``bfloat16``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
