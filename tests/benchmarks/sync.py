"""What MLflow costs where there are many runs, and how that grows with their number.

    python -m tests.benchmarks.sync --runs 1000,3000,10000 --json FILE
    python -m tests.benchmarks.sync --runs 500 --server --delay-ms 0,50 --beside CHECKOUT

A store of so many finished runs, which nobody has trained (`tests.benchmarks.many_runs`), is
written to MLflow: to the database in the store, and with `--server` to an MLflow server of this
machine too, as far away as `--delay-ms` says. `--beside` names a folder with another version of
this project, whose sync of the same store is measured as well, before ours.

Then what a user waits for: a sync with nothing to do, `mlt-ray run --dry-run` of the study,
`mlt-ray report`, and the page of an experiment as MLflow's pages ask for it. Processor seconds
hardly depend on who else uses the machine; those of a server are not in them.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks.figures import Column, ended, machine, print_table, write_figures
from tests.benchmarks.inputs import MLT_RAY
from tests.benchmarks.many_runs import STUDY, ManyRuns, make
from tests.benchmarks.slow_server import delayed
from tests.crashes.servers import free_port, server

COLUMNS = (
    Column(key="what", heading="MLflow"),
    Column(key="runs", heading="runs"),
    Column(key="sync_s", heading="sync s", form="{:.1f}"),
    Column(key="run_ms", heading="ms a run", form="{:.1f}"),
    Column(key="run_cpu_ms", heading="CPU ms a run", form="{:.1f}"),
    Column(key="again_s", heading="nothing to do s", form="{:.2f}"),
    Column(key="page_s", heading="MLflow's page s", form="{:.2f}"),
    Column(key="dry_run_s", heading="dry run s", form="{:.1f}"),
    Column(key="report_s", heading="report s", form="{:.1f}"),
    Column(key="memory_mib", heading="MiB", form="{:.0f}"),
    Column(key="load", heading="load", form="{:.1f}"),
)

SYNC = """
import json, sys, time
from pathlib import Path
from mlt_ray.storage.record import all_records
from mlt_ray.storage.store import Store
from mlt_ray.tracking.location import tracking_location
from mlt_ray.tracking.tracker import Tracker
import mlflow, matplotlib.figure, pandas

def peak_mib():
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 2**10

store = Store(sys.argv[1])
records = all_records(store)
found = {}
# The first one makes the database or reads it.
Tracker(store, tracking_location(store, sys.argv[2] or None), records)
for key in ("sync", "again"):
    began, cpu = time.perf_counter(), time.process_time()
    tracker = Tracker(store, tracking_location(store, sys.argv[2] or None), records)
    tracker.sync()
    assert not tracker.broken, tracker.broken
    found[key + "_s"] = time.perf_counter() - began
    found[key + "_cpu_s"] = time.process_time() - cpu
found["memory_mib"] = peak_mib()
began = time.perf_counter()
client = mlflow.MlflowClient(tracking_uri=tracker.uri)
experiment = client.get_experiment_by_name(records[0].study).experiment_id
client.search_runs([experiment], max_results=100, order_by=["attributes.start_time ASC"])
found["page_s"] = time.perf_counter() - began
print("FIGURES" + json.dumps(found))
"""
"""What is measured of one version in a process of its own: a sync of everything, and another."""


def synced(code: Path, store: Path, uri: str, runs: int) -> dict[str, Any]:
    """Figures of a sync by the version of this project in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SYNC, str(store), uri]
    load = os.getloadavg()[0]
    done = subprocess.run(
        command, cwd=code, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    [line] = [x for x in done.stdout.splitlines() if x.startswith("FIGURES")]
    found = json.loads(line.removeprefix("FIGURES"))
    found["run_ms"] = 1000 * found["sync_s"] / runs
    found["run_cpu_ms"] = 1000 * found["sync_cpu_s"] / runs
    return {"runs": runs, "load": load, **found}


def forget(store: Path) -> None:
    """Delete the MLflow database in a store, and its files."""
    for path in store.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(store / "mlartifacts", ignore_errors=True)


@contextmanager
def a_server(folder: Path, delay_ms: float) -> Iterator[str]:
    """The URI of a new MLflow server that is so far away."""
    folder.mkdir()
    port = free_port()
    with server(folder / "server.db", port), delayed(port, delay_ms / 1000) as outside:
        yield f"http://127.0.0.1:{outside if delay_ms else port}"


def command_s(*words: object) -> float:
    """Wall seconds of a command."""
    began = time.perf_counter()
    subprocess.run([*MLT_RAY, *map(str, words)], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def waited_for(many: ManyRuns) -> dict[str, float]:
    """Seconds of commands that compute nothing."""
    where = ("--store", many.store.root)
    return {
        "dry_run_s": command_s("run", many.study, "--corpus", many.corpus, *where, "--dry-run"),
        "report_s": command_s("report", STUDY, *where),
    }


def measure(runs: int, options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Figures of one number of runs: for each version, and each place of MLflow."""
    many, here = make(folder, runs), Path.cwd()
    codes = {"before": options.beside, "": here} if options.beside else {"": here}
    for name, code in codes.items():
        forget(many.store.root)
        found = synced(code, many.store.root, "", runs)
        if not name and not options.only_sync:
            found |= waited_for(many)
        yield {"what": f"in the store {name}", **found}
    for delay_ms in options.delay_ms.split(",") if options.server else ():
        for name, code in codes.items():
            place = folder / f"server {delay_ms} {name}"
            with a_server(place, float(delay_ms)) as uri:
                found = synced(code, many.store.root, uri, runs)
            yield {"what": f"server, {delay_ms} ms away {name}", **found}
            shutil.rmtree(place)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", default="100,500", help="separated by commas; multiples of 50")
    parser.add_argument("--server", action="store_true", help="an MLflow server too")
    parser.add_argument("--delay-ms", default="0", help="of each request, separated by commas")
    parser.add_argument("--beside", type=Path, help="folder with another version to compare")
    parser.add_argument("--only-sync", action="store_true", help="no other commands")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure each number of runs, and print the figures as they come."""
    options, console = arguments(given), Console()
    console.print(str(machine()), highlight=False)
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for runs in map(int, options.runs.split(",")):
            place = Path(name) / f"{runs} runs"
            for found in measure(runs, options, place):
                figures.append(found)
                write_figures(options.json, "sync", {"calls": figures})
            shutil.rmtree(place)
            print_table("Many runs in MLflow", COLUMNS, figures, console)
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
