"""Tapes: recordings of a step's operations, which stand in for CUDA graphs on a CPU.

A tape notes every operation of a step with its tensors. A replay computes the operations again on
the same memory and runs no Python code of the step. So it shows what a graph would get wrong: a
value that the step's Python code passes anew at each call keeps its recorded value.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mlt_ray.training.packs.replay import Recording

WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::item")
"""Operations whose result the host waits for, which no graph can record."""


class Noting(TorchDispatchMode):
    """Notes every operation inside the block, with its arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func._schema.name not in WAITING
        given = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, given))
        return given


class Tapes:
    """Records tapes, and counts how often one was replayed."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, step: Callable[[], None]) -> Recording:
        self.recorded += 1
        with Noting() as noting:
            step()
        is_first = True

        @torch.no_grad()
        def replay() -> None:
            nonlocal is_first
            self.replayed += 1
            if is_first:
                # Unlike a graph, a tape has already computed what it noted.
                is_first = False
                return
            for func, args, kwargs, before in noting.operations:
                now = func(*args, **kwargs)
                returns = func._schema.returns
                if not returns or any(r.alias_info for r in returns):
                    continue  # no new tensor: it changes an argument, or returns a view of one
                pairs = (
                    [(before, now)] if isinstance(now, Tensor) else zip(before, now, strict=True)
                )
                for place, value in pairs:
                    if isinstance(place, Tensor):
                        place.copy_(value)

        return replay
