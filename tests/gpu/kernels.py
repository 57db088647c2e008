"""Counts a training step's kernel launches with torch's profiler, and lists the slowest kernels."""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from tests.gpu.setting import Setting

COSTLIEST: Final = 20
NAME_LENGTH: Final = 120
LAUNCHING: Final = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "hipLaunch", "hipExtLaunch")
"""Beginnings of the names of runtime calls that launch work on the device."""


def profiled(setting: Setting, function: Callable[[], Any], num_steps: int) -> dict[str, Any]:
    """Launches per step, kernels and their milliseconds per step, of what `function` computes.

    On a CPU, which has no launches, calls of operators are counted instead.
    """
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * setting.is_gpu
    setting.wait()
    with profile(activities=activities, acc_events=True) as found:
        function()
        setting.wait()
    events = found.key_averages()
    if setting.is_gpu:
        calls = [e for e in events if e.key.startswith(LAUNCHING)]
        kernels = [e for e in events if e.device_type == DeviceType.CUDA and _cost_us(e) > 0]
        figures: dict[str, Any] = {
            "launches_per_step": sum(e.count for e in calls) / num_steps,
            "kernels_per_step": sum(e.count for e in kernels) / num_steps,
            "kernel_ms_per_step": sum(map(_cost_us, kernels)) / 1000 / num_steps,
        }
    else:
        kernels = [e for e in events if _cost_us(e) > 0]
        figures = {
            "operator_calls_per_step": sum(e.count for e in kernels) / num_steps,
            "operator_ms_per_step": sum(map(_cost_us, kernels)) / 1000 / num_steps,
        }
    total = sum(map(_cost_us, kernels)) or 1.0
    figures["costliest"] = [
        {
            "name": e.key[:NAME_LENGTH],
            "calls_per_step": round(e.count / num_steps, 2),
            "us_per_step": round(_cost_us(e) / num_steps, 1),
            "share": round(_cost_us(e) / total, 4),
        }
        for e in sorted(kernels, key=_cost_us, reverse=True)[:COSTLIEST]
    ]
    return figures


def _cost_us(event: Any) -> float:
    """Microseconds of an event, without the events inside it."""
    on_gpu = event.device_type == DeviceType.CUDA
    return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)


def warmed_up(device: torch.device) -> None:
    """Use the profiler once: on a GPU it first loads a library for some seconds."""
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=activities, acc_events=True):
        torch.zeros(1, device=device).add_(1.0)
