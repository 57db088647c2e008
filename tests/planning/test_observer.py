import threading
import time

import pytest

from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.planning.observer import InBackground
from mlt_ray.spec import Run, RunSpec
from mlt_ray.storage.report import Epoch

RUN = Run(spec=RunSpec(corpus="c", model=MultilevelSpec()), fold=1, seed=1)
EPOCH = Epoch(epoch=1, train_loss=1.0, dev_loss=1.0, dev_wa=0.5, dev_ua=0.5, ended_ms=1)


class Slow:
    """Notes what it is told, once the gate is open; `breaks` names an event that it cannot take."""

    def __init__(self, breaks=None):
        self.gate = threading.Event()
        self.heard = []
        self.breaks = breaks

    def __getattr__(self, event):
        def hear(*values):
            self.gate.wait(10)
            if event == self.breaks:
                raise RuntimeError(f"cannot take {event}")
            self.heard.append((event, *values))

        return hear


def test_events_are_passed_on_in_order_without_being_waited_for():
    slow = Slow()
    with InBackground(lambda: slow) as background:
        background.started(RUN)
        background.epochs(RUN, [EPOCH])
        background.stopped(RUN)
        background.failed(RUN, "why")
        background.finished(RUN)
        assert slow.heard == []
        slow.gate.set()
    assert slow.heard == [
        ("started", RUN),
        ("epochs", RUN, [EPOCH]),
        ("stopped", RUN),
        ("failed", RUN, "why"),
        ("finished", RUN),
    ]


def test_an_error_of_the_observer_ends_the_block():
    slow = Slow(breaks="finished")
    slow.gate.set()
    background = InBackground(lambda: slow)
    background.finished(RUN)
    with pytest.raises(RuntimeError, match="cannot take finished"), background:
        pass


def test_an_error_inside_the_block_is_not_hidden_and_what_was_told_is_passed_on():
    slow = Slow(breaks="started")
    slow.gate.set()

    def block():
        with InBackground(lambda: slow) as background:
            background.finished(RUN)
            background.started(RUN)
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        block()
    assert slow.heard == [("finished", RUN)]


def test_a_ctrl_c_while_the_block_ends_drops_what_is_not_passed_on(monkeypatch):
    slow = Slow()
    background = InBackground(lambda: slow)
    shutdown = background._thread.shutdown

    def interrupted(wait=True, cancel_futures=False):
        if not cancel_futures:
            raise KeyboardInterrupt
        shutdown(wait=wait, cancel_futures=True)

    monkeypatch.setattr(background._thread, "shutdown", interrupted)
    for _ in range(50):
        background.finished(RUN)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), background:
        pass
    assert time.monotonic() - began < 5, "what is being passed on is waited for"
    slow.gate.set()
    shutdown()
    assert len(slow.heard) < 50


def test_what_cannot_be_made_ends_the_block():
    def make():
        raise RuntimeError("cannot be made")

    def block():
        with InBackground(make):
            pass

    with pytest.raises(RuntimeError, match="cannot be made"):
        block()


def test_the_observer_is_made_in_the_background():
    gate, heard = threading.Event(), []

    def make():
        gate.wait(10)
        heard.append("made")
        return Slow()

    with InBackground(make):
        assert heard == []
        gate.set()
    assert heard == ["made"]
