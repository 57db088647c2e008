"""The second Ctrl-C ends a command at once, wherever it comes."""

import signal
from types import SimpleNamespace

import pytest

from mlt_ray.scheduling import interruption
from mlt_ray.scheduling.interruption import interruptible
from tests.finaliser import Slow, drop_and_wait


@pytest.fixture
def searcher(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for the searcher, without a Ray that could end."""
    monkeypatch.setattr(interruption, "end_with_ray", lambda: None)
    return SimpleNamespace(error=None, is_stopping=False, outage=SimpleNamespace())


def test_the_first_asks_and_the_second_raises(searcher: SimpleNamespace) -> None:
    with interruptible(searcher) as asked:  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)
        assert asked.is_asked
        assert searcher.is_stopping
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_one_that_comes_where_python_drops_exceptions_comes_again(
    searcher: SimpleNamespace,
) -> None:
    with interruptible(searcher):  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            drop_and_wait(Slow())
