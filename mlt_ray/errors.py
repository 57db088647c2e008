"""Errors that end a command or a run early and are no bug of this package."""

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its type's name if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class UserError(Exception):
    """A mistake in the user's input. Its one-line text says where, expected, got and remedy.

    The command line prints the line and exits with code 2.
    """


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
