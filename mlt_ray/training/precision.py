"""Applies `TrainingSpec.precision`, the precision of matrix products and convolutions, to torch.

Weights, their gradients and the optimiser are float32 in every case.
"""

import contextlib
from collections.abc import Iterator

import torch

from mlt_ray.spec import Precision


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
