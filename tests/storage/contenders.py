"""Shows whether two contenders have one lease at the same time."""

import os
from pathlib import Path


def alone_inside(mark: Path) -> bool:
    """True if no other contender is between creating and deleting the file `mark` now."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    mark.unlink()
    return True
