"""The command ``mlt-ray``, also as ``python -m mlt_ray``."""

import sys
from typing import NoReturn

from mlt_ray.errors import INTERRUPTED


def main() -> NoReturn:
    """Entry point: a Ctrl-C while the command is still being loaded is a line, too."""
    try:
        from mlt_ray.cli import app
    except KeyboardInterrupt:
        print("\nmlt-ray: interrupted; nothing was begun", file=sys.stderr)
        sys.exit(INTERRUPTED)
    app.main()


if __name__ == "__main__":
    main()
