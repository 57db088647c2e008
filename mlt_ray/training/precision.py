"""How exactly a run's products are computed: what `TrainingSpec.precision` says, in torch's terms.

Weights, their gradients and the optimiser are float32 in every case.
"""

import contextlib
from collections.abc import Iterator

import torch

from mlt_ray.spec import Precision


@contextlib.contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Inside the block, float32 products of a GPU are rounded to TF32 where `precision` says so.

    Torch's own setting is for the whole process: products *and* convolutions are set, since
    cuDNN's convolutions would be TF32 unless told otherwise.
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
    """For one forward pass: products of bfloat16 values, where `precision` says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
