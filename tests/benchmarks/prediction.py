"""Predictions of a trained row: what one recording takes, and a thousand, in several ways.

    python -m tests.benchmarks.prediction STORE STUDY/ROW FOLDER

The recordings are those of a folder, again and again until there are enough, all with one text.
Opening the model is part of the first way alone, which is a new process.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from mlt_ray.inference.clips import Clip, find_clips
from mlt_ray.inference.load import load
from mlt_ray.inference.predictor import Predictor
from tests.benchmarks.figures import Column, ended, machine, print_table, write_figures

COLUMNS = (
    Column(key="what", heading="way"),
    Column(key="count", heading="recordings"),
    Column(key="wall_s", heading="s", form="{:.2f}"),
    Column(key="each_ms", heading="ms each", form="{:.1f}"),
    Column(key="ratio", heading="ratio", form="{:.1f}"),
)

SHELL, LATENCY, PLAIN, ONE, TOGETHER = (
    "mlt-ray predict in a new process",
    "one recording, the model open (median)",
    "plain loop: one recording, one run at a time",
    "one by one",
    "in one call",
)

REPEATS = 15


def measure(store: Path, model: str, clips: Sequence[Clip], device: str) -> list[dict[str, Any]]:
    """Figures of every way; `ratio` compares a recording with one of `ONE`."""
    predictor = load(model, store, device=device)
    runs = [load(run.digest, store, device=device) for run in predictor.model.runs]
    predictor.probabilities(clips[:40])  # warm
    seconds, labels = {}, {}
    few = clips[: max(1, len(clips) // 10)]
    seconds[PLAIN], _ = timed(lambda: one_by_one(runs, few))
    seconds[ONE], labels[ONE] = timed(lambda: one_by_one([predictor], clips))
    seconds[TOGETHER], labels[TOGETHER] = timed(lambda: predictor.probabilities(clips).mean(0))
    if (labels[ONE].argmax(axis=1) != labels[TOGETHER].argmax(axis=1)).any():
        raise AssertionError("one by one and in one call, labels differ")
    print(f"largest difference: {np.abs(labels[ONE] - labels[TOGETHER]).max():.1e}")
    alone = [timed(lambda: predictor.probabilities(clips[:1]))[0] for _ in range(REPEATS)]
    shell = statistics.median(in_a_process(store, model, clips[0], device) for _ in range(3))
    each = seconds[ONE] / len(clips)
    counts = {PLAIN: len(few), ONE: len(clips), TOGETHER: len(clips)}
    return [
        figures_of(SHELL, 1, shell, None),
        figures_of(LATENCY, 1, statistics.median(alone), None),
        *(figures_of(what, counts[what], seconds[what], each) for what in counts),
    ]


def figures_of(what: str, count: int, wall_s: float, one_s: float | None) -> dict[str, Any]:
    ratio = None if one_s is None else one_s / (wall_s / count)
    return {
        "what": what,
        "count": count,
        "wall_s": wall_s,
        "each_ms": 1000 * wall_s / count,
        "ratio": ratio,
    }


def one_by_one(predictors: Sequence[Predictor], clips: Sequence[Clip]) -> NDArray[np.float64]:
    """(N, K) mean probabilities of the recordings, each by itself and by every predictor."""
    return np.array(
        [np.mean([p.probabilities([clip])[:, 0] for p in predictors], (0, 1)) for clip in clips]
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def in_a_process(store: Path, model: str, clip: Clip, device: str) -> float:
    """Wall seconds of the whole command."""
    code = "from mlt_ray.cli.app import main; main()"
    command = [sys.executable, "-c", code, "predict", clip.id, "--text", clip.text]
    command += ["--store", str(store), "--model", model, "--device", device]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("model", help="STUDY/ROW, or a run's digest")
    parser.add_argument("audio", type=Path, help="folder of recordings")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--text", default="the kids are talking by the door")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = itertools.cycle(find_clips([str(options.audio)]))
    clips = [
        replace(clip, text=options.text, text_source="given")
        for clip in itertools.islice(found, options.count)
    ]
    rows = measure(options.store, options.model, clips, device)
    print_table(f"{options.model} on {machine()}", COLUMNS, rows, Console())
    write_figures(options.json, "prediction", {"model": options.model, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
