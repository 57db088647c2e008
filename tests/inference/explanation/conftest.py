"""A store with small trained rows."""

import pytest
import torch

from mlt_ray.storage.store import Store
from tests.inference.explanation.trained import fill


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return fill(tmp_path_factory.mktemp("trained"))
    finally:
        torch.set_num_threads(before)
