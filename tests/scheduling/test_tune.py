"""What Tune's searcher gives out, and what its callbacks pass on."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from ray.tune.search import Searcher

from mlt_ray.errors import StoreFull, StoreSilent, UserError
from mlt_ray.planning.plan import RunName
from mlt_ray.planning.source import End, Pack, PackSize, Queue, RunEnd
from mlt_ray.scheduling.messages import Messages
from mlt_ray.scheduling.tune import TuneCallbacks, TuneSearcher
from mlt_ray.spec import ModelSpec, Run, RunSpec
from mlt_ray.storage.store import Store

FULL = "/store/x: no space left"
RUNS = tuple(
    Run(spec=RunSpec(corpus="c", model=ModelSpec(system="bert")), fold=fold, seed=1)
    for fold in (1, 2, 3)
)
NAMES = {
    run.digest: RunName(study="table1", row="audio only", fold=run.fold, seed=run.seed)
    for run in RUNS
}


class Calls:
    """Stands in for a board and for an observer; notes the names of the methods called.

    `reasons` are those of failures.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.reasons: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.names.append(name)

    def failed(self, run: Run, reason: str) -> None:
        self.names.append("failed")
        self.reasons.append(reason)


def searcher_of(source: Queue, root: Path, max_size: int = 1) -> TuneSearcher:
    return TuneSearcher(source, Store(root), lambda pack: pack, lambda spec: max_size, until=None)


def callbacks_of(searcher: TuneSearcher, board: Calls, observer: Calls) -> TuneCallbacks:
    return TuneCallbacks(searcher, board, NAMES, [observer])  # type: ignore[arg-type]


def test_the_first_run_without_room_stops_the_others_and_gives_out_no_more(tmp_path: Path) -> None:
    source, board, observer = Queue(RUNS), Calls(), Calls()
    searcher = searcher_of(source, tmp_path)
    callbacks = callbacks_of(searcher, board, observer)
    for trial_id in ("1", "2"):
        assert searcher.suggest(trial_id) is not Searcher.FINISHED
    for trial_id, run in zip(("1", "2"), RUNS, strict=False):
        ends = {run.digest: RunEnd(kind=End.FULL, reason=f"{FULL} {trial_id}")}
        ended = SimpleNamespace(trial_id=trial_id, last_result={"ends": ends})
        callbacks.on_trial_complete(0, [], ended)
        callbacks.on_step_end(0, [])
    assert searcher.suggest("3") == Searcher.FINISHED
    assert isinstance(searcher.error, StoreFull)
    assert str(searcher.error) == f"{FULL} 1"
    assert observer.names == ["stopped", "stopped"]
    assert board.names.count("stop_all") == 1


LOCKED = UserError("optuna.db: expected a database that can be written, got: it is locked")


class Failing(Queue):
    """A source that cannot hear of anything any more."""

    def epochs(self, run: Run, epochs: object) -> NoReturn:
        raise LOCKED

    def ended(self, run: Run, end: RunEnd) -> NoReturn:
        raise LOCKED


def trial_of(run: Run, **last_result: Any) -> SimpleNamespace:
    """What Tune's callbacks get of a trial with one run."""
    job = SimpleNamespace(runs=(run,))
    return SimpleNamespace(trial_id="1", config={"job": job}, last_result=last_result)


@pytest.mark.parametrize(
    "event",
    [
        lambda c, t: c.on_trial_result(
            0, [], t, {"epochs": {t.config["job"].runs[0].digest: []}, "lines": {}}
        ),
        lambda c, t: c.on_trial_complete(0, [], t),
        lambda c, t: c.on_trial_error(0, [], SimpleNamespace(trial_id="1", get_error=lambda: "")),
        lambda c, t: (c.searcher.finished_elsewhere.extend(RUNS), c.on_step_end(0, [])),
    ],
    ids=["result", "complete", "error", "elsewhere"],
)
def test_an_error_in_a_callback_is_kept_and_ends_the_search(
    event: Callable[[TuneCallbacks, SimpleNamespace], object], tmp_path: Path
) -> None:
    """Tune would swallow it, and the configuration would stay under way for ever."""
    board, observer = Calls(), Calls()
    searcher = searcher_of(Failing(RUNS), tmp_path)
    callbacks = callbacks_of(searcher, board, observer)
    searcher.suggest("1")
    event(callbacks, trial_of(RUNS[0]))
    assert searcher.error is LOCKED
    assert board.names[-1] == "stop_all"
    assert searcher.suggest("2") == Searcher.FINISHED
    # What is told no more cannot wait another minute for a lock; reports are in the store.
    told = list(observer.names)
    callbacks.on_trial_start(0, [], trial_of(RUNS[1]))
    callbacks.on_trial_complete(0, [], trial_of(RUNS[1]))
    callbacks.on_step_end(0, [])
    assert observer.names == told
    assert board.names.count("stop_all") == 1


def test_an_error_of_the_source_as_it_gives_out_runs_is_kept_and_ends_the_search(
    tmp_path: Path,
) -> None:
    class Empty(Queue):
        def next(self, max_size: PackSize) -> Pack | None:
            raise LOCKED

    board = Calls()
    searcher = searcher_of(Empty(RUNS), tmp_path)
    callbacks = callbacks_of(searcher, board, Calls())
    assert searcher.suggest("1") == Searcher.FINISHED
    callbacks.on_step_end(0, [])
    assert searcher.error is LOCKED
    assert [name for name in board.names if name != "relay"] == ["stop_all"]


def test_a_worker_that_is_replaced_is_told_by_its_runs_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callbacks = callbacks_of(searcher_of(Queue([]), tmp_path), Calls(), Calls())
    callbacks.on_trial_recover(0, [], "table1: audio only, fold 1, seed 2")
    told = "table1: audio only, fold 1, seed 2: its worker failed; another goes on from the last"
    assert capsys.readouterr().out == f"{told} checkpoint\n"


def test_every_run_that_failed_is_told_by_its_own_name(tmp_path: Path) -> None:
    searcher, observer = searcher_of(Queue(RUNS), tmp_path, max_size=3), Calls()
    callbacks = callbacks_of(searcher, Calls(), observer)
    searcher.suggest("1")
    ends = {
        RUNS[0].digest: RunEnd(kind=End.DONE),
        RUNS[1].digest: RunEnd(kind=End.FAILED, reason="the loss is nan in epoch 3"),
    }
    ended = SimpleNamespace(trial_id="1", last_result={"ends": ends})
    callbacks.on_trial_complete(0, [], ended)
    assert observer.reasons == [
        "table1: audio only, fold 2, seed 1: the loss is nan in epoch 3",
        "table1: audio only, fold 3, seed 1: the worker ended without a word",
    ]


def test_every_run_of_a_pack_whose_workers_died_is_told_by_its_own_name(tmp_path: Path) -> None:
    searcher, observer = searcher_of(Queue(RUNS), tmp_path, max_size=3), Calls()
    callbacks = callbacks_of(searcher, Calls(), observer)
    searcher.suggest("1")
    error = RuntimeError("Traceback ...\nValueError: odd")
    callbacks.on_trial_error(0, [], SimpleNamespace(trial_id="1", get_error=lambda: error))
    assert observer.reasons == [
        f"table1: audio only, fold {fold}, seed 1: ValueError: odd" for fold in (1, 2, 3)
    ]


def test_a_line_of_a_worker_is_printed_with_the_runs_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callbacks = callbacks_of(searcher_of(Queue([]), tmp_path), Calls(), Calls())
    sent: list[dict[str, Any]] = []
    messages = Messages(sent.append, interval_s=60.0)
    messages.tell(RUNS[1], "the run starts anew")
    messages.send(ends={})
    messages.send(ends={})
    trial = SimpleNamespace(config={"job": SimpleNamespace(runs=RUNS)})
    for message in sent:
        callbacks.on_trial_result(0, [], trial, message)
    line = "table1: audio only, fold 2, seed 1: the run starts anew\n"
    assert capsys.readouterr().out == line


def test_while_the_store_is_silent_tune_does_not_wait_for_a_run_of_another_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(store: Store, digest: str) -> bool:
        raise StoreSilent("gone")

    searcher = searcher_of(Queue([]), tmp_path)
    searcher.wait_for(RUNS[0])
    monkeypatch.setattr(Store, "is_done", silent)
    assert searcher.suggest("1") is None
    monkeypatch.setattr(Store, "is_done", lambda store, digest: True)
    searcher.suggest("1")
    assert searcher.finished_elsewhere == [RUNS[0]]


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_wait_for_the_store_that_a_ctrl_c_has_ended_is_no_error(
    tmp_path: Path, is_interrupted: bool
) -> None:
    searcher, error = searcher_of(Queue([]), tmp_path), StoreSilent("gone")
    searcher.outage.goes_on = lambda: not is_interrupted
    searcher.fail(error)
    assert searcher.error is (None if is_interrupted else error)
    assert searcher.is_stopping
