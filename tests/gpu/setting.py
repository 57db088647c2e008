"""What all stages share: inputs, device, timing, and counting of waits for the device."""

import contextlib
import gc
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mlt_ray.training.packs.replay import Recorder, Recording, cuda_graphs
from tests.gpu.inputs import Inputs, load
from tests.training.tapes import WAITING, Tapes

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """A stage's device and inputs. The inputs are loaded when they are first used.

    `quick`: few rows, few steps and narrow layers, to test the kit itself.
    """

    folder: Path
    room: Path
    device: torch.device
    quick: bool

    @cached_property
    def inputs(self) -> Inputs:
        """The inputs in the folder."""
        return load(self.folder, room=self.room)

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU; else a CPU stands in for one."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Wait until the device has computed everything."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def timed(self, function: Callable[[], T]) -> tuple[float, T]:
        """Seconds until the device has computed `function`, and the function's value."""
        self.wait()
        began = time.perf_counter()
        value = function()
        self.wait()
        return time.perf_counter() - began, value

    def forget(self) -> None:
        """Free unused memory of the device, and measure its peak from now on."""
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def memory(self) -> dict[str, float]:
        """Peak memory since `forget`: used by tensors, and reserved by torch."""
        if not self.is_gpu:
            return {}
        return {
            "gpu_memory_mib": torch.cuda.max_memory_allocated(self.device) / 2**20,
            "gpu_reserved_mib": torch.cuda.max_memory_reserved(self.device) / 2**20,
        }

    def recorder(self) -> "CountingRecorder":
        """CUDA graphs, or the tapes that stand in for them on a CPU."""
        return CountingRecorder(cuda_graphs() if self.is_gpu else Tapes())

    @contextlib.contextmanager
    def watching(self) -> Iterator["Counter[str]"]:
        """Counts, by line of code, how often the block makes the host wait for the device.

        On a CPU, where nothing waits, operations are counted that would wait for a GPU.
        """
        found: Counter[str] = Counter()
        if not self.is_gpu:
            with Waiting(found):
                yield found
            return
        self.wait()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield found
            finally:
                torch.cuda.set_sync_debug_mode("default")
        for warning in caught:
            # Torch also warns, once a process, that this mode is a prototype.
            if "synchroniz" in (text := str(warning.message)) and "prototype" not in text:
                found[f"{Path(warning.filename).name}:{warning.lineno}"] += 1


class Waiting(TorchDispatchMode):
    """Counts the operations whose result the host reads, and so waits for."""

    def __init__(self, found: "Counter[str]") -> None:
        super().__init__()
        self._found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in WAITING:
            self._found[_place()] += 1
        return func(*args, **(kwargs or {}))


def _place() -> str:
    """The innermost line of the stack that is not torch's."""
    frames = traceback.extract_stack()[:-2]
    outer = [f for f in frames if "/torch/" not in f.filename]
    return f"{Path(outer[-1].filename).name}:{outer[-1].lineno}"


class CountingRecorder:
    """Records by another recorder, and counts recordings, replays and seconds of recording."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.recorded = self.replayed = 0
        self.seconds = 0.0

    def __call__(self, step: Callable[[], None]) -> Recording:
        """Record a step."""
        began = time.perf_counter()
        replay = self._recorder(step)
        self.seconds += time.perf_counter() - began
        self.recorded += 1

        def again() -> None:
            self.replayed += 1
            replay()

        return again
