"""What lies in folders, to tell whether a command has changed it."""

import hashlib
import os
from pathlib import Path


def content(*folders: Path) -> dict[str, str]:
    """The hash of every file below folders, where links lead, and which folders there are."""
    found = {}
    for folder in folders:
        for parent, names, files in os.walk(folder):
            for name in (*names, *files):
                path = Path(parent, name)
                if path.is_symlink():
                    found[str(path)] = os.readlink(path)
                elif path.is_file():
                    found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
                else:
                    found[str(path)] = "no file"
    return found
