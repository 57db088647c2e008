"""Where one run's training step spends its time on one thread: by part, and by operator.

    python -m tests.benchmarks.step --sizes demo

The parts are told by leaving one out, in processor time; the operators by torch.profiler.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from mlt_ray.batch import Batch
from mlt_ray.features.batching import FoldData
from mlt_ray.models.dropout import Dropout, set_dropout_keys
from mlt_ray.spec import Run
from mlt_ray.storage.store import Store
from mlt_ray.training.learner import Learner
from tests.benchmarks.figures import Column, ended, machine, print_table, write_figures
from tests.benchmarks.inputs import given_or_demo, open_inputs
from tests.benchmarks.training import ROW, STUDIES

CPU = torch.device("cpu")
WARM_UP_STEPS = 3
TOP = 24
PARTS = (
    Column(key="what", heading="part"),
    Column(key="ms", heading="ms", form="{:.2f}"),
    Column(key="share", heading="of a step", form="{:.0%}"),
)
OPERATORS = (
    Column(key="what", heading="operator"),
    Column(key="calls", heading="calls/step", form="{:.0f}"),
    Column(key="ms", heading="self ms/step", form="{:.2f}"),
    Column(key="share", heading="of all", form="{:.1%}"),
)


def parts(run: Run, data: FoldData, repeats: int) -> list[dict[str, Any]]:
    """Milliseconds of processor time per step: the whole step and its parts."""
    learner, bare = Learner(run, data, CPU), Learner(run, data, CPU)
    for module in bare.model.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    order = learner.order()[:repeats]
    batches = [data.batch(indices) for indices in order]

    def keys(batch: Batch) -> None:
        set_dropout_keys(learner.model, batch.utterances, 1, 1, 0, 0)

    def forward(batch: Batch) -> torch.Tensor:
        keys(batch)
        return learner.model.loss(batch)

    @torch.no_grad()
    def evaluate(batch: Batch) -> None:
        learner.model.eval()
        learner.model(batch)
        learner.model.train()

    whole = timed(learner.step, order)
    seconds = {
        "whole step": whole,
        "forward": timed(forward, batches),
        "dropout: with it minus without": whole - timed(bare.step, order),
        "dropout's keys": timed(keys, batches),
        "optimiser": timed(lambda batch: learner.optimiser.step(), batches),
        "batch on the host": timed(data.batch, order),
        "evaluation of as many utterances": timed(evaluate, batches),
    }
    return [{"what": k, "ms": 1000 * v, "share": v / whole} for k, v in seconds.items()]


def timed(function: Callable[[Any], Any], batches: Sequence[Any]) -> float:
    """Mean processor seconds of a call, after some calls that are not timed."""
    for batch in batches[:WARM_UP_STEPS]:
        function(batch)
    began = time.process_time()
    for batch in batches:
        function(batch)
    return (time.process_time() - began) / len(batches)


def operators(run: Run, data: FoldData, repeats: int) -> list[dict[str, Any]]:
    """Time per step of each operator, without the operators that it calls, slowest first."""
    learner = Learner(run, data, CPU)
    order = learner.order()[:repeats]
    for indices in order[:WARM_UP_STEPS]:
        learner.step(indices)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
        for indices in order:
            learner.step(indices)
    found = profiled.key_averages()
    total = sum(e.self_cpu_time_total for e in found)
    found = sorted(found, key=lambda e: -e.self_cpu_time_total)[:TOP]
    return [
        {
            "what": e.key,
            "calls": e.count / len(order),
            "ms": e.self_cpu_time_total / 1000 / len(order),
            "share": e.self_cpu_time_total / total,
        }
        for e in found
    ]


def main(given: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", choices=tuple(STUDIES), default="demo")
    parser.add_argument("--corpus", type=Path, help="default: the demo's, spoken anew")
    parser.add_argument("--steps", type=int, default=40, help="how many are timed")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options, console = parser.parse_args(given), Console()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        corpus = given_or_demo(options.corpus, Path(folder))
        store = Store(Path(folder) / "store")
        inputs = open_inputs([STUDIES[options.sizes]], corpus, store, console, rows=[ROW])
        run = inputs.rows[0].runs[0]
        # So small that the weights hardly change: each repetition then times the same step.
        training = replace(run.spec.training, learning_rate=1e-9)
        run = replace(run, spec=replace(run.spec, training=training))
        data = inputs.fold(run)
        console.print(str(machine()))
        figures = {
            "sizes": options.sizes,
            "parts": parts(run, data, options.steps),
            "operators": operators(run, data, options.steps),
        }
    print_table("A step in processor time", PARTS, figures["parts"], console)
    print_table("Operators, forward and backward", OPERATORS, figures["operators"], console)
    write_figures(options.json, "step", figures)
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
