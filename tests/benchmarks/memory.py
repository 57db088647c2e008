"""How far the estimate of a run's memory is from what the run takes.

    python -m tests.benchmarks.memory --json FILE

Each case trains runs of one row for an epoch in a process of its own, on a CPU, and compares the
most memory that the process holds with `mlt_ray.planning.memory.estimate`, without the pages of
libraries that all processes share. The ratio is of what training adds to the process. The estimate
is for the longest utterances of the corpus, so it is to be above what is measured, and not far
above.
"""

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from rich.console import Console

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.planning.contents import Pretrained
from mlt_ray.planning.memory.estimate import memory_of
from mlt_ray.planning.memory.needs import MIB
from mlt_ray.spec import Run
from mlt_ray.storage.store import Store
from mlt_ray.training.fit import fit_runs
from tests.benchmarks.figures import Column, peak_memory_mib, print_table, write_figures
from tests.benchmarks.inputs import fold_of, given_or_demo, open_inputs, sampled


class Case(NamedTuple):
    """A row of a shipped study, with other settings, and how many of its runs are a pack."""

    study: str
    row: str
    num_runs: int = 1
    overrides: tuple[str, ...] = ()

    def __str__(self) -> str:
        pack = f", a pack of {self.num_runs}" if self.num_runs > 1 else ""
        changes = f", {', '.join(self.overrides)}" if self.overrides else ""
        return f"{self.study}: {self.row}{pack}{changes}"


WIDE: Final = ("model.width=1024", "model.feed_forward=4096")

CASES: Final = (
    Case("demo", "highway network"),
    Case("demo", "highway network", 5),
    Case("demo_baselines", "S. Yoon et al."),
    Case("table1", "S. Yoon et al."),
    Case("table1", "H. Xu et al."),
    Case("table1", "H. Li et al."),
    Case("table1", "highway network"),
    Case("table1", "highway network", 3),
    Case("table1", "highway network", overrides=("training.batch_size=32",)),
    Case("table1", "highway network", overrides=("model.attention_dropout=0.1",)),
    Case("table1", "highway network", overrides=WIDE),
    Case("table1", "highway network", 3, WIDE),
    Case("demo_table3", "Bert"),
    Case("table3", "Bert"),
)
COLUMNS: Final = (
    Column(key="case", heading="case"),
    Column(key="estimated_mib", heading="estimated MiB", form="{:.0f}"),
    Column(key="measured_mib", heading="measured MiB", form="{:.0f}"),
    Column(key="ratio", heading="ratio", form="{:.2f}"),
    Column(key="process_mib", heading="process MiB", form="{:.0f}"),
)


def measure(case: Case, runs: Sequence[Run], corpus: Corpus, store: Store) -> dict[str, Any]:
    """MiB that a process holds that trains, and what it holds before."""
    arguments = (list(runs[: case.num_runs]), corpus, store.location)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_train, *arguments).result()


def _train(runs: Sequence[Run], corpus: Corpus, location: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    one = torch.randn(64, 64, requires_grad=True)
    (one @ one).sum().backward()
    own = _status("smaps_rollup", "Private_Dirty")
    before = _status("status", "VmRSS")
    # From here on the most is counted anew.
    Path("/proc/self/clear_refs").write_text("5")
    data = [fold_of(run, corpus, Store(location)) for run in runs]
    fit_runs(runs, data, device=torch.device("cpu"))
    return {"measured_mib": own + peak_memory_mib() - before, "process_mib": own}


def _status(file: str, name: str) -> float:
    """MiB of a line of this process's files."""
    lines = Path(f"/proc/self/{file}").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024


def compare(
    cases: Sequence[Case], corpus_folder: Path, store: Store, console: Console
) -> list[dict[str, Any]]:
    """A figure for each case: what is estimated, and what is measured."""
    figures = []
    for case in cases:
        overrides = (*case.overrides, "training.max_epochs=1")
        encoder = "minilm" if case.study.endswith("table3") else None
        inputs = open_inputs(
            [case.study],
            corpus_folder,
            store,
            console,
            encoder=encoder,
            rows=[case.row],
            overrides=overrides,
        )
        row = inputs.rows[0]
        pretrained = Pretrained.load(None, encoder, store=store)
        if row.spec.model.text_encoder is not None:
            pretrained.encoders.identify("minilm")
        found = memory_of(row.spec, inputs.corpus, pretrained)
        assert found is not None
        estimated = found.process(case.num_runs, on_gpu=False) / MIB
        figure = measure(case, row.runs, inputs.corpus, store)
        figures.append(
            {
                "case": str(case),
                "estimated_mib": estimated,
                # Of what training adds: the process alone would make any estimate look right.
                "ratio": (estimated - figure["process_mib"])
                / (figure["measured_mib"] - figure["process_mib"]),
                **figure,
            }
        )
        console.print(f"{case}: {figures[-1]['ratio']:.2f} of what is measured", highlight=False)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, help="default: the demo's")
    parser.add_argument("--utterances", type=int, default=100, help="so many of them; 0: all")
    parser.add_argument("--cases", type=int, nargs="*", help="their places, from 0; default: all")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    console = Console()
    cases = CASES if options.cases is None else [CASES[place] for place in options.cases]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        corpus = sampled(given_or_demo(options.corpus, folder), options.utterances, folder)
        figures = compare(cases, corpus, Store(folder / "store"), console)
    print_table("Memory of training", COLUMNS, figures, console)
    write_figures(options.json, "memory", {"cases": figures})


if __name__ == "__main__":
    main()
