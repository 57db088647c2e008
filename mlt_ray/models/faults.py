"""Says in one line where the file of a model of one's own is at fault."""

import contextlib
import traceback
from collections.abc import Iterator

from mlt_ray.errors import RunFailed, RunStopped, UserError


@contextlib.contextmanager
def explained(source: str) -> Iterator[None]:
    """An exception that has passed the file leaves the block as a `UserError`.

    `source` is the `ModelSpec.source` of the file's systems. The text begins with the file's name
    and line. Any other exception stays as it is, as do all where `source` is empty.
    """
    try:
        yield
    except (UserError, RunFailed, RunStopped):
        raise
    except (Exception, SystemExit) as error:
        fault = _fault(error, source)
        if fault is None:
            raise
        raise UserError(fault) from error


def _fault(error: BaseException, source: str) -> str | None:
    """``file:line: what``, the line being the last one of the file that the error has passed."""
    name = source.rpartition("@")[0]
    lines = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__") == source
    ]
    text = next(iter(str(error).splitlines()), "")
    # Python names no file where the source holds a null byte.
    if isinstance(error, SyntaxError) and error.filename in (name, None):
        lines, text = [error.lineno or 1], error.msg
    if not source or not lines:
        return None
    said = f"{name}:{lines[-1]}: {type(error).__name__}{': ' if text else ''}{text}"
    if isinstance(error, ImportError):
        said += "; a model's file can import mlt_ray and installed packages, but no file beside it"
    return said
