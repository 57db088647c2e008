"""What every benchmark shares: the machine it ran on, a table, and the same figures as JSON."""

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mlt_ray.errors import UserError


def ended(main: Callable[[], int]) -> int:
    """Run a benchmark; returns its exit code. A user's mistake is one line and 2, as in mlt-ray."""
    try:
        return main()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table: the figure's key, the column's heading, and the number format."""

    key: str
    heading: str
    form: str = "{}"

    def cell(self, figures: Mapping[str, Any]) -> str:
        """The figure as text; empty if there is none."""
        value = figures.get(self.key)
        return "" if value is None else self.form.format(value)


def print_table(
    title: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], console: Console
) -> None:
    """Print rows of figures; the first column is text, the others are numbers.

    A column without any figure is left out.
    """
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    shown = [c for c in columns if any(row.get(c.key) is not None for row in rows)]
    for number, column in enumerate(shown):
        table.add_column(
            column.heading,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=not number,
            min_width=max(map(len, column.heading.split())),
        )
    for row in rows:
        table.add_row(*(escape(column.cell(row)) for column in shown))
    console.print(table, highlight=False)


def write_figures(path: Path | None, benchmark: str, figures: Mapping[str, Any]) -> None:
    """Write a benchmark's figures and a description of the machine as JSON, if a path is given."""
    if path is None:
        return
    values = {"benchmark": benchmark, "machine": dataclasses.asdict(machine()), **figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine that figures were measured on. `load`: mean busy processes of the last minute."""

    processor: str
    cores: int
    gpus: tuple[str, ...]
    system: str
    python: str
    torch: str
    threads: int
    load: float

    def __str__(self) -> str:
        gpus = ", ".join(self.gpus) or "no GPU"
        return (
            f"{self.processor}, {self.cores} cores, {gpus}; torch {self.torch}, "
            f"{self.threads} threads; load {self.load:.1f}"
        )


def machine() -> Machine:
    """A description of this machine with its present load."""
    gpus = range(torch.cuda.device_count())
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        gpus=tuple(torch.cuda.get_device_name(n) for n in gpus),
        system=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0],
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_memory_mib() -> float:
    """The most memory (MiB) that this process ever held, from its start."""
    status = Path("/proc/self/status")
    if status.exists():
        # Better than `getrusage`, in which a process starts with the peak of its parent.
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)
