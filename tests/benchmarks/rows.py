"""One epoch of one fold of every distinct row of studies: seconds, memory, and all its runs' time.

    python -m tests.benchmarks.rows --corpus FOLDER --studies table1,table2,table3

Each row has a fresh interpreter of its own. The estimate of a row's 15 runs takes every epoch that
its study allows, so it is an upper bound: dev WA stops most runs earlier. On a CPU it counts
processor time, which other processes on the machine hardly change, on a GPU wall time. Nothing is
added to the store but features. With `--utterances`, figures but the estimate are of a sample.
"""

import argparse
import dataclasses
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from mlt_ray.errors import RunFailed
from mlt_ray.features.batching import FoldData
from mlt_ray.planning.plan import PlannedRow
from mlt_ray.spec import Run
from mlt_ray.storage.store import Store
from mlt_ray.training.fit import fit_runs
from tests.benchmarks.figures import Column, ended, machine, print_table, write_figures
from tests.benchmarks.inputs import fold_of, open_inputs, read_table
from tests.benchmarks.packs import Place, apart, memory

COLUMNS = (
    Column(key="row", heading="row"),
    Column(key="utterances", heading="trained"),
    Column(key="steps", heading="steps"),
    Column(key="train_s", heading="train s", form="{:.1f}"),
    Column(key="dev_s", heading="dev s", form="{:.1f}"),
    Column(key="epoch_cpu_s", heading="CPU s", form="{:.1f}"),
    Column(key="memory_mib", heading="MiB", form="{:.0f}"),
    Column(key="gpu_memory_mib", heading="GPU MiB", form="{:.0f}"),
    Column(key="loss", heading="loss", form="{:.3f}"),
    Column(key="epochs", heading="epochs"),
    Column(key="all_runs_h", heading="15 runs, h", form="{:.1f}"),
)


class WatchedFold:
    """Wraps a fold and records the times at which batches are asked for."""

    def __init__(self, data: FoldData) -> None:
        self._data = data
        self.steps = 0
        self.training_began = self.dev_began = self.cpu_began = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def training_batches(
        self,
        batch_size: int,
        bucket_batches: int,
        rng: np.random.Generator,
        batch_seconds: float | None = None,
    ) -> list[np.ndarray]:
        self.training_began, self.cpu_began = time.perf_counter(), time.process_time()
        batches = self._data.training_batches(batch_size, bucket_batches, rng, batch_seconds)
        self.steps += len(batches)
        return batches

    def evaluation_order(self, part: str) -> list[np.ndarray]:
        # The first evaluation is that of dev, after the epoch.
        self.dev_began = self.dev_began or time.perf_counter()
        return self._data.evaluation_order(part)


def measure(run: Run, place: Place) -> dict[str, Any]:
    """Figures of the run's first epoch, computed in this process.

    `run_s`: upper bound for the whole run, processor seconds on a CPU, wall seconds on a GPU.
    """
    torch.set_num_threads(place.threads)
    device, corpus = torch.device(place.device), place.corpus(run)
    began, cpu_began = time.perf_counter(), time.process_time()
    data = WatchedFold(fold_of(run, corpus, Store(place.store)))
    loaded = time.perf_counter()
    one = replace(run, spec=replace(run.spec, training=replace(run.spec.training, max_epochs=1)))
    ends: list[tuple[float, float]] = []
    [result] = fit_runs([one], [data], device=device, on_epoch=lambda *_: ends.append(clocks()))
    if isinstance(result, RunFailed):
        raise result
    report = result.report
    figures = {
        "utterances": len(data.parts["train"]),
        "parameters": report.num_parameters,
        "steps": data.steps,
        "load_s": loaded - began,
        "epoch_s": report.computed_s,
        "epoch_cpu_s": time.process_time() - cpu_began,
        "loss": report.curve[0].train_loss if report.curve else None,
        **memory(device),
    }
    if data.steps and ends:
        figures["train_s"] = data.dev_began - data.training_began
        figures["dev_s"] = ends[0][0] - data.dev_began
        figures["epoch_cpu_s"] = ends[0][1] - data.cpu_began
    # A classifier without training steps is fitted once, not once per epoch.
    epochs = run.spec.training.max_epochs if data.steps else 1
    epoch_s = figures["epoch_cpu_s" if device.type == "cpu" else "epoch_s"]
    whole = len(read_table(run.spec.corpus, Store(place.store))) / len(corpus)
    return figures | {"epochs": epochs, "run_s": epochs * epoch_s * whole}


def clocks() -> tuple[float, float]:
    """Wall clock and processor time of this process in seconds; only differences have a meaning."""
    return time.perf_counter(), time.process_time()


def measure_row(row: PlannedRow, place: Place) -> dict[str, Any]:
    """Call `measure` for the row's first run in a new process; an error becomes a figure."""
    try:
        found = apart(measure, row.runs[0], place)
    except Exception as error:  # any error, so that the other rows are measured
        traceback.print_exception(error)
        return {"row": row.name, "failed": f"{type(error).__name__}: {error}"}
    return {"row": row.name, **found, "all_runs_h": found["run_s"] * len(row.runs) / 3600}


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="as for mlt-ray run")
    parser.add_argument("--store", type=Path, default=Path("runs"), help="where features are kept")
    parser.add_argument("--studies", default="table1,table2,table3", help="separated by commas")
    parser.add_argument("--rows", default="", help="only these, separated by commas")
    parser.add_argument("--encoder", help="as for mlt-ray run")
    parser.add_argument("--utterances", type=int, help="a random sample of so many; default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure row after row; returns 1 if one failed."""
    options, console = arguments(given), Console()
    store = Store(options.store)
    inputs = open_inputs(
        options.studies.split(","),
        options.corpus,
        store,
        console,
        encoder=options.encoder,
        rows=[r.strip() for r in options.rows.split(",") if r],
    )
    place = Place(
        store=str(store.root),
        device=options.device,
        threads=options.threads,
        utterances=options.utterances,
    )
    taken = options.utterances or len(inputs.corpus)
    console.print(f"{machine()}\n{taken} of {len(inputs.corpus)} utterances")
    figures: list[dict[str, Any]] = []
    for row in inputs.rows:
        figures.append(measure_row(row, place))
        took = figures[-1].get("failed") or f"{figures[-1]['epoch_s']:.1f} s"
        console.print(f"{row.name}: {took}", markup=False, highlight=False)
        # Written after each row, so that an error in the last row loses nothing.
        write_figures(options.json, "rows", {**dataclasses.asdict(place), "rows": figures})
    print_table(f"One epoch of fold 1, seed 1, on {options.device}", COLUMNS, figures, console)
    total = sum(f.get("all_runs_h", 0.0) for f in figures)
    console.print(f"all runs of these rows, with all their epochs: {total:.1f} h")
    failed = [f["row"] for f in figures if "failed" in f]
    if failed:
        console.print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(ended(main))
