"""How long the report page of a study takes, from a store of finished runs to the file.

    python -m tests.benchmarks.page
    python -m tests.benchmarks.page --rows 7 --utterances 600

Runs are made up: 15 a row, on as many utterances as the paper's. Reading their predictions,
resampling, drawing and writing are parts of it.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from mlt_ray.reports.page.content import contents_of
from mlt_ray.reports.page.render import write_page
from mlt_ray.reports.results import results_of
from mlt_ray.storage.store import Store
from tests.benchmarks.figures import Column, ended, print_table, write_figures
from tests.reports.made_up import fill

COLUMNS = (
    Column(key="runs", heading="runs", form="{:d}"),
    Column(key="predictions", heading="predictions", form="{:,d}"),
    Column(key="reading_s", heading="reading, s", form="{:.1f}"),
    Column(key="statistics_s", heading="statistics, s", form="{:.1f}"),
    Column(key="drawing_s", heading="drawing, s", form="{:.1f}"),
    Column(key="all_s", heading="all, s", form="{:.1f}"),
    Column(key="size_mb", heading="page, MB", form="{:.2f}"),
)


def measure(num_rows: int, num_utterances: int, folder: Path) -> dict[str, float]:
    """Seconds of each part, of a page that is written into the folder."""
    store = Store(folder / "store")
    skills = {f"row {n}": 0.4 + 0.5 * n / num_rows for n in range(num_rows)}
    records = fill(store, skills, num_utterances).records
    times = [time.perf_counter()]
    results = results_of(records, store)
    num_predictions = len(results.predictions)
    times.append(time.perf_counter())
    contents = contents_of(results)
    times.append(time.perf_counter())
    page = write_page(contents, folder).path
    times.append(time.perf_counter())
    reading, statistics, drawing = (b - a for a, b in pairwise(times))
    return {
        "runs": len(results.runs),
        "predictions": num_predictions,
        "reading_s": reading,
        "statistics_s": statistics,
        "drawing_s": drawing,
        "all_s": times[-1] - times[0],
        "size_mb": page.stat().st_size / 1e6,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=16, help="15 runs each; tables 1 to 3 have 16")
    parser.add_argument("--utterances", type=int, default=5530)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.rows, options.utterances, Path(folder))
    print_table("A report page", COLUMNS, [found], Console())
    write_figures(options.json, "page", found)
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
