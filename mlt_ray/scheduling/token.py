"""The token that Ray asks of whoever connects to it."""

import os
import stat
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def keep_private() -> None:
    """Let nobody but this user read the token that Ray has written into their home.

    Whoever has it can run anything as the user, and Ray leaves the file readable for all.
    """
    path = Path.home() / ".ray" / "auth_token"
    if path.is_file() and path.stat().st_uid == os.getuid() and path.stat().st_mode & OTHERS:
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
