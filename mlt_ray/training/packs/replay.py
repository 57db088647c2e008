"""Steps that a GPU replays: recorded once for each of their shapes, then launched as one.

A pack's step is a few thousand small kernels, and launching them one by one takes longer than they
do. A CUDA graph launches all of them at once, on the memory that it was recorded with.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

Shape = tuple[int, ...]
Inputs = Mapping[str, Tensor]

Step = Callable[[Shape, Inputs], Tensor]
"""Computes with tensors alone, on one device, waits for none, and may change some in place.

`Shape` and the shapes of `Inputs` decide its operations and their sizes.
"""

Recording = Callable[[], None]
"""Does again what was recorded."""

Recorder = Callable[[Callable[[], None]], Recording]
"""Records what a function computes, without computing it."""


class RecordedStep(NamedTuple):
    """A step's recording, and the memory that it reads and writes."""

    replay: Recording
    inputs: Inputs
    output: list[Tensor]


class ReplayedStep:
    """Calls a step, from its second call with the same shapes on as a recording."""

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self._step, self._recorder = step, recorder
        self._recorded: dict[tuple[Shape, ...], RecordedStep | None] = {}

    def __call__(self, shape: Shape, inputs: Inputs) -> Tensor:
        """The step's output."""
        shapes = (shape, *(tuple(tensor.shape) for tensor in inputs.values()))
        if shapes not in self._recorded:
            # As it is: many a shape never returns, and what is made once only must be made before.
            self._recorded[shapes] = None
            return self._step(shape, inputs)
        recorded = self._recorded[shapes]
        if recorded is None:
            recorded = self._recorded[shapes] = self._record(shape, inputs)
        for name, place in recorded.inputs.items():
            place.copy_(inputs[name])
        recorded.replay()
        [output] = recorded.output
        return output.clone()

    def _record(self, shape: Shape, inputs: Inputs) -> RecordedStep:
        places = {name: tensor.clone() for name, tensor in inputs.items()}
        output: list[Tensor] = []

        def step() -> None:
            output[:] = [self._step(shape, places)]

        return RecordedStep(self._recorder(step), places, output)


def cuda_graphs() -> Recorder:
    """Records as CUDA graphs; they share their memory, since one is replayed at a time."""
    pool = torch.cuda.graph_pool_handle()

    def record(step: Callable[[], None]) -> Recording:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            step()
        return graph.replay

    return record


def rounded(size: int, per_octave: int) -> int:
    """The size or the next larger one of those that come again: so many from 2^n to 2^(n + 1)."""
    unit = max(1, (1 << (size - 1).bit_length()) // (2 * per_octave))
    return -(-size // unit) * unit
