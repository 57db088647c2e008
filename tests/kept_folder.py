"""Folders for what the tests of a process make once, removed when the process ends."""

import atexit
import shutil
import tempfile
from pathlib import Path


def kept_folder(name: str) -> Path:
    """A new empty folder, which is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
