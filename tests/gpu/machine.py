"""Describes the device: versions, speed of matrix products and copies, time of a launch.

Speeds are those of the fastest of several repeats.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from typing import Any, Final

import torch

from mlt_ray.spec import Precision
from mlt_ray.training.precision import products
from tests.benchmarks.figures import machine
from tests.gpu.findings import Findings
from tests.gpu.setting import Setting

PACKAGES: Final = ("torchaudio", "transformers", "numpy", "scipy", "triton")
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "tf32", "bfloat16")
LAUNCHES: Final = 1000
REPEATS: Final = 5


def run(setting: Setting, findings: Findings) -> None:
    """Record all figures, versions first."""
    findings.measure("versions", lambda: versions(setting))
    for precision in PRECISIONS:
        if setting.is_gpu or precision == "float32":
            findings.measure(f"products in {precision}", lambda p=precision: rates(setting, p))
    findings.measure("copying", lambda: copying(setting))
    findings.measure("launching", lambda: launching(setting))


def versions(setting: Setting) -> dict[str, Any]:
    """The machine, its packages, and the device as the driver describes it."""
    found: dict[str, Any] = asdict(machine())
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    if setting.is_gpu:
        properties = torch.cuda.get_device_properties(setting.device)
        found |= {
            "gpu": properties.name,
            "gpu_memory_gib": properties.total_memory / 2**30,
            "multiprocessors": properties.multi_processor_count,
            "capability": ".".join(map(str, torch.cuda.get_device_capability(setting.device))),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def rates(setting: Setting, precision: Precision) -> dict[str, float]:
    """Floating-point operations per second of a large matrix product and of a pack of 15.

    Of the pack: a linear layer (15 runs, 4 utterances of 376 steps, 128 to 512 values) and scores
    of attention (240 heads of 32 values, 376 steps).
    """
    side = 256 if setting.quick else 8192
    shapes = {
        "large": ((side, side), (side, side)),
        "linear_layer": ((15, 1504, 128), (15, 128, 512)),
        "scores": ((240, 376, 32), (240, 32, 376)),
    }
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    found = {}
    with products(precision):
        for name, (one, other) in shapes.items():
            a = torch.randn(*one, device=setting.device).to(dtype)
            b = torch.randn(*other, device=setting.device).to(dtype)
            operations = 2 * a.numel() * other[-1]
            seconds = fastest(setting, lambda a=a, b=b: a @ b)
            found[f"{name}_tflop_per_s"] = operations / seconds / 1e12
    return found


def copying(setting: Setting) -> dict[str, float]:
    """Bytes read and written per second when one tensor is copied to another."""
    count = 2**20 if setting.quick else 2**28
    one = torch.zeros(count, device=setting.device)
    other = torch.empty_like(one)
    found = {"copy_tb_per_s": 8 * count / fastest(setting, lambda: other.copy_(one)) / 1e12}
    if setting.is_gpu:
        host = torch.zeros(2**24)
        for name, source in (("pageable", host), ("pinned", host.pin_memory())):
            seconds = fastest(setting, lambda source=source: source.to(setting.device))
            found[f"{name}_to_gpu_gb_per_s"] = 4 * len(host) / seconds / 1e9
    return found


def launching(setting: Setting) -> dict[str, float]:
    """Microseconds per small operation: launched one by one, and replayed from a CUDA graph."""
    value = torch.zeros(64, device=setting.device)

    def some() -> None:
        for _ in range(LAUNCHES):
            value.add_(1.0)

    some()
    setting.wait()
    began = time.perf_counter()
    some()
    host_s = time.perf_counter() - began
    found = {
        "launch_us": 1e6 * host_s / LAUNCHES,
        "launched_us": 1e6 * fastest(setting, some) / LAUNCHES,
    }
    if setting.is_gpu:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            some()
        found["replayed_us"] = 1e6 * fastest(setting, graph.replay) / LAUNCHES
    return found


def fastest(setting: Setting, function: Callable[[], Any]) -> float:
    """Seconds of the fastest of several calls, after one call that is not timed."""
    function()
    return min(setting.timed(function)[0] for _ in range(REPEATS))
