"""What a cell costs beside its training, and how that grows with the number of cells.

    python -m tests.benchmarks.scale --cells 50,500,5000 --json FILE

A study of N cells (rows of 5 folds and 10 seeds) goes through all that `mlt-ray run` goes through:
plan, store, Ray Tune, leases, reports, progress, tables. Only the training is replaced, by a
system that sleeps (`tests.benchmarks.sleeping`). Each number of cells has a process and a store of
its own. The progress display draws for a terminal that nobody sees.

Without `--mlflow` nothing is written to MLflow while cells are computed, and the time for
`mlt-ray sync` to write all of them afterwards is measured; with it, MLflow is written to as usual.
"""

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console

from mlt_ray.corpus.synthetic.demo import write_demo
from mlt_ray.display.run import RunDisplay
from mlt_ray.labels import NAMED
from mlt_ray.planning.backlog import take_stock
from mlt_ray.planning.plan import make_plan
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.workspace import Places
from mlt_ray.reports.results import results_of
from mlt_ray.reports.tables import write_tables
from mlt_ray.spec import FeatureSpec, FoldSpec, Run, TrainingSpec
from mlt_ray.storage.record import all_records
from mlt_ray.storage.report import Epoch
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Row, Study
from mlt_ray.tracking.location import default_uri
from mlt_ray.tracking.tracker import Tracker
from mlt_ray.workflows import run as workflow
from mlt_ray.workflows.run import compute, fill_cache, open_workspace
from tests.benchmarks.figures import (
    Column,
    ended,
    machine,
    peak_memory_mib,
    print_table,
    write_figures,
)
from tests.benchmarks.packs import apart
from tests.benchmarks.sleeping import SleepingSpec

SEEDS = tuple(range(1, 11))
UTTERANCES = 40
TERMINAL = (120, 40)

COLUMNS = (
    Column(key="cells", heading="cells"),
    Column(key="plan_s", heading="plan s", form="{:.2f}"),
    Column(key="half_done_s", heading="half done: left s", form="{:.2f}"),
    Column(key="wall_s", heading="compute s", form="{:.1f}"),
    Column(key="cell_ms", heading="ms a cell", form="{:.0f}"),
    Column(key="late_ms", heading="last tenth", form="{:.0f}"),
    Column(key="driver_cpu_ms", heading="driver CPU ms", form="{:.0f}"),
    Column(key="memory_mib", heading="driver MiB", form="{:.0f}"),
    Column(key="render_ms", heading="one drawing ms", form="{:.1f}"),
    Column(key="report_s", heading="report s", form="{:.2f}"),
    Column(key="sync_s", heading="MLflow s", form="{:.1f}"),
    Column(key="synced_s", heading="nothing new s", form="{:.2f}"),
)


class Untracked:
    """In place of MLflow's tracker: it ignores everything."""

    broken = ""

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """Nothing."""

    def finished_runs(self, runs: Sequence[Run]) -> None:
        """Nothing."""

    def failed(self, run: Run, reason: str) -> None:
        """Nothing."""

    def stopped(self, run: Run) -> None:
        """Nothing."""


def untracked(records: object, places: object) -> Untracked:
    """In place of a tracker: MLflow hears of no run."""
    return Untracked()


def study_of(cells: int, sleep_s: float, first: int = 0) -> Study:
    """A study with that many cells, which sleep. Rows are numbered from `first`."""
    width = FoldSpec().num_folds * len(SEEDS)
    rows, rest = divmod(cells, width)
    if rest:
        raise SystemExit(f"--cells: expected multiples of {width}, got {cells}")
    made = tuple(
        Row(
            name=f"row {n}",
            published=None,
            labels=NAMED["four"],
            folds=FoldSpec(),
            features=FeatureSpec(frames_per_step=8),
            model=SleepingSpec(sleep_s=sleep_s, number=n),
            training=TrainingSpec(max_epochs=1),
        )
        for n in range(first, first + rows)
    )
    return Study(name="scale", title="Cells that sleep", seeds=SEEDS, rows=made)


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """Call the action; returns its value and its wall seconds."""
    began = time.perf_counter()
    return action(), time.perf_counter() - began


def measure(
    cells: int, sleep_s: float, folder: Path, resources: Resources, mlflow: bool
) -> dict[str, Any]:
    """Measure one number of cells in this process."""
    store = Store(folder / "store")
    places = Places(corpus=folder.parent / "corpus", store=store, resources=resources)
    console = Console(
        file=io.StringIO(), force_terminal=True, width=TERMINAL[0], height=TERMINAL[1]
    )
    workspace = open_workspace(places, [NAMED["four"]], console)
    study = workspace.name_contents(study_of(cells, sleep_s))
    fill_cache(workspace, study.rows, console)
    plan, plan_s = timed(lambda: make_plan(study, workspace.corpus))
    cpu = time.process_time()
    tracking = nullcontext() if mlflow else patch.object(workflow, "open_tracker", untracked)
    with tracking:
        outcome, wall_s = timed(lambda: compute(take_stock([plan], store), places, console))
    cpu = time.process_time() - cpu
    if outcome.computed != cells:
        raise SystemExit(f"expected {cells} computed cells, got {outcome}")
    slots = resources.concurrency or 1
    found: dict[str, Any] = {
        "cells": cells,
        "sleep_s": sleep_s,
        "slots": slots,
        "plan_s": plan_s,
        "wall_s": wall_s,
        **pace(store, plan.rows, slots, sleep_s),
        "driver_cpu_ms": 1000 * cpu / cells,
        "memory_mib": peak_memory_mib(),
    }
    display = RunDisplay(take_stock([plan], store), console)
    found["render_ms"] = 1000 * timed(lambda: console.print(display._render()))[1]
    # The same number of cells, half of which are in the store.
    half = replace(study, seeds=tuple(seed + len(SEEDS) // 2 for seed in SEEDS))
    backlog, found["half_done_s"] = timed(
        lambda: take_stock([make_plan(half, workspace.corpus)], store)
    )
    if len(backlog.left) != cells // 2:
        raise SystemExit(f"expected {cells // 2} cells left, got {len(backlog.left)}")
    out, plans = folder / "reports", all_records(store)
    found["report_s"] = timed(lambda: write_tables(results_of(plans, store).tables, out))[1]
    for key in ("sync_s", "synced_s"):
        found[key] = timed(lambda: Tracker(store, default_uri(store), plans).sync())[1]
    return found


def pace(store: Store, rows: Sequence[Any], slots: int, sleep_s: float) -> dict[str, float]:
    """Mean milliseconds from the end of a cell to the end of the next in a slot, without the sleep.

    Measured from the first end on, so without Ray's start. `late_ms`: the same for the last tenth
    of the cells.
    """
    reports = store.reports(run.digest for row in rows for run in row.runs)
    ends = sorted(report.ended_ms for report in reports)
    late = ends[-max(2, len(ends) // 10) :]

    def mean(times: Sequence[int]) -> float:
        return slots * (times[-1] - times[0]) / (len(times) - 1) - 1000 * sleep_s

    return {
        "cell_ms": mean(ends),
        "late_ms": mean(late),
        "cells_s": (ends[-1] - ends[0]) / 1000,
    }


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", default="50,500", help="separated by commas")
    parser.add_argument("--sleep-ms", type=float, default=0.0, help="in place of training")
    parser.add_argument("--concurrency", type=int, default=2, help="cells at once")
    parser.add_argument("--mlflow", action="store_true", help="write to it while computing")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure each number of cells in a new process."""
    options, console = arguments(given), Console()
    console.print(f"{machine()}\n{options.concurrency} cells at once, {options.sleep_ms:g} ms each")
    resources = Resources(concurrency=options.concurrency)
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_demo(folder / "corpus", utterances=UTTERANCES)
        for cells in map(int, options.cells.split(",")):
            place = folder / f"{cells} cells"
            sleep_s = options.sleep_ms / 1000
            figures.append(apart(measure, cells, sleep_s, place, resources, options.mlflow))
            print_table("Cells", COLUMNS, figures, console)
            write_figures(options.json, "scale", {"mlflow": options.mlflow, "cells": figures})
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
