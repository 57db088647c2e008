"""Ctrl-C is heeded wherever it comes."""

import signal
import time
from collections.abc import Iterator

import pytest

from mlt_ray.signals import ENDING, ending, handle


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


def test_what_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert ending() == [signal.SIGINT, signal.SIGTERM]
    handle()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
