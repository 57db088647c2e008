"""A store that several machines use, each with a mirror of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlt_ray.storage.mirror import CACHE_VARIABLE
from mlt_ray.storage.store import Store


@pytest.fixture
def on(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Store]:
    """Function that opens the store at `uri` on the machine of a given name."""

    def open_store(machine: str) -> Store:
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / machine))
        return Store(uri)

    return open_store
