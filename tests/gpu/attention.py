"""A trial: attention of a pack by torch's kernel, as the package calls it, and by plain products.

Torch's kernel never stores the weights of attention, and computes them again for the gradient. The
plain way stores them: N · H · T² values a layer.

Shapes: N utterances of all runs, H heads, T frames, d channels of a head.
"""

import statistics
from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from mlt_ray.models.attention import key_bias
from mlt_ray.spec import Precision
from mlt_ray.training.loop import deterministic
from mlt_ray.training.precision import products
from tests.gpu.findings import Findings
from tests.gpu.setting import Setting

UTTERANCES, HEADS, WIDTH = 60, 4, 32
"""A pack of 15 in batches of 4 at the paper's sizes."""

FRAMES: Final = (188, 376, 752)
USUAL: Final = 376
OTHER_PRECISIONS: Final[tuple[Precision, ...]] = ("tf32", "bfloat16")
REPEATS: Final = 10

Attend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def run(setting: Setting, findings: Findings) -> None:
    """Compare both ways, at several lengths and precisions."""
    if setting.quick:
        cases: list[tuple[int, Precision]] = [(32, "float32")]
    else:
        cases = [(frames, "float32") for frames in FRAMES]
        cases += [(USUAL, p) for p in OTHER_PRECISIONS if setting.is_gpu or p != "tf32"]
    for frames, precision in cases:
        findings.attempt(
            f"attention over {frames} frames, {precision}",
            lambda f=frames, p=precision: compared(setting, f, p),
        )


def kernel(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """As `Attention.mix`."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


def plain(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """The same by two products and a softmax."""
    q, k, v = (x.flatten(0, 1) for x in (query, key, value))
    hidden = bias.expand(-1, query.shape[1], -1, -1).flatten(0, 1)
    scores = torch.baddbmm(hidden, q, k.mT, alpha=q.shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(dim=-1), v).unflatten(0, query.shape[:2])


def compared(setting: Setting, frames: int, precision: Precision) -> dict[str, Any]:
    """Milliseconds of both ways, forward alone and with the gradient; and their difference."""
    count = 4 if setting.quick else UTTERANCES
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    generator = torch.Generator().manual_seed(3)
    shape = (count, frames, HEADS, WIDTH)
    values = [
        torch.randn(shape, generator=generator).to(setting.device, dtype).requires_grad_()
        for _ in range(4)
    ]
    lengths = torch.linspace(0.7 * frames, frames, count).round().to(setting.device)
    mask = torch.arange(frames, device=setting.device) < lengths[:, None]
    bias = key_bias(mask, None, dtype)
    figures: dict[str, Any] = {"precision": precision, "frames": frames}
    results: list[list[Tensor]] = []
    with deterministic(), products(precision):
        for name, attend in (("kernel", kernel), ("plain", plain)):
            setting.forget()
            found = timed(setting, attend, values, bias)
            results.append(found.pop("results"))
            figures |= {f"{name}_{key}": value for key, value in found.items()}
    pairs = [(a.float().cpu(), b.float().cpu()) for a, b in zip(*results, strict=True)]
    figures["difference"] = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    return figures


def timed(setting: Setting, attend: Attend, values: list[Tensor], bias: Tensor) -> dict[str, Any]:
    """Median milliseconds, peak memory, and the output with the three gradients."""
    *inputs, gradient = values

    def forward() -> Tensor:
        return attend(*(x.transpose(1, 2) for x in inputs), bias)

    def both() -> list[Tensor]:
        output = forward()
        return [output.detach(), *torch.autograd.grad(output, inputs, gradient.transpose(1, 2))]

    results = both()
    both()
    repeats = 1 if setting.quick else REPEATS
    times = {
        name: 1000 * statistics.median(setting.timed(step)[0] for _ in range(repeats))
        for name, step in (("forward_ms", forward), ("both_ms", both))
    }
    return {**times, **setting.memory(), "results": results}
