"""The token that Ray asks of whoever connects to it."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

CHOSEN: Final = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Variables by which the user gives a token of his own."""


def make_private() -> None:
    """Let a Ray that is started here have a token that nobody but this user can read.

    Whoever has it can run anything as the user. Ray would write it into the home, readable for all,
    and fail where there is no home; then it is in the environment of this process.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "token")
    if mode != "token" or any(name in os.environ for name in CHOSEN):
        return
    path = Path(os.path.expanduser("~")) / ".ray" / "auth_token"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            new = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, stat.S_IRUSR | stat.S_IWUSR)
            with open(new, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
        elif path.stat().st_uid == os.getuid() and path.stat().st_mode & OTHERS:
            path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    except FileExistsError:  # another command of the user has just written it
        return
    except OSError:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
