"""Errors that end a command or a run early and are no bug of this package."""

import errno
from typing import Final

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its type's name if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_ANOTHER: Final = "or name another place"

_REMEDIES: Final = {
    errno.EACCES: f"expected a place that may be read and written; change it, {_ANOTHER}",
    errno.EPERM: f"expected a place that may be read and written; change it, {_ANOTHER}",
    errno.EROFS: f"expected a place that may be written; mount it so, {_ANOTHER}",
    errno.EEXIST: f"expected a folder, or nothing there; move it away, {_ANOTHER}",
    errno.ENOTDIR: f"expected folders in this path; move the file away, {_ANOTHER}",
    errno.EISDIR: f"expected a file; move the folder away, {_ANOTHER}",
    errno.ENAMETOOLONG: "expected a shorter name",
    errno.ELOOP: f"expected a file or a folder; remove the link, {_ANOTHER}",
    errno.ESTALE: f"mount the drive again, {_ANOTHER}",
    errno.ENOTCONN: f"mount the drive again, {_ANOTHER}",
    errno.EHOSTDOWN: f"mount the drive again, {_ANOTHER}",
    errno.EFBIG: f"raise the limit (ulimit -f), {_ANOTHER}",
}
"""What a user can do about a path that the system refuses, by error number."""

_EVERYWHERE: Final = {
    errno.ENOSPC: "free some, or name another place; what is finished is kept",
    errno.EDQUOT: "free some, or name another place; what is finished is kept",
    errno.EIO: "check the disk; what is finished is kept",
    errno.EMFILE: "allow more (ulimit -n 4096) and ask again; what is finished is kept",
    errno.ENFILE: "close other programs and ask again; what is finished is kept",
    errno.ENOMEM: "close other programs, or compute less at once; what is finished is kept",
}
"""What a user can do about what the machine lacks, whichever path it concerns, if any."""


def refusal(error: OSError) -> str | None:
    """What the system refuses and what a user can do about it, in one line.

    None for an error that is none of the user's surroundings, such as a file that is missing, which
    should have been looked for.
    """
    path = error.filename2 or error.filename
    if error.errno == errno.ENOENT and path is None:
        # Only asking for the current folder fails like this.
        return "working directory: expected one that exists, found it deleted; cd to another"
    remedy = _EVERYWHERE.get(error.errno or 0)
    if remedy is None and path is not None:
        remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None:
        return None
    where = "" if path is None else f"{path}: "
    return f"{where}{(error.strerror or '').lower()}; {remedy}"


LONGEST = 2000
"""Characters of the longest line that a user is told."""


class UserError(Exception):
    """A mistake in the user's input. Its one-line text says where, expected, got and remedy.

    The command line prints the line and exits with code 2. Line breaks in it, such as those of a
    name that is quoted, become spaces, and the middle of a text that nobody would read is left out.
    """

    def __init__(self, text: str) -> None:
        line = " ".join(text.splitlines())
        if len(line) > LONGEST:
            line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
        super().__init__(line)


class RunFailed(Exception):
    """A run that cannot give a valid result, for example because its loss is not finite.

    The text says why; who tells it names the run. No report is written. The other runs go on.
    """


class RunsFailed(Exception):
    """Runs of a study that left no report; the others are in the store.

    `failures` says why, a line each, beginning with the run's name. The text has them all.
    """

    def __init__(self, failures: tuple[str, ...]) -> None:
        runs = "1 run" if len(failures) == 1 else f"{len(failures)} runs"
        super().__init__("\n  ".join((f"{runs} failed", *failures)))
        self.failures = failures


class RunStopped(Exception):
    """A run that stopped between two epochs because it was asked to.

    No report is written. Training the same run again continues from its checkpoint.
    """


class StoreFull(UserError):
    """The disk of the store is full. No incomplete file is left."""


class RayDied(UserError):
    """Ray has ended under a command that needs it, as when the kernel kills it for its memory.

    What is finished and every checkpoint is in the store; the same command goes on from there.
    """


class StoreUnreachable(UserError):
    """A store behind a URI that does not answer or refuses access."""


class StoreSilent(StoreUnreachable):
    """A store behind a URI that does not answer now, as in an outage, and may do so later."""
