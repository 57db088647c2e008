"""Batches of random utterances for models. A system's test file may override both fixtures."""

from collections.abc import Callable

import pytest
import torch

from mlt_ray.batch import Batch, InputSizes
from tests.models.batches import SIZES, made_up

pytest.register_assert_rewrite("tests.models.checks")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def sizes() -> InputSizes:
    return SIZES


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Random utterances of the given numbers of frames and words."""
    return made_up
