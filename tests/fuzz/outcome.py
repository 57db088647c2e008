"""What any parser may do with any input: give a value, or say in one line why it gives none."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from mlt_ray.errors import UserError

T = TypeVar("T")

MOST_S = 20
"""Seconds that an input may take on a busy machine."""

LONGEST = 4000
"""Characters of the longest line that is told; paths may be long."""


class TooSlow(AssertionError):
    """An input that took longer than `MOST_S`."""


@contextmanager
def in_time() -> Iterator[None]:
    """Ends what takes longer than `MOST_S`."""

    def end(*_: Any) -> None:
        raise TooSlow(f"more than {MOST_S} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, MOST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def told_or_read(parse: Callable[..., T], *given: Any) -> T | None:
    """What a parser gives; None if it says in one line why it gives nothing."""
    try:
        with in_time():
            return parse(*given)
    except UserError as error:
        line = str(error)
        assert line.strip(), "an empty line"
        assert len(line.splitlines()) == 1, f"several lines: {line!r}"
        assert len(line) <= LONGEST, f"{len(line)} characters: {line[:200]!r}"
        return None
