"""What `corpus check` and a plan take, in seconds and memory, and how that grows with a corpus.

    python -m tests.benchmarks.corpora --utterances 20000,100000,200000 --json FILE

The corpus is a manifest of made-up texts, 500 speakers and 20 sessions. Its recordings last a tenth
of a second and differ, since folds keep copies together: what is measured is what an utterance
costs beside decoding it, which takes the same for each. Each command has a process of its own.
"""

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from rich.console import Console

from mlt_ray.corpus.readers.manifest import FILE_NAME
from mlt_ray.labels import FOUR
from tests.benchmarks.figures import Column, ended, machine, print_table, write_figures
from tests.benchmarks.inputs import MLT_RAY

RATE_HZ, SAMPLES = 16_000, 1600
SPEAKERS, SESSIONS = 500, 20
FOLDER_SIZE = 1000
"""Recordings in a folder."""

SENTENCE = """what you said is not true and we never go back there again because nobody told me so
well please listen I do know how it was before they came home late don't worry it's all right"""
WORDS = SENTENCE.split()

COLUMNS = (
    Column(key="what", heading="command"),
    Column(key="utterances", heading="utterances", form="{:,}"),
    Column(key="wall_s", heading="s", form="{:.1f}"),
    Column(key="cpu_s", heading="CPU s", form="{:.1f}"),
    Column(key="us_each", heading="µs each", form="{:.0f}"),
    Column(key="memory_mib", heading="MiB", form="{:.0f}"),
    Column(key="kib_each", heading="KiB each", form="{:.1f}"),
)


def write_corpus(folder: Path, utterances: int) -> None:
    """Write a corpus of that many utterances; the same number gives the same bytes."""
    rng = np.random.default_rng(0)
    with (folder / FILE_NAME).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "text", "emotion", "speaker", "session"))
        for number in range(utterances):
            place = Path(f"{number // FOLDER_SIZE:04d}") / f"{number:06d}.wav"
            if number % FOLDER_SIZE == 0:
                (folder / place).parent.mkdir()
            soundfile.write(folder / place, rng.uniform(-0.5, 0.5, SAMPLES), RATE_HZ)
            text = " ".join(rng.choice(WORDS, rng.integers(3, 20)))
            speaker = int(rng.integers(SPEAKERS))
            row = (place, text, rng.choice(FOUR), f"s{speaker}", f"t{speaker % SESSIONS}")
            writer.writerow(row)


def measure(what: str, utterances: int, command: Sequence[str]) -> dict[str, Any]:
    """Seconds and peak memory of a command in a process of its own."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    # Its own process asks what the command took, so that no other child counts.
    script = (
        "import resource, subprocess, sys; "
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
    )
    done = subprocess.run(
        (sys.executable, "-c", script, *command), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    memory_kib = int(done.stdout)
    return {
        "what": what,
        "utterances": utterances,
        "wall_s": wall_s,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "us_each": 1e6 * wall_s / utterances,
        "memory_mib": memory_kib / 2**10,
        "kib_each": memory_kib / utterances,
    }


def measure_all(corpus: Path, utterances: int, rows: str) -> list[dict[str, Any]]:
    """The commands on one corpus."""
    store = ("--store", str(corpus / "store"))
    commands = {
        "corpus check": ("corpus", "check", str(corpus)),
        "run --dry-run": (
            *("run", "table1", "--corpus", str(corpus), *store),
            *("--dry-run", "--rows", rows),
        ),
    }
    return [measure(what, utterances, (*MLT_RAY, *given)) for what, given in commands.items()]


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", default="2000,20000", help="separated by commas")
    parser.add_argument("--rows", default="highway network", help="of table1, for the plan")
    parser.add_argument("--corpora", type=Path, help="folder of the corpora, which is kept")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure the commands on each size of corpus."""
    options, console, figures = arguments(given), Console(), []
    console.print(str(machine()))
    with tempfile.TemporaryDirectory() as name:
        for utterances in map(int, options.utterances.split(",")):
            corpus = (options.corpora or Path(name)) / str(utterances)
            if not corpus.is_dir():
                corpus.mkdir(parents=True)
                write_corpus(corpus, utterances)
            figures += measure_all(corpus, utterances, options.rows)
            print_table("Corpora", COLUMNS, figures, console)
            write_figures(options.json, "corpora", {"commands": figures})
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
