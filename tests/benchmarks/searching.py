"""What a search of many configurations costs beside its training, and what of it waits for MLflow.

    python -m tests.benchmarks.searching --trials 1000 --json FILE
    python -m tests.benchmarks.searching --trials 100 --delay-ms 200
    python -m tests.benchmarks.searching --trials 1000 --without-ray

A search goes through all that `mlt-ray search` goes through: Optuna, Ray Tune, leases, reports,
MLflow, tables. Only the training is replaced, by a system that sleeps
(`tests.benchmarks.sleeping`), and a configuration has one cell. MLflow is the database in the
store; with `--delay-ms` it is a server of which each request takes so long. The times of the first
tenth of the configurations and of the last tenth say what grows. *Telling* is what the loop that
starts cells spends on whoever hears of a cell: displays, the source, and MLflow, if it waits for
that. `--without-ray` computes one cell after the other in this process, with made-up results, which
leaves out Ray's own time.
"""

import argparse
import io
import json
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from rich.console import Console

from mlt_ray.corpus.synthetic.demo import write_demo
from mlt_ray.models.registry import SYSTEMS
from mlt_ray.planning.observer import Observer
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.source import End, RunEnd, Source
from mlt_ray.planning.workspace import Places
from mlt_ray.reports.results import results_of
from mlt_ray.spec import Run
from mlt_ray.storage.record import all_records
from mlt_ray.storage.store import Store
from mlt_ray.studies.space import Parameter, SearchSpace, SearchSpec
from mlt_ray.workflows import run as run_module
from mlt_ray.workflows import search as search_module
from mlt_ray.workflows.report import show_results
from mlt_ray.workflows.search import run_search
from tests.benchmarks.figures import (
    Column,
    ended,
    machine,
    peak_memory_mib,
    print_table,
    write_figures,
)
from tests.benchmarks.sleeping import SYSTEM, SleepingSpec
from tests.stored import report_of, write_report

UTTERANCES = 40

COLUMNS = (
    Column(key="mlflow", heading="MLflow"),
    Column(key="trials", heading="configurations"),
    Column(key="wall_s", heading="all s", form="{:.0f}"),
    Column(key="each_ms", heading="ms each", form="{:.0f}"),
    Column(key="early_ms", heading="first tenth", form="{:.0f}"),
    Column(key="late_ms", heading="last tenth", form="{:.0f}"),
    Column(key="told_ms", heading="telling, ms", form="{:.1f}"),
    Column(key="told_late_ms", heading="last tenth", form="{:.1f}"),
    Column(key="suggest_ms", heading="proposing, ms", form="{:.0f}"),
    Column(key="suggest_late_ms", heading="last tenth", form="{:.0f}"),
    Column(key="end_s", heading="end s", form="{:.1f}"),
    Column(key="again_s", heading="again s", form="{:.1f}"),
    Column(key="page_s", heading="page s", form="{:.1f}"),
    Column(key="memory_mib", heading="driver MiB", form="{:.0f}"),
    Column(key="grown_mib", heading="grown MiB", form="{:.0f}"),
)


def space_of(trials: int, sleep_s: float) -> SearchSpace:
    """A search of so many configurations, of one cell each."""
    return SearchSpace(
        name="sleepers",
        title="Configurations that sleep",
        base={"model": {"system": SYSTEM, "sleep_s": sleep_s}, "training": {"max_epochs": 1}},
        parameters=(
            Parameter(key="model.number", kind="int", values=(0, 10**6), step=1),
            Parameter(key="training.learning_rate", kind="log", values=(1e-5, 1e-2)),
        ),
        search=SearchSpec(trials=trials, best=1, pruner="none"),
        objectives=("dev_ua",),
        folds=(1,),
        cell_seeds=(1,),
        seeds=(1,),
        systems={**SYSTEMS, SYSTEM: SleepingSpec},
    )


class Stopwatch:
    """Wall seconds of calls of methods, one after another."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.memory_mib: list[float] = []

    def timing(self, method: Callable[..., Any], key: str) -> Callable[..., Any]:
        """The method, timed."""

        def called(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*given, **named)
            finally:
                self.seconds[key].append(time.perf_counter() - began)

        return called


def current_mib() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def tenths(seconds: Sequence[float]) -> tuple[float, float]:
    """Mean milliseconds of the first tenth, and of the last."""
    width = max(1, len(seconds) // 10)
    return 1000 * statistics.fmean(seconds[:width]), 1000 * statistics.fmean(seconds[-width:])


class Loop:
    """In place of Ray: each cell is finished at once, with made-up results."""

    def __init__(self, watch: Stopwatch, ends: list[tuple[float, float]]) -> None:
        self._watch = watch
        self._ends = ends

    def execute(
        self,
        source: Source,
        names: Any,
        store: Store,
        resources: Any,
        observers: Sequence[Observer],
        timeout_s: float | None = None,
    ) -> bool:
        """As `mlt_ray.scheduling.execute.execute`."""
        propose = self._watch.timing(source.next, "suggest")
        tell = self._watch.timing(self._tell, "told")
        while pack := propose(lambda spec: 1):
            for run in pack:
                dev_ua = float(np.random.default_rng(int(run.digest, 16)).random())
                write_report(store, report_of(run, dev_ua))
                tell(run, source, observers, store)
                self._watch.seconds["result"].append(0.0)
                self._ends.append((time.perf_counter(), current_mib()))
        return True

    def _tell(self, run: Run, source: Source, observers: Sequence[Observer], store: Store) -> None:
        report = store.report(run.digest)
        assert report is not None
        for observer in observers:
            observer.started(run)
            observer.epochs(run, report.curve)
            observer.finished(run)
        source.epochs(run, report.curve)
        source.ended(run, RunEnd(kind=End.DONE))


@contextmanager
def not_joined(places: Any, console: Any) -> Iterator[Resources]:
    """In place of Ray's start."""
    yield Resources(concurrency=1)


def as_method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function, which a class binds."""
    return lambda *given, **named: function(*given, **named)


def measure(
    trials: int, sleep_s: float, corpus: Path, folder: Path, uri: str, without_ray: bool
) -> dict[str, Any]:
    """Search in this process."""
    from mlt_ray.scheduling import execute as execute_module
    from mlt_ray.scheduling.tune import TuneCallbacks, TuneSearcher

    store, watch = Store(folder / "store"), Stopwatch()
    places = Places(
        corpus=corpus, store=store, resources=Resources(concurrency=2), tracking_uri=uri or None
    )
    console = Console(file=io.StringIO(), width=120)
    ends: list[tuple[float, float]] = []
    complete = TuneCallbacks.on_trial_complete

    def on_complete(*given: Any, **named: Any) -> None:
        watch.timing(complete, "told")(*given, **named)
        ends.append((time.perf_counter(), current_mib()))

    space = space_of(trials, sleep_s)
    with ExitStack() as patches:
        if without_ray:
            for module in (run_module, search_module):
                patches.enter_context(patch.object(module, "joined", not_joined))
            loop = Loop(watch, ends)
            patches.enter_context(patch.object(execute_module, "execute", loop.execute))
        else:
            for owner, name, key in (
                (TuneCallbacks, "on_trial_result", "result"),
                (TuneSearcher, "suggest", "suggest"),
            ):
                timed = watch.timing(getattr(owner, name), key)
                patches.enter_context(patch.object(owner, name, as_method(timed)))
            patches.enter_context(patch.object(TuneCallbacks, "on_trial_complete", on_complete))
        began = time.perf_counter()
        outcome = run_search(space, places, console)
        wall_s = time.perf_counter() - began
        ended_s = time.perf_counter()
    if not outcome.complete:
        raise SystemExit("the search did not end")
    # The last one or two are the best's own.
    ends = ends[:trials]
    times = [b - a for (a, _), (b, _) in pairwise(ends)]
    told = [a + b for a, b in zip(watch.seconds["told"], watch.seconds["result"], strict=False)]
    suggested = sorted(watch.seconds["suggest"], reverse=True)[:trials]
    early_ms, late_ms = tenths(times)
    began = time.perf_counter()
    run_search(space, places, console)
    again_s = time.perf_counter() - began
    began = time.perf_counter()
    records = [record for record in all_records(store) if not record.is_search]
    show_results(results_of(records, store), store, None, console)
    return {
        "trials": trials,
        "wall_s": wall_s,
        "each_ms": 1000 * statistics.fmean(times),
        "early_ms": early_ms,
        "late_ms": late_ms,
        "told_ms": 1000 * statistics.fmean(told[:trials]),
        "told_late_ms": tenths(told[:trials])[1],
        "suggest_ms": 1000 * statistics.fmean(suggested),
        "suggest_late_ms": 1000 * statistics.fmean(watch.seconds["suggest"][-trials // 10 :]),
        "end_s": ended_s - ends[-1][0],
        "again_s": again_s,
        "page_s": time.perf_counter() - began,
        "memory_mib": peak_memory_mib(),
        "grown_mib": ends[-1][1] - ends[len(ends) // 10][1],
    }


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=100, help="configurations")
    parser.add_argument("--sleep-ms", type=float, default=0.0, help="in place of training")
    parser.add_argument("--delay-ms", type=float, help="a server, so slow, in place of the store")
    parser.add_argument("--without-ray", action="store_true", help="in this process")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure one search."""
    options, console = arguments(given), Console()
    console.print(str(machine()), highlight=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_demo(folder / "corpus", utterances=UTTERANCES)
        mlflow, place = "in the store", nullcontext("")
        if options.delay_ms is not None:
            from tests.benchmarks.sync import a_server

            mlflow, place = (
                f"{options.delay_ms:g} ms away",
                a_server(folder / "far", options.delay_ms),
            )
        with place as uri:
            found = measure(
                options.trials,
                options.sleep_ms / 1000,
                folder / "corpus",
                folder,
                uri,
                options.without_ray,
            )
    figures = {"mlflow": mlflow, **found}
    print_table("A search", COLUMNS, [figures], console)
    print(json.dumps(figures))
    write_figures(options.json, "searching", figures)
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
