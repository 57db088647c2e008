"""Processes that train together."""

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch

IMPORTED = ("torch.distributed", "mlt_ray.training.loop", "mlt_ray.models.multilevel.network")
"""What every process needs, imported once by the server that they are forked from."""


def run_together(work: Callable[..., None], arguments: tuple[Any, ...], size: int) -> None:
    """Call `work` with a rank and the arguments in `size` processes; raises as one of them does."""
    multiprocessing.set_forkserver_preload(list(IMPORTED))
    torch.multiprocessing.start_processes(work, arguments, nprocs=size, start_method="forkserver")
