"""Records the step of a pack on a GPU and replays it, to save the time of launching its kernels.

A step is a few thousand small kernels, and launching them takes longer than running them. A CUDA
graph is a recording of them that is launched at once. It reads and writes the same memory at every
replay, so it fits one set of shapes, and inputs are copied to where it reads them.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

Shape = tuple[int, ...]
Inputs = Mapping[str, Tensor]

Step = Callable[[Shape, Inputs], Tensor]
"""A function that can be recorded. It computes with tensors of one device only and reads none of
their values on the host; it may change tensors in place. `Shape` and the shapes of `Inputs` alone
decide its operations and their sizes."""

Recording = Callable[[], None]
"""Computes again what was recorded."""

Recorder = Callable[[Callable[[], None]], Recording]
"""Records the operations of a function, without computing them."""


class RecordedStep(NamedTuple):
    """The recording of a step, and the tensors that it reads and writes."""

    replay: Recording
    inputs: Inputs
    output: list[Tensor]


class ReplayedStep:
    """Computes a step: directly at the first call with new shapes, from then on by a recording."""

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self._step, self._recorder = step, recorder
        self._recorded: dict[tuple[Shape, ...], RecordedStep | None] = {}

    def __call__(self, shape: Shape, inputs: Inputs) -> Tensor:
        """The output of the step."""
        shapes = (shape, *(tuple(tensor.shape) for tensor in inputs.values()))
        if shapes not in self._recorded:
            # Not recorded yet: many shapes never come again, and tensors that are made once and
            # cached must exist before a recording.
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
    """A recorder of CUDA graphs. They share memory, since only one is replayed at a time."""
    pool = torch.cuda.graph_pool_handle()
    # Memory that graphs share is gone with the last of them, and torch then refuses its handle. A
    # pack drops all its graphs where half of its runs have ended, so the first is kept.
    first: list[torch.cuda.CUDAGraph] = []

    def record(step: Callable[[], None]) -> Recording:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            step()
        if not first:
            first.append(graph)
        return graph.replay

    return record


def rounded(size: int, per_octave: int) -> int:
    """`size` rounded up to one of a few sizes, `per_octave` of them from 2^n to 2^(n + 1)."""
    unit = max(1, (1 << (size - 1).bit_length()) // (2 * per_octave))
    return -(-size // unit) * unit
