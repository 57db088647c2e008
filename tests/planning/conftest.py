"""A text encoder for tests of planning."""

from pathlib import Path

import pytest

from tests.tiny_encoder import write_encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of a small text encoder."""
    return write_encoder(tmp_path / "tiny")
