"""Ctrl-C is heeded wherever it comes."""

import contextlib
import signal
import time
from collections.abc import Iterator

import pytest

from mlt_ray.signals import ENDING, ending, handle, heeded


@pytest.fixture(autouse=True)
def _() -> Iterator[None]:
    numbers = ENDING
    before = [signal.getsignal(number) for number in numbers]
    handle()
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


class Slow:
    """An object whose end takes a while."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.01)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_raises(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_a_signal_in_a_finaliser_raises_soon_after() -> None:
    def drop(slow: Slow) -> None:
        del slow
        time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        drop(Slow())


def test_what_a_library_swallows_is_raised_at_the_end_of_the_block() -> None:
    def work() -> None:
        with heeded(), contextlib.suppress(BaseException):  # as some libraries do
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        work()
    with heeded():  # the next block does not hear of it
        pass


def test_what_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert ending() == [signal.SIGINT, signal.SIGTERM]
    handle()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
