"""Ray Tune's side of a source: its packs as trials, and callbacks to observers and source."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from mlt_ray.errors import StoreFull, StoreSilent
from mlt_ray.planning.observer import Observer
from mlt_ray.planning.plan import RunName
from mlt_ray.planning.source import End, Pack, PackSize, RunEnd, Source
from mlt_ray.scheduling.board import BoardClient
from mlt_ray.spec import Run
from mlt_ray.storage.outage import outage_of
from mlt_ray.storage.store import Store

RETRY_S = 2.0
"""Seconds until a run that another driver computes is tried again."""


@dataclass
class _Elsewhere:
    """A run that another driver computes, and when to try it again."""

    run: Run
    ask_at: float


class TuneSearcher(Searcher):
    """Tune's searcher interface over a source: each trial is one pack.

    `job_of` makes a worker's job of a pack; `max_size` is the size of a pack at most. A run that
    another driver computes waits here: it is done when its report appears, and is tried again
    every `RETRY_S` until then. `error` is the first error that the driver met; from then on no pack
    is given out, and `execute` raises it at the end.
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        job_of: Callable[[Pack], Any],
        max_size: PackSize,
        until: float | None,
    ) -> None:
        super().__init__()
        self.source = source
        self.store = store.at_once()
        self.outage = outage_of(store.location)
        self.is_stopping = False
        self.error: Exception | None = None
        self.finished_elsewhere: list[Run] = []
        self._job_of = job_of
        self._max_size = max_size
        self._until = until
        self._under_way: dict[str, Pack] = {}
        self._elsewhere: list[_Elsewhere] = []

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher for Tuner.restore, which is never used here.
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The next trial's configuration; None for none now, `Searcher.FINISHED` for no more."""
        if self._until is not None and time.monotonic() > self._until:
            self.is_stopping = True
        if self.is_stopping:
            return Searcher.FINISHED
        try:
            pack = self._again() or self.source.next(self._max_size)
        except Exception as error:
            # Runs under way end their epochs and are kept, as after any other error.
            self.fail(error)
            return Searcher.FINISHED
        if pack:
            self._under_way[trial_id] = pack
            return {"job": self._job_of(pack)}
        open_still = self._under_way or self._elsewhere or not self.source.exhausted
        return None if open_still else Searcher.FINISHED

    def fail(self, error: Exception) -> None:
        """Give out no more packs, because of an error; the first one is kept.

        That a Ctrl-C has ended a wait for the store is no error.
        """
        self.is_stopping = True
        if self.outage.goes_on() or not isinstance(error, StoreSilent):
            self.error = self.error or error

    def _again(self) -> Pack | None:
        """A run that another driver had a while ago, unless it is finished by now."""
        for waiting in list(self._elsewhere):
            if self._is_done(waiting.run):
                self._elsewhere.remove(waiting)
                self.finished_elsewhere.append(waiting.run)
            elif time.monotonic() >= waiting.ask_at:
                self._elsewhere.remove(waiting)
                return (waiting.run,)
        return None

    def _is_done(self, run: Run) -> bool:
        """Whether the store has the run; False while it is silent, since Tune must not wait."""
        try:
            return self.store.is_done(run.digest)
        except StoreSilent:
            return False

    def wait_for(self, run: Run) -> None:
        """Another driver computes the run."""
        self._elsewhere.append(_Elsewhere(run, time.monotonic() + RETRY_S))

    def forget(self, trial_id: str) -> Pack:
        """The trial has ended; returns its runs."""
        return self._under_way.pop(trial_id, ())

    def on_trial_complete(
        self, trial_id: str, result: dict | None = None, error: bool = False
    ) -> None:
        """Nothing: `TuneCallbacks` hears of it too, and of more."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a Tuner is never restored; who asks again asks the store what is left."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as in `save`."""


def kept(callback: Callable[..., None]) -> Callable[..., None]:
    """Decorator of a callback: its first error goes to `TuneSearcher.fail`, and all runs stop.

    Tune swallows some callbacks' errors, and the source would wait for ever for what it was not
    told. After an error nothing is passed on any more.
    """

    @functools.wraps(callback)
    def called(self: "TuneCallbacks", *given: Any, **info: Any) -> None:
        if self.is_broken:
            return
        try:
            callback(self, *given, **info)
        except Exception as error:
            self.is_broken = True
            self.searcher.fail(error)
            self.stop_all()

    return called


class TuneCallbacks(tune.Callback):
    """Passes Tune's callbacks to the observers, then to the source, until one of them raises.

    `names` are those of the runs, by digest: a reason why a run failed begins with the run's name.
    """

    def __init__(
        self,
        searcher: TuneSearcher,
        board: BoardClient,
        names: Mapping[str, RunName],
        observers: Sequence[Observer],
    ) -> None:
        self.searcher = searcher
        self.board = board
        self.names = names
        self.observers: list[Observer] = [board, *observers]
        self.is_broken = False
        self._is_stopped = False

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks for Tuner.restore, which is never used here.
        return {"observers": ()}

    @kept
    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        """Tell of runs that another driver has finished; stop all runs if that was asked for."""
        self.board.relay(self.searcher.outage)
        if self.searcher.is_stopping:
            self.stop_all()
        while self.searcher.finished_elsewhere:
            self._ended(self.searcher.finished_elsewhere.pop(), RunEnd(kind=End.DONE))

    @kept
    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A worker begins a pack."""
        for run in trial.config["job"].runs:
            for observer in self.observers:
                observer.started(run)

    @kept
    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict, **info: Any
    ) -> None:
        """Epochs have ended, or a worker has a line for people."""
        for digest, lines in result["lines"].items():
            for line in lines:
                print(f"{self.names[digest]}: {line}", flush=True)
        runs = {run.digest: run for run in trial.config["job"].runs}
        for digest, epochs in result["epochs"].items():
            for observer in self.observers:
                observer.epochs(runs[digest], epochs)
            self._stop(self.searcher.source.epochs(runs[digest], epochs))

    @kept
    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A worker has ended a pack."""
        ends = trial.last_result.get("ends", {})
        crashed = RunEnd(kind=End.FAILED, reason="the worker ended without a word")
        for run in self.searcher.forget(trial.trial_id):
            self._ended(run, ends.get(run.digest, crashed))

    @kept
    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A worker crashed, and Tune gives its runs to another."""
        print(f"{trial}: its worker failed; another goes on from the last checkpoint", flush=True)

    @kept
    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A worker crashed too often, or raised."""
        lines = str(trial.get_error() or "").strip().splitlines()
        reason = lines[-1] if lines else "its worker ended in an error, which is shown above"
        for run in self.searcher.forget(trial.trial_id):
            self._ended(run, RunEnd(kind=End.FAILED, reason=reason))

    def _ended(self, run: Run, end: RunEnd) -> None:
        if end.kind is End.ELSEWHERE:
            self.searcher.wait_for(run)
            self.board.stopped(run)
            return
        if end.kind is End.FULL:
            self.searcher.fail(StoreFull(end.reason))
            # At once: Tune may start a trial, on the worker that is free now, before the step ends.
            self.stop_all()
        if end.kind is End.FAILED:
            end = replace(end, reason=f"{self.names[run.digest]}: {end.reason}")
        for observer in self.observers:
            if end.kind is End.DONE:
                observer.finished(run)
            elif end.kind in (End.STOPPED, End.FULL):
                observer.stopped(run)
            else:
                observer.failed(run, end.reason)
        self._stop(self.searcher.source.ended(run, end))

    def stop_all(self) -> None:
        """Let every run stop after its epoch; does nothing the second time."""
        if not self._is_stopped:
            self._is_stopped = True
            self.board.stop_all()

    def _stop(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self.board.stop(run)
