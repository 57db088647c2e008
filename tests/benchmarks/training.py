"""One row's 15 runs: a plain PyTorch loop, one Ray trial a run, packs of runs; side by side.

    python -m tests.benchmarks.training --sizes demo
    python -m tests.benchmarks.training --sizes paper --steps 60 --corpus FOLDER --utterances 300

Both whole calls start as fresh processes and end with all results; features are in the cache
before either. Ratios compare figures of this call; seconds of another machine or moment do not.
"""

import argparse
import importlib.util
import json
import math
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from mlt_ray.display.bars import duration
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import load_study
from tests.benchmarks.figures import Column, ended, machine, print_table, write_figures
from tests.benchmarks.inputs import MLT_RAY, Inputs, counted, given_or_demo, open_inputs, sampled
from tests.benchmarks.packs import (
    Place,
    apart,
    count_operations,
    measure_largest_pack,
    measure_pack,
    measure_padding,
    measure_peak,
    with_frames_per_step,
)

STUDIES = {"demo": "demo", "paper": "table1"}
ROW = "highway network"
PACKS = (1, 3, 5, 15)
FRAMES_PER_STEP = (8, 4, 2, 1)
SHARES = (1 / 4, 1 / 2, 1)
PARTS = ("calls", "speeds", "padding", "growth", "all-rows")
TABLES = ("table1", "table2", "table3")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

CALLS = (
    Column(key="what", heading="15 runs, one call"),
    Column(key="wall_s", heading="wall s", form="{:.1f}"),
    Column(key="ratio", heading="ratio", form="{:.2f}"),
    Column(key="epochs_s", heading="epochs s", form="{:.1f}"),
    Column(key="steps", heading="steps"),
    Column(key="test_wa", heading="test WA", form="{:.3f}"),
)
SPEEDS = (
    Column(key="what", heading="training"),
    Column(key="threads", heading="threads"),
    Column(key="steps_per_s", heading="steps/s", form="{:.1f}"),
    Column(key="ratio", heading="ratio", form="{:.2f}"),
    Column(key="utilisation", heading="of peak", form="{:.1%}"),
    Column(key="memory_mib", heading="MiB", form="{:.0f}"),
    Column(key="gpu_memory_mib", heading="GPU MiB", form="{:.0f}"),
)
PADDING = (
    Column(key="pack", heading="runs side by side"),
    Column(key="frames", heading="real frames", form="{:.1%}"),
    Column(key="pairs", heading="real pairs of frames", form="{:.1%}"),
    Column(key="recorded", heading="real frames in CUDA graphs", form="{:.1%}"),
)
GROWTH = (
    Column(key="what", heading="growth, one run"),
    Column(key="frames", heading="steps an utterance", form="{:.0f}"),
    Column(key="gflop", heading="GFLOP/step", form="{:.2f}"),
    Column(key="step_ms", heading="ms/step", form="{:.1f}"),
    Column(key="epoch_s", heading="s/epoch", form="{:.2f}"),
    Column(key="utilisation", heading="of peak", form="{:.1%}"),
    Column(key="memory_mib", heading="MiB", form="{:.0f}"),
    Column(key="gpu_memory_mib", heading="GPU MiB", form="{:.0f}"),
)
WHOLE = (
    Column(key="row", heading="row"),
    Column(key="pack", heading="pack"),
    Column(key="steps_per_s", heading="steps/s", form="{:.0f}"),
    Column(key="gpu_memory_mib", heading="GPU MiB", form="{:.0f}"),
    Column(key="epoch_s", heading="s/epoch, all runs", form="{:.1f}"),
    Column(key="epochs", heading="epochs"),
    Column(key="time", heading="time"),
)


def whole_calls(
    inputs: Inputs, corpus: Path, overrides: Sequence[str], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """The plain loop and `mlt-ray run`, each in a new process, with the time to start."""
    plain = run_plainly(inputs, options.device, threads=0)
    figures = [{"what": "plain PyTorch loop", **plain, "ratio": 1.0}]
    if importlib.util.find_spec("ray") is None:
        return [*figures, {"what": "mlt-ray run: Ray is not installed"}]
    command = [*MLT_RAY, "run", STUDIES[options.sizes], "--corpus", str(corpus), "--rows", ROW]
    command += ["--store", str(inputs.store.root)]
    command += [part for value in overrides for part in ("--set", value)]
    began = time.perf_counter()
    subprocess.run(command, check=True, env=unbound(), stdout=subprocess.DEVNULL)
    wall_s = time.perf_counter() - began
    reports = [inputs.store.report(run.digest) for run in inputs.rows[0].runs]
    found = [r for r in reports if r is not None]
    figures.append(
        {
            "what": "mlt-ray run",
            "wall_s": wall_s,
            "ratio": wall_s / plain["wall_s"],
            "epochs_s": sum(r.computed_s for r in found),
            "steps": sum(len(r.curve) * steps_of(r.part_sizes["train"], inputs) for r in found),
            "test_wa": sum(r.scores["test"]["wa"] for r in found) / len(found),
        }
    )
    return figures


def run_plainly(inputs: Inputs, device: str, threads: int, runs: int = 15) -> dict[str, Any]:
    """Figures and wall seconds of the plain loop over the first runs, in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        job, result = Path(folder) / "job", Path(folder) / "result"
        chosen = inputs.rows[0].runs[:runs]
        job.write_bytes(pickle.dumps((chosen, str(inputs.store.root), device)))
        command = [sys.executable, "-m", "tests.benchmarks.plain_loop"]
        began = time.perf_counter()
        subprocess.run([*command, job, str(threads), result], check=True, env=unbound())
        wall_s = time.perf_counter() - began
        values = json.loads(result.read_text())
    return {**values, "wall_s": wall_s, "steps_per_s": values["steps"] / values["epochs_s"]}


def unbound() -> dict[str, str]:
    """Environment variables without limits on threads: torch chooses the number itself."""
    return {k: v for k, v in os.environ.items() if k not in THREAD_VARIABLES}


def steps_of(trained: int, inputs: Inputs) -> int:
    """Steps per epoch."""
    return math.ceil(trained / inputs.rows[0].runs[0].spec.training.batch_size)


def speeds(
    inputs: Inputs, plain: dict[str, Any], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Steps per second of the plain loop and of packs, and their ratio to the plain loop.

    The peak speed is that of the same number of threads.
    """
    runs = inputs.rows[0].runs
    place = Place(store=str(inputs.store.root), device=options.device, threads=options.threads)
    flop = apart(count_operations, runs[0], place)["flop_per_step"]
    epochs = max(1, round(options.pack_steps / steps_of(len(inputs.corpus) * 3 // 5, inputs)))
    alone = run_plainly(inputs, options.device, options.threads, runs=1)
    figures = [{"what": "plain loop", **plain}]
    if alone["threads"] != plain["threads"]:
        figures.append({"what": "plain loop", **alone})
    figures += [
        {"what": f"pack of {size}", **apart(measure_pack, runs[:size], epochs, place)}
        for size in PACKS
    ]
    if options.device == "cuda":
        found = apart(measure_pack, runs, epochs, place, True)
        figures.append({"what": f"pack of {len(runs)}, CUDA graphs", **found})
    peaks = {
        n: apart(measure_peak, replace(place, threads=n))["flop_per_s"]
        for n in {found["threads"] for found in figures}
    }
    for found in figures:
        found["peak"] = peaks[found["threads"]]
        found["ratio"] = found["steps_per_s"] / plain["steps_per_s"]
        found["utilisation"] = found["steps_per_s"] * flop / found["peak"]
        found["flop_per_step"] = flop
    return figures


def growth(inputs: Inputs, peak: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time of one epoch of one run, by frames per utterance and by number of utterances."""
    run, total = inputs.rows[0].runs[0], len(inputs.corpus)
    cases = [(f"{n} frames averaged", with_frames_per_step(run, n), 1.0) for n in FRAMES_PER_STEP]
    cases += [(f"{round(total * share)} utterances", run, share) for share in SHARES]
    figures = []
    for what, one, share in cases:
        place = Place(
            store=str(inputs.store.root),
            device=options.device,
            threads=options.threads,
            utterances=round(total * share),
        )
        found = apart(measure_pack, [one], 1, place)
        counted = apart(count_operations, one, place)
        found |= {"what": what, **counted, "gflop": counted["flop_per_step"] / 1e9}
        found["step_ms"] = 1000 / found["steps_per_s"]
        found["utilisation"] = found["steps_per_s"] * counted["flop_per_step"] / peak
        figures.append(found)
    return figures


def all_rows(corpus: Path, store: Store, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Packs of every distinct row of the paper's tables; times are scaled to the whole corpus."""
    inputs = open_inputs(TABLES, corpus, store, Console(), encoder=options.encoder)
    sample = min(options.sample, len(inputs.corpus))
    place = Place(
        store=str(store.root),
        device=options.device,
        threads=options.threads,
        utterances=sample,
    )
    figures = []
    for row in inputs.rows:
        found = measure_largest_pack(row.runs, sorted(PACKS, reverse=True), place)
        epochs = min(row.runs[0].spec.training.max_epochs, options.epochs)
        packs = len(row.runs) / found["pack"]
        epoch_s = found["epoch_s"] * packs * len(inputs.corpus) / sample
        found |= {"row": row.name, "epoch_s": epoch_s, "epochs": epochs}
        found |= {"time_s": epoch_s * epochs, "time": duration(epoch_s * epochs)}
        figures.append(found)
    return figures


def plot(figures: dict[str, Any], path: Path) -> None:
    """Plot the steps per second by pack size, and the wall time of the whole calls."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    packs = [f for f in figures["speeds"] if "pack" in f and "graphs" not in f["what"]]
    left.plot([f["pack"] for f in packs], [f["steps_per_s"] for f in packs], marker="o")
    plain = figures["speeds"][0]
    left.axhline(plain["steps_per_s"], linestyle="--", color="grey", label="plain loop")
    left.set(xlabel="runs in a pack", ylabel="steps a second", ylim=(0, None), xticks=PACKS)
    left.legend()
    calls = [f for f in figures["calls"] if "wall_s" in f]
    right.barh([f["what"] for f in calls], [f["wall_s"] for f in calls], height=0.5)
    right.invert_yaxis()
    right.set(xlabel="seconds for 15 runs, start-up included")
    figure.savefig(path)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", choices=tuple(STUDIES), default="demo")
    parser.add_argument("--corpus", type=Path, help="default: the demo's, spoken anew")
    parser.add_argument("--utterances", type=int, help="take so many of the corpus, at random")
    parser.add_argument("--steps", type=int, help="about so many a run; default: the study's")
    parser.add_argument("--pack-steps", type=int, default=60, help="steps a run in a pack")
    parser.add_argument("--threads", type=int, default=1, help="of packs, as in mlt-ray run")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--parts",
        help="calls: 15 runs by a plain loop and by mlt-ray run; speeds: packs; padding; growth "
        "with frames and utterances; all-rows: all runs of the tables (default: all of them, the "
        "last one on a GPU)",
    )
    parser.add_argument("--encoder", default="minilm", help="of all-rows")
    parser.add_argument("--sample", type=int, default=480, help="utterances that all-rows times")
    parser.add_argument("--epochs", type=int, default=100, help="at most so many, in all-rows")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--plot", type=Path, help="SVG file; needs matplotlib")
    options = parser.parse_args(given)
    everything = PARTS if options.device == "cuda" else PARTS[:-1]
    options.parts = options.parts.split(",") if options.parts else list(everything)
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"--parts: expected some of {', '.join(PARTS)}, got {part}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: expected a GPU for cuda, found none")
    if options.plot is not None and not {"calls", "speeds"} <= set(options.parts):
        parser.error("--plot: expected calls and speeds among --parts, which it shows")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Measure the parts that were asked for."""
    options, console = arguments(given), Console()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure_parts(options.parts, Path(folder), options, console)
    write_figures(options.json, "training", figures)
    if options.plot is not None:
        plot(figures, options.plot)
    return 0


def measure_parts(
    parts: Sequence[str], folder: Path, options: argparse.Namespace, console: Console
) -> dict[str, Any]:
    """Measure and print. All files are written into `folder`."""
    given, store = given_or_demo(options.corpus, folder), Store(folder / "store")
    corpus = sampled(given, options.utterances, folder)
    overrides = bounds(corpus, options)
    inputs = open_inputs(
        [STUDIES[options.sizes]], corpus, store, console, rows=[ROW], overrides=overrides
    )
    console.print(f"{machine()}\n{len(inputs.corpus)} utterances, {options.sizes} sizes")
    place = Place(store=str(store.root), device=options.device, threads=options.threads)
    peak = apart(measure_peak, place)["flop_per_s"]
    threads = "the GPU" if options.device == "cuda" else f"{options.threads} threads"
    console.print(f"matrix products' peak: {peak / 1e9:.0f} GFLOP/s on {threads}")
    figures: dict[str, Any] = {"sizes": options.sizes, "device": options.device, "peak": peak}
    figures["utterances"] = len(inputs.corpus)
    if "calls" in parts:
        figures["calls"] = whole_calls(inputs, corpus, overrides, options)
        print_table("Whole calls", CALLS, figures["calls"], console)
    if "speeds" in parts:
        if "calls" in parts:
            plain = figures["calls"][0]
        else:
            plain = run_plainly(inputs, options.device, threads=0, runs=1)
        figures["speeds"] = speeds(inputs, plain, options)
        print_table("Epochs, dev's evaluation included", SPEEDS, figures["speeds"], console)
    if "padding" in parts:
        runs = inputs.rows[0].runs
        figures["padding"] = [apart(measure_padding, runs[:size], place) for size in PACKS]
        print_table("What is computed", PADDING, figures["padding"], console)
    if "growth" in parts:
        figures["growth"] = growth(inputs, peak, options)
        print_table("Growth", GROWTH, figures["growth"], console)
    if "all-rows" in parts:
        figures["all_rows"] = all_rows(given, store, options)
        print_table("All runs of the tables", WHOLE, figures["all_rows"], console)
        total = sum(f["time_s"] for f in figures["all_rows"])
        console.print(f"all together: {duration(total)}")
    return figures


def bounds(corpus: Path, options: argparse.Namespace) -> list[str]:
    """Overrides of the study for `--steps`."""
    if not options.steps:
        return []
    study = load_study(STUDIES[options.sizes])
    size = next(row for row in study.rows if row.name == ROW).training.batch_size
    trained = len(counted(corpus)) * 3 // 5
    epochs = max(1, round(options.steps / math.ceil(trained / size)))
    return [f"training.max_epochs={epochs}", f"training.patience={epochs}"]


if __name__ == "__main__":
    sys.exit(ended(main))
