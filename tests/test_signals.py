"""Ctrl-C is heeded wherever it comes."""

import signal
from collections.abc import Iterator

import pytest

from mlt_ray.signals import ENDING, ending, handle, kept
from tests.finaliser import Slow, drop_and_wait


@pytest.fixture(autouse=True)
def _() -> Iterator[None]:
    numbers = ENDING
    before = [signal.getsignal(number) for number in numbers]
    handle()
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_raises(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_a_signal_in_a_finaliser_raises_soon_after() -> None:
    with pytest.raises(KeyboardInterrupt):
        drop_and_wait(Slow())


def test_what_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert ending() == [signal.SIGINT, signal.SIGTERM]
    handle()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_what_a_library_puts_there_is_gone_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with kept():
        signal.signal(signal.SIGTERM, lambda *_: None)
    assert signal.getsignal(signal.SIGTERM) is before
