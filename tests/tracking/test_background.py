"""The thread that tells MLflow: in order, never waited for, and it ends in time."""

import threading
import time

import pytest

from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.spec import Run, RunSpec
from mlt_ray.storage.record import RowRecord
from mlt_ray.storage.report import Epoch
from mlt_ray.tracking import background as module
from mlt_ray.tracking.background import InBackground
from mlt_ray.tracking.tracker import Gated, Left

SPEC = RunSpec(corpus="c", model=MultilevelSpec())
RUNS = [Run(spec=SPEC, fold=fold, seed=seed) for seed in range(1, 5) for fold in range(1, 6)]
RUN = RUNS[0]


def epoch(number):
    return Epoch(epoch=number, train_loss=1.0, dev_loss=1.0, dev_wa=0.5, dev_ua=0.5, ended_ms=1)


class Slow:
    """A tracker that notes what it is told, once the gate is open.

    `breaks` names an event that it cannot take. Each event is several calls of a client.
    """

    place, sync_command, broken = "there", "mlt-ray sync --store here", ""

    def __init__(self, breaks=None):
        self.gate = threading.Event()
        self.heard = []
        self.breaks = breaks
        self.is_left = threading.Event()
        self.client = Gated(self, self.is_left)

    def leave(self):
        self.is_left.set()

    def write(self, event):
        self.heard.append(event)

    def __getattr__(self, event):
        def hear(*values):
            self.gate.wait(10)
            if event == self.breaks:
                raise RuntimeError(f"cannot take {event}")
            if event == "finished_runs" and not values[0]:
                return
            try:
                self.client.write((event, *values))
            except Left:
                return

        return hear


def test_events_are_passed_on_in_the_order_of_each_run_without_being_waited_for():
    slow = Slow()
    row = RowRecord(name="one", spec={}, runs=())
    with InBackground(lambda: slow) as background:
        background.add("s", row)
        background.epochs(RUN, [epoch(1)])
        background.epochs(RUN, [epoch(2)])
        background.stopped(RUN)
        background.failed(RUNS[1], "why")
        background.finished(RUNS[2])
        background.finished(RUNS[3])
        background.note("s", "one", {"state": "complete"})
        background.started(RUN)
        background.epochs(RUN, [epoch(3)])
        assert slow.heard == []
        slow.gate.set()
    seen = {kind: [one for one in slow.heard if one[0] == kind] for kind, *_ in slow.heard}
    assert slow.heard[0] == ("add", "s", row)
    ours = [one for one in slow.heard if one[0] in ("epochs", "stopped") and one[1] == RUN]
    told = [e.epoch for kind, _, *rest in ours if kind == "epochs" for e in rest[0]]
    assert told == [1, 2, 3]
    assert [kind for kind, *_ in ours].index("stopped") < len(ours) - 1
    assert seen["failed"] == [("failed", RUNS[1], "why")]
    assert [run for _, runs in seen["finished_runs"] for run in runs] == RUNS[2:4]
    noted = slow.heard.index(("note", "s", "one", {"state": "complete"}))
    assert noted > max(slow.heard.index(one) for one in seen["finished_runs"])


def test_runs_that_finish_while_mlflow_is_slow_are_written_together():
    slow = Slow()
    with InBackground(lambda: slow) as background:
        background.epochs(RUN, [epoch(1)])
        while not background._queue.is_empty:
            time.sleep(0.01)
        for run in RUNS:
            background.epochs(run, [epoch(1)])
            background.finished(run)
        slow.gate.set()
    # Their reports have the curves.
    assert slow.heard == [("epochs", RUN, [epoch(1)]), ("finished_runs", RUNS)]


def test_a_queue_that_is_full_is_made_up_for_from_the_store(monkeypatch, capsys):
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    slow = Slow()
    with InBackground(lambda: slow) as background:
        background.epochs(RUN, [epoch(1)])
        while not background._queue.is_empty:
            time.sleep(0.01)
        for run in RUNS:
            background.finished(run)
        background.stopped(RUNS[5])
        assert len(background._queue.runs) == 3
        slow.gate.set()
    assert slow.heard[1:] == [("finished_runs", RUNS[:3]), ("sync",)]
    assert "lacks the curves of 1 runs" in capsys.readouterr().err


def test_an_error_of_the_tracker_ends_the_block():
    slow = Slow(breaks="finished_runs")
    slow.gate.set()
    background = InBackground(lambda: slow)
    background.finished(RUN)
    with pytest.raises(RuntimeError, match="cannot take finished_runs"), background:
        pass


def test_an_error_of_the_tracker_is_raised_at_the_next_event():
    slow = Slow(breaks="finished_runs")
    slow.gate.set()
    background = InBackground(lambda: slow)
    background.finished(RUN)
    background._thread.join()
    for event in (
        lambda: background.started(RUN),
        lambda: background.epochs(RUN, [epoch(1)]),
        lambda: background.note("s", "one", {}),
    ):
        with pytest.raises(RuntimeError, match="cannot take finished_runs"):
            event()


def test_an_error_inside_the_block_is_not_hidden_and_what_was_told_is_passed_on():
    slow = Slow(breaks="sync")
    slow.gate.set()

    def block():
        with InBackground(lambda: slow) as background:
            background.finished(RUN)
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        block()
    assert slow.heard == [("finished_runs", [RUN])]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_block_ends_in_time_and_says_what_is_missing(error, capsys):
    slow = Slow()

    def block():
        with InBackground(lambda: slow, patience_s=0.2) as background:
            for run in RUNS:
                background.finished(run)
            raise error

    began = time.monotonic()
    with pytest.raises(error):
        block()
    assert time.monotonic() - began < 5, "what is being written is waited for"
    said = capsys.readouterr().err
    assert said == (
        "MLflow at there: 20 finished runs are not recorded yet; record them with "
        "mlt-ray sync --store here\n"
    )
    slow.gate.set()
    time.sleep(0.2)
    assert slow.heard == [], "something was written after the end of the block"


def test_a_ctrl_c_while_the_block_ends_drops_what_is_not_passed_on(monkeypatch, capsys):
    slow = Slow()
    background = InBackground(lambda: slow)

    def interrupted(timeout_s):
        raise KeyboardInterrupt

    monkeypatch.setattr(background, "_wait", interrupted)
    background.finished(RUN)
    with pytest.raises(KeyboardInterrupt), background:
        pass
    slow.gate.set()
    background._thread.join(5)
    assert slow.heard == []
    assert "1 finished run is not recorded yet" in capsys.readouterr().err


def test_what_cannot_be_made_ends_the_block():
    def make():
        raise RuntimeError("cannot be made")

    def block():
        with InBackground(make):
            pass

    with pytest.raises(RuntimeError, match="cannot be made"):
        block()
    with pytest.raises(RuntimeError, match="cannot be made"):
        InBackground(make).tracker  # noqa: B018


def test_the_tracker_is_made_in_the_background():
    gate, heard = threading.Event(), []

    def make():
        gate.wait(10)
        heard.append("made")
        return Slow()

    with InBackground(make) as background:
        assert heard == []
        gate.set()
        assert isinstance(background.tracker, Slow)
    assert heard == ["made"]
