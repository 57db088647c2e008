"""Whether many runs in one process tree let it grow: memory, open files, threads, processes."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.table import Table

from mlt_ray.corpus.synthetic.demo import write_demo
from tests.crashes.scene import kill_session
from tests.end_to_end.conftest import COMMAND, STUDY, environment
from tests.endurance.remains import Machine

WARM_UP = 0.3
"""Part of the runs before which nothing is measured: what is loaded once is loaded there."""

EVERY_S = 2.0
"""Seconds between two samples."""

PER = 100
"""Growth is given for so many runs."""

MOST_MB = 20.0
"""Most megabytes that a process may grow in `PER` runs. The driver grows: Ray Tune keeps a record
of each trial (28 kB), the tracker each report (23 kB), and what MLflow has not written yet
waits."""

MOST_FILES = 0.5
"""Most open files, threads or processes that may be added in `PER` runs."""

ROLES = {
    "bin/mlt-ray ": "driver",
    "notebook.py": "driver",
    "ray::ImplicitFunc": "workers",
    "ray::RunBoard": "board",
    "/raylet/raylet ": "raylet",
    "/gcs/gcs_server ": "GCS",
}
"""What a process is, by a part of its command line; all others are "other"."""


FOLDS = 5
SHORT = STUDY.replace("max_epochs: 3", "max_epochs: 2")
SPACE = (
    SHORT.partition("rows:")[0]
    .replace("Two small rows", "Small widths")
    .replace("seeds: [1, 2]", "seeds: [1]")
    .replace("    system: multilevel\n", "    system: multilevel\n    inputs: audio\n")
    .replace("{", "{{")
    .replace("}", "}}")
    + """
space:
  training.learning_rate: {{log: [1e-4, 1e-2]}}
search: {{trials: {trials}, folds: [1], pruner: none, best: 1}}
"""
)
NOTEBOOK = """import mlt_ray

for seed in range(1, {calls} + 1):
    mlt_ray.run(*{given}, rows="audio only", seeds=[seed], progress=False)
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Of one kind of process, when `runs` were finished: sums over its processes."""

    role: str
    runs: int
    processes: int
    memory_mb: float
    files: int
    threads: int


WHATS = {
    "memory_mb": "MB",
    "files": "open files",
    "threads": "threads",
    "processes": "processes",
}
"""What is measured, and its heading."""


@dataclass(kw_only=True)
class Growth:
    """Samples of a program, and what lay in its folder of temporary files and in /dev/shm."""

    program: str
    runs: int
    seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    temporary: list[tuple[int, int]] = field(default_factory=list)

    def take(self, machine: Machine, finished: int) -> None:
        """Take a sample of every kind of process."""
        totals: dict[str, list[tuple[float, int, int]]] = {}
        for pid, line in machine.processes().items():
            role = next((role for part, role in ROLES.items() if part in line), "other")
            with contextlib.suppress(OSError, KeyError):
                totals.setdefault(role, []).append(measure(pid))
        for role, found in totals.items():
            memory, files, threads = (sum(column) for column in zip(*found, strict=True))
            self.samples.append(
                Sample(
                    role=role,
                    runs=finished,
                    processes=len(found),
                    memory_mb=memory,
                    files=int(files),
                    threads=int(threads),
                )
            )
        self.temporary.append((finished, len(machine.files())))

    def slope(self, role: str, what: str) -> float | None:
        """Growth in `PER` runs, after the warm-up: slope of a robust line; None if too short.

        The median of the slopes between all pairs of samples (Theil and Sen), on which a few
        samples that meet a worker's end or start have no influence.
        """
        late = [s for s in self.samples if s.role == role and s.runs >= WARM_UP * self.runs]
        x = np.array([s.runs for s in late], float)
        y = np.array([getattr(s, what) for s in late], float)
        first, second = np.triu_indices(len(x), 1)
        apart = np.abs(x[second] - x[first]) >= 0.1 * self.runs
        if not apart.any():
            return None
        rise = (y[second] - y[first])[apart] / (x[second] - x[first])[apart]
        return float(np.median(rise)) * PER

    def judge(self) -> None:
        """Complain of what grows."""
        for role in dict.fromkeys(sample.role for sample in self.samples):
            for what in WHATS:
                most = MOST_MB if what == "memory_mb" else MOST_FILES
                found = self.slope(role, what)
                if found is not None and found > most:
                    self.complaints.append(
                        f"{self.program}: {what} of {role} grow by {found:.1f} in {PER} runs"
                    )


def measure(pid: int) -> tuple[float, int, int]:
    """Memory of a process in MB (its own, not shared), its open files and its threads."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    memory_kb = int(status["RssAnon"].split()[0])
    return memory_kb / 1024, len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"])


@dataclass(frozen=True)
class Bench:
    """A small corpus, and a study whose runs take a moment."""

    folder: Path

    @classmethod
    def set(cls, folder: Path) -> "Bench":
        """Make both."""
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "corpus").exists():
            write_demo(folder / "corpus", utterances=40)
        (folder / "small.yaml").write_text(SHORT)
        return cls(folder)

    def arguments(self, store: Path) -> tuple[object, ...]:
        """What every command is given after the name of its study or space."""
        return ("--corpus", self.folder / "corpus", "--store", store)


def finished(store: Path) -> int:
    """How many runs of a store are finished."""
    return len(list((store / "runs").glob("*/report.json")))


def command(bench: Bench, number: int, show: Callable[[str], None]) -> Growth:
    """One `mlt-ray run` of so many runs: all folds, and as many seeds as it takes."""
    store = fresh(bench, "command")
    few = ("--rows", "audio only", "--seeds", f"1-{number // FOLDS}")
    arguments = ("run", bench.folder / "small.yaml", *bench.arguments(store), *few)
    growth = Growth(program="one mlt-ray run", runs=number)
    return watch(growth, (COMMAND, *arguments), bench, store, show)


def search(bench: Bench, number: int, show: Callable[[str], None]) -> Growth:
    """One `mlt-ray search` of so many configurations, each on one fold."""
    store, space = fresh(bench, "search"), bench.folder / "mini.yaml"
    space.write_text(SPACE.format(trials=number))
    arguments = ("search", space, *bench.arguments(store))
    growth = Growth(program="one mlt-ray search", runs=number)
    return watch(growth, (COMMAND, *arguments), bench, store, show)


def notebook(bench: Bench, number: int, show: Callable[[str], None]) -> Growth:
    """One Python process that calls `mlt_ray.run` again and again, for a seed each time."""
    store, path = fresh(bench, "notebook"), bench.folder / "notebook.py"
    given = tuple(map(str, (bench.folder / "small.yaml", bench.folder / "corpus", store)))
    path.write_text(NOTEBOOK.format(given=given, calls=number // FOLDS))
    growth = Growth(program="mlt_ray.run again and again", runs=number)
    return watch(growth, (sys.executable, path), bench, store, show)


def watch(
    growth: Growth,
    arguments: Sequence[object],
    bench: Bench,
    store: Path,
    show: Callable[[str], None],
) -> Growth:
    """Start a program and take samples of it until it has finished its runs."""
    # A short name: Ray's sockets are inside, and their paths may have 107 bytes.
    machine, began = Machine(bench.folder / "t"), time.monotonic()
    said = bench.folder / "output"
    with machine.entered(), said.open("w") as output:
        # Not into a pipe, which nobody reads meanwhile.
        process = subprocess.Popen(
            list(map(str, arguments)),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                number = finished(store)
                if 0 < number < growth.runs:
                    growth.take(machine, number)
                show(f"{growth.program}: {number}/{growth.runs}")
                time.sleep(EVERY_S)
        finally:
            if process.poll() is None:
                kill_session(process)
    growth.seconds = time.monotonic() - began
    if process.returncode:
        end = said.read_text()[-2000:]
        growth.complaints.append(f"{growth.program}: exit {process.returncode}: {end}")
    _, left = machine.wait_for_end()
    if left or machine.files():
        growth.complaints.append(f"{growth.program}: left {left} {machine.files()}")
    shutil.rmtree(machine.folder)
    growth.judge()
    return growth


def fresh(bench: Bench, name: str) -> Path:
    """An empty store."""
    store = bench.folder / name
    shutil.rmtree(store, ignore_errors=True)
    return store


PROGRAMS: Mapping[str, Callable[[Bench, int, Callable[[str], None]], Growth]] = {
    "run": command,
    "search": search,
    "notebook": notebook,
}


def table(found: Sequence[Growth]) -> Table:
    """What each kind of process had at last, and by how much it grew in `PER` runs."""
    shown = Table(title=f"Growth in {PER} runs", box=None, padding=(0, 1))
    for heading in ("program", "runs", "s", "processes", "MB at last", *WHATS.values()):
        left = heading in ("program", "processes")
        shown.add_column(heading, justify="left" if left else "right")
    for growth in found:
        for role in dict.fromkeys(sample.role for sample in growth.samples):
            slopes = [growth.slope(role, what) for what in WHATS]
            if None in slopes:
                continue
            last = [sample for sample in growth.samples if sample.role == role][-1]
            shown.add_row(
                growth.program,
                str(growth.runs),
                f"{growth.seconds:.0f}",
                role,
                f"{last.memory_mb:.0f}",
                *(f"{slope:+.2f}" for slope in slopes),
            )
    return shown
