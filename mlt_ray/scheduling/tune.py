"""Between a source of runs and Ray Tune: what Tune starts next, and who hears how it went."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from mlt_ray.planning.observer import Observer
from mlt_ray.planning.source import End, Outcome, Pack, PackSize, Source
from mlt_ray.scheduling.board import BoardClient
from mlt_ray.spec import Run
from mlt_ray.storage.store import Store

RETRY_S = 2.0
"""How often a run that another driver computes is asked for."""


@dataclass
class _Elsewhere:
    """A run that another driver computes."""

    run: Run
    ask_at: float


class Feed(Searcher):
    """A Tune searcher that gives out the packs of a source, and takes nothing else on itself.

    `job_of` makes of a pack what a worker needs. A run that another driver computes is waited for
    here: it is done when its report appears, and tried again while it does not. `full` says that
    the store has no room, once it was found so: nothing is given out any more.
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        job_of: Callable[[Pack], Any],
        most: PackSize,
        until: float | None,
    ) -> None:
        super().__init__()
        self.source = source
        self.store = store
        self.is_stopping = False
        self.full = ""
        self.finished_elsewhere: list[Run] = []
        self._job_of = job_of
        self._most = most
        self._until = until
        self._under_way: dict[str, Pack] = {}
        self._elsewhere: list[_Elsewhere] = []

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher for Tuner.restore, which is never used here.
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The next trial's configuration, None for not now, or `Searcher.FINISHED`."""
        if self._until is not None and time.monotonic() > self._until:
            self.is_stopping = True
        if self.is_stopping:
            return Searcher.FINISHED
        pack = self._again() or self.source.next(self._most)
        if pack:
            self._under_way[trial_id] = pack
            return {"job": self._job_of(pack)}
        open_still = self._under_way or self._elsewhere or not self.source.exhausted
        return None if open_still else Searcher.FINISHED

    def _again(self) -> Pack | None:
        """A run that was elsewhere a while ago, if it is not finished meanwhile."""
        for waiting in list(self._elsewhere):
            if self.store.is_done(waiting.run.digest):
                self._elsewhere.remove(waiting)
                self.finished_elsewhere.append(waiting.run)
            elif time.monotonic() >= waiting.ask_at:
                self._elsewhere.remove(waiting)
                return (waiting.run,)
        return None

    def wait_for(self, run: Run) -> None:
        """Another driver computes the run."""
        self._elsewhere.append(_Elsewhere(run, time.monotonic() + RETRY_S))

    def forget(self, trial_id: str) -> Pack:
        """The trial has ended; returns its runs."""
        return self._under_way.pop(trial_id, ())

    def on_trial_complete(
        self, trial_id: str, result: dict | None = None, error: bool = False
    ) -> None:
        """Nothing: `Events` hears of it too, and of more."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a Tuner is never restored; who asks again asks the store what is left."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as in `save`."""


class Events(tune.Callback):
    """Passes Tune's events on to observers and to the source, in this order."""

    def __init__(self, feed: Feed, board: BoardClient, observers: Sequence[Observer]) -> None:
        self.feed = feed
        self.board = board
        self.observers: list[Observer] = [board, *observers]
        self._is_stopped = False

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks for Tuner.restore, which is never used here.
        return {"observers": ()}

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        """Tell of runs that another driver has finished; let all stop where that was asked for."""
        self._stop_all()
        while self.feed.finished_elsewhere:
            self._ended(self.feed.finished_elsewhere.pop(), Outcome(end=End.DONE))

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A worker begins a pack."""
        for run in trial.config["job"].runs:
            for observer in self.observers:
                observer.started(run)

    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict, **info: Any
    ) -> None:
        """Epochs have ended."""
        runs = {run.digest: run for run in trial.config["job"].runs}
        for digest, epochs in result["epochs"].items():
            for observer in self.observers:
                observer.epochs(runs[digest], epochs)
            self._stop(self.feed.source.epochs(runs[digest], epochs))

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A worker has ended a pack."""
        outcomes = trial.last_result.get("outcomes", {})
        crashed = Outcome(end=End.FAILED, reason="the worker ended without a word")
        for run in self.feed.forget(trial.trial_id):
            self._ended(run, outcomes.get(run.digest, crashed))

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A worker crashed, and Tune gives its runs to another."""
        print(f"{trial}: its worker failed; another goes on from the last checkpoint", flush=True)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A worker crashed more often than is tolerated, or raised."""
        lines = str(trial.get_error() or "").strip().splitlines()
        reason = lines[-1] if lines else "its worker ended in an error, which is shown above"
        for run in self.feed.forget(trial.trial_id):
            self._ended(run, Outcome(end=End.FAILED, reason=f"{trial}: {reason}"))

    def _ended(self, run: Run, outcome: Outcome) -> None:
        if outcome.end is End.ELSEWHERE:
            self.feed.wait_for(run)
            self.board.stopped(run)
            return
        if outcome.end is End.FULL:
            self.feed.full = self.feed.full or outcome.reason
            self.feed.is_stopping = True
            # At once: Tune may start a trial, on the worker that is free now, before the step ends.
            self._stop_all()
        for observer in self.observers:
            if outcome.end is End.DONE:
                observer.finished(run)
            elif outcome.end in (End.STOPPED, End.FULL):
                observer.stopped(run)
            else:
                observer.failed(run, outcome.reason)
        self._stop(self.feed.source.ended(run, outcome))

    def _stop_all(self) -> None:
        if self.feed.is_stopping and not self._is_stopped:
            self._is_stopped = True
            self.board.stop_all()

    def _stop(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self.board.stop(run)
