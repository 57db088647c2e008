"""Convolutions over time.

Shapes: B utterances, C and D channels, T positions, K inputs that a kernel sees.
"""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F


class Conv1d(nn.Conv1d):
    """`torch.nn.Conv1d` with a bias and stride 1, which a GPU computes as one matrix product.

    It is padded to the ``same`` length, or not at all (``valid``).

    Among the deterministic algorithms, cuDNN chooses Fourier transforms for it: on an H100, 2,080
    kernels and 42 of the 53 ms that the GPU took for a step of the highway row at the paper's
    sizes.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, padding: Literal["same", "valid"] = "valid"
    ) -> None:
        super().__init__(inputs, outputs, kernel, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) → (B, D, T), or (B, D, T − K + 1) without padding."""
        if x.is_cuda:
            return self.as_product(x)
        if self.padding == "same" and self.kernel_size[0] % 2 == 0:
            # Torch pads an even kernel itself, and warns that this takes a copy.
            return F.conv1d(padded(x, self), self.weight, self.bias)
        return super().forward(x)

    def as_product(self, x: Tensor) -> Tensor:
        """The convolution as one matrix product, on any device."""
        rows = windows(x, self).transpose(1, 2).flatten(2)
        return F.linear(rows, self.weight.flatten(1), self.bias).transpose(1, 2)


def windows(x: Tensor, convolution: nn.Conv1d) -> Tensor:
    """(…, T) → (…, T, K): the K inputs that the convolution sees at each position."""
    return padded(x, convolution).unfold(-1, convolution.kernel_size[0], 1)


def padded(x: Tensor, convolution: nn.Conv1d) -> Tensor:
    """(…, T) with the zeros that the convolution adds: as torch, an odd one behind."""
    missing = convolution.kernel_size[0] - 1
    if convolution.padding != "same":
        return x
    return F.pad(x, (missing // 2, missing - missing // 2))
