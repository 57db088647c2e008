"""The ways in which work can end early without a bug of ours."""

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


class UserError(Exception):
    """Input that cannot be used: one line saying where, expected, got and remedy.

    The command line prints the line and exits with code 2.
    """


class RunFailed(Exception):
    """A run whose numbers cannot be trusted, such as one whose loss is not finite.

    It leaves no report behind; the other runs go on.
    """


class RunStopped(Exception):
    """A run that was asked to stop between two epochs; its checkpoint holds what it has learnt.

    It leaves no report behind. Training the same run again goes on from the checkpoint.
    """


class StoreFull(UserError):
    """No space is left where a file of the store was to be written; no half of it is left."""


class StoreUnreachable(UserError):
    """A store behind a network that does not answer, or does not let us in."""
