"""What Ray, the store and MLflow cost beside the training that they organise.

    python -m tests.benchmarks.overhead --json FILE

The 15 runs of one row of the demo, twice: by `mlt-ray run`, and by a bare Python loop that calls
`mlt_ray.training.fit.fit_runs` for one run after the other and keeps nothing but the reports. Both
have the features in a cache, as many processes (`--concurrency`), and one thread in each.

Start-up is what happens once a command: the time until the first run begins, and that after the
last one has ended. The rest, from the first beginning to the last end, grows with the runs, and
there the overhead is judged: seconds of `mlt-ray run` above those of the bare loop, as a share.
Processor time hardly depends on who else uses the machine, so it is given, too, over all processes
of the command, and of the same time between the first beginning and the last end. The last line is
the same command with nothing left to do.
"""

import argparse
import functools
import math
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from mlt_ray.corpus.synthetic.demo import write_demo
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import RunFailed
from mlt_ray.spec import Run
from mlt_ray.storage.report import RunReport
from mlt_ray.storage.store import Store
from mlt_ray.training.fit import fit_runs
from tests.benchmarks.figures import Column, ended, machine, print_table, write_figures
from tests.benchmarks.inputs import MLT_RAY, fold_of, open_inputs, read_table

STUDY, ROW = "demo", "highway network"
UTTERANCES = 600
GOAL = 0.05
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.5

COLUMNS = (
    Column(key="what", heading="15 runs"),
    Column(key="processes", heading="at once"),
    Column(key="wall_s", heading="wall s", form="{:.1f}"),
    Column(key="start_s", heading="start", form="{:.1f}"),
    Column(key="runs_s", heading="runs", form="{:.1f}"),
    Column(key="end_s", heading="end", form="{:.1f}"),
    Column(key="overhead", heading="overhead", form="{:+.1%}"),
    Column(key="epochs_s", heading="in epochs", form="{:.1f}"),
    Column(key="gap_ms", heading="between two ms", form="{:.0f}"),
    Column(key="cpu_s", heading="CPU s", form="{:.1f}"),
    Column(key="runs_cpu_s", heading="in runs", form="{:.1f}"),
    Column(key="cpu_overhead", heading="overhead", form="{:+.1%}"),
    Column(key="load", heading="load", form="{:.1f}"),
)


class Process(NamedTuple):
    """A process, named by its id and its start, since ids are reused."""

    pid: int
    started: str


@dataclass
class Watch:
    """Measures the processor seconds of a process and its descendants, by kind of process.

    It takes samples, so the last half second of a process may be missing.
    """

    root: int
    samples: list[tuple[float, dict[Process, float]]] = field(default_factory=list)
    kinds: dict[Process, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more samples."""
        self._ended.set()
        self._thread.join()

    def used(self, began: float = 0.0, ended: float = math.inf) -> dict[str, float]:
        """Processor seconds between two Unix times, by kind of process; empty without /proc."""
        until = [found for at, found in self.samples if at <= ended]
        before = [found for at, found in self.samples if at <= began]
        first = before[-1] if before else {}
        kinds: defaultdict[str, float] = defaultdict(float)
        for process, seconds in (until[-1] if until else {}).items():
            # The last name of a process counts: Ray renames idle workers when they start to work.
            kinds[self.kinds[process]] += seconds - first.get(process, 0.0)
        return dict(kinds)

    def _sample(self) -> None:
        known, seconds = {self.root}, {}
        while not self._ended.wait(SAMPLE_S):
            for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda p: int(p.name)):
                try:
                    fields = (path / "stat").read_text().rpartition(")")[2].split()
                    command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except (OSError, UnicodeDecodeError):
                    continue  # the process has ended
                pid, parent = int(path.name), int(fields[1])
                if pid not in known and parent not in known:
                    continue
                known.add(pid)
                used = TICK_S * (int(fields[11]) + int(fields[12]))
                process = Process(pid, fields[19])
                seconds[process] = used
                self.kinds[process] = kind_of(command, pid == self.root)
            self.samples.append((time.time(), dict(seconds)))


def kind_of(command: str, is_root: bool) -> str:
    """The kind of a process, from its command line."""
    if is_root:
        return "driver"
    for text, kind in KINDS.items():
        if text in command:
            return kind
    return "other"


KINDS = {
    "ImplicitFunc": "workers",
    "multiprocessing.spawn": "workers",
    "ray::Board": "board",
    "ray::": "idle workers",
    "dashboard": "dashboard",
    "gcs_server": "gcs_server",
    "raylet": "raylet",
    "log_monitor": "log monitor",
}
"""Text in a command line → kind of the process; the first match counts."""


@dataclass(frozen=True)
class Call:
    """One command: Unix times of start and end, reports of its runs, processor seconds."""

    began: float
    ended: float
    reports: Sequence[RunReport]
    watch: Watch

    def figures(self) -> dict[str, Any]:
        """Seconds of the command and of its parts."""
        found: dict[str, Any] = {
            "wall_s": self.ended - self.began,
            "cpu_s": sum(self.watch.used().values()),
            "load": os.getloadavg()[0],
        }
        if self.reports:
            first = min(r.started_ms for r in self.reports) / 1000
            last = max(r.ended_ms for r in self.reports) / 1000
            used = self.watch.used(first, last)
            found |= {
                "runs_cpu_s": sum(used.values()),
                "runs_cpu_by_kind_s": used,
                "start_s": first - self.began,
                "runs_s": last - first,
                "end_s": self.ended - last,
                "epochs_s": sum(r.computed_s for r in self.reports),
                "gap_ms": mean_gap_ms(self.reports),
            }
        return found


def mean_gap_ms(reports: Sequence[RunReport]) -> float | None:
    """Mean time from the end of one run to the start of the next; None if runs overlap."""
    runs = sorted(reports, key=lambda r: r.started_ms)
    gaps = [later.started_ms - earlier.ended_ms for earlier, later in pairwise(runs)]
    return statistics.fmean(gaps) if gaps and min(gaps) >= 0 else None


def watched(command: Sequence[str]) -> tuple[float, float, Watch]:
    """Run a command; returns Unix times of start and end, and its processes' processor seconds."""
    began = time.time()
    # One thread in every process.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    watch = Watch(process.pid)
    printed, _ = process.communicate()
    ended = time.time()
    watch.stop()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{printed}")
    return began, ended, watch


def run_bare(runs: Sequence[Run], store: Store, processes: int, folder: Path) -> Call:
    """Run the bare loop in that many processes, each with one run after the other."""
    job, result = folder / "job", folder / "result"
    job.write_bytes(pickle.dumps((list(runs), str(store.root), processes, str(result))))
    command = [sys.executable, "-m", "tests.benchmarks.overhead", "--bare", str(job)]
    began, ended, watch = watched(command)
    return Call(began, ended, pickle.loads(result.read_bytes()), watch)


def bare_loop(job: Path) -> None:
    """Train runs one after the other; this is what each process of `run_bare` does."""
    runs, location, processes, result = pickle.loads(job.read_bytes())
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        reports = list(pool.map(train_alone, runs, [location] * len(runs)))
    Path(result).write_bytes(pickle.dumps(reports))


def train_alone(run: Run, location: str) -> RunReport:
    """Train one run on one thread."""
    torch.set_num_threads(1)
    data = fold_of(run, corpus_of(run.spec.corpus, location), Store(location))
    [finished] = fit_runs([run], [data], device=torch.device("cpu"))
    if isinstance(finished, RunFailed):
        raise finished
    return finished.report


@functools.cache
def corpus_of(fingerprint: str, location: str) -> Corpus:
    """The corpus; each process reads it once."""
    return read_table(fingerprint, Store(location))


def run_stack(
    runs: Sequence[Run],
    store: Store,
    corpus: Path,
    processes: int,
    overrides: Sequence[str],
) -> Call:
    """Run the same runs by `mlt-ray run`; no reports if the store had all of them before."""
    known = store.finished(run.digest for run in runs)
    command = [*MLT_RAY, "run", STUDY]
    command += ["--corpus", str(corpus), "--store", str(store.root), "--rows", ROW]
    command += ["--concurrency", str(processes)]
    command += [part for value in overrides for part in ("--set", value)]
    began, ended, watch = watched(command)
    reports = store.reports(run.digest for run in runs)
    if len(reports) != len(runs):
        raise SystemExit(f"expected {len(runs)} finished runs, found {len(reports)}")
    return Call(began, ended, [r for r in reports if r.digest not in known], watch)


def measure(
    inputs_store: Store,
    runs: Sequence[Run],
    corpus: Path,
    processes: int,
    overrides: Sequence[str],
    folder: Path,
) -> list[dict[str, Any]]:
    """Figures of the bare loop, of `mlt-ray run`, and of `mlt-ray run` with nothing left to do."""
    folder.mkdir(parents=True)
    bare = run_bare(runs, inputs_store, processes, folder).figures()
    # A new store that has the features but no runs.
    store = Store(shutil.copytree(inputs_store.root, folder / "store"))
    stack = run_stack(runs, store, corpus, processes, overrides).figures()
    again = run_stack(runs, store, corpus, processes, overrides).figures()
    stack["overhead"] = stack["runs_s"] / bare["runs_s"] - 1
    stack["cpu_overhead"] = stack["runs_cpu_s"] / bare["runs_cpu_s"] - 1
    named = {"bare loop": bare, "mlt-ray run": stack, "nothing left": again}
    return [{"what": k, "processes": processes, **found} for k, found in named.items()]


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", type=Path, help="default: the demo's, spoken anew")
    parser.add_argument("--epochs", type=int, default=12, help="of each run")
    parser.add_argument("--concurrency", default="1,2", help="runs at once, separated by commas")
    parser.add_argument("--repeats", type=int, default=1, help="of everything, one after another")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure; print each call, and the median overhead."""
    options, console = arguments(given), Console()
    if options.bare is not None:
        bare_loop(options.bare)
        return 0
    console.print(str(machine()), highlight=False)
    overrides = [f"training.max_epochs={options.epochs}", f"training.patience={options.epochs}"]
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = options.corpus or folder / "corpus"
        if options.corpus is None:
            write_demo(corpus, utterances=UTTERANCES)
        store = Store(folder / "store")
        inputs = open_inputs([STUDY], corpus, store, console, rows=[ROW], overrides=overrides)
        runs = inputs.rows[0].runs
        for repeat in range(options.repeats):
            for processes in map(int, options.concurrency.split(",")):
                place = folder / f"{repeat} {processes}"
                figures += measure(store, runs, corpus, processes, overrides, place)
                print_table(f"{options.epochs} epochs a run", COLUMNS, figures, console)
                write_figures(
                    options.json, "overhead", {"epochs": options.epochs, "calls": figures}
                )
    for key, what in (("overhead", "wall time"), ("cpu_overhead", "processor time")):
        found = statistics.median(f[key] for f in figures if key in f)
        console.print(f"median overhead in {what}: {found:+.1%}; goal: {GOAL:+.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
