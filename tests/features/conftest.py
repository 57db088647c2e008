"""What several tests of features share."""

from pathlib import Path

import pytest

from mlt_ray.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")
