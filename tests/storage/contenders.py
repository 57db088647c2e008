"""How contenders for one lease notice that two of them have it."""

import os
from pathlib import Path


def alone_inside(mark: Path) -> bool:
    """Whether nobody else is inside at this moment; whoever is inside leaves a file."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    mark.unlink()
    return True
