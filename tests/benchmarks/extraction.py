"""Feature extraction in seconds of audio a second, and what commands take that compute nothing.

    python -m tests.benchmarks.extraction --corpus FOLDER --utterances 300

Nothing is trained but one small run, so that there is a store to report on.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile
from rich.console import Console

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.features.extract import extract
from mlt_ray.features.extras import extract_extra
from mlt_ray.planning.contents import Pretrained
from mlt_ray.spec import ExtraInput, FeatureSpec, FramesSpec
from mlt_ray.storage.store import Store
from tests.benchmarks.figures import Column, ended, machine, print_table, write_figures
from tests.benchmarks.inputs import MLT_RAY, counted, given_or_demo, sampled

FRAMES = {
    "log-mel, 128 bins": FramesSpec(),
    "log-mel, 40 bins": FramesSpec(num_bins=40, hop_ms=10),
    "MFCC": FramesSpec(kind="mfcc", num_bins=39, hop_ms=10),
    "spectrogram": FramesSpec(kind="spectrogram", num_bins=257, hop_ms=10),
}
"""Kinds of frames. With the first one, words, phonemes and word vectors are computed too."""

EXTRAS = ("prosody", "egemaps")

EXTRACTION = (
    Column(key="what", heading="extraction"),
    Column(key="wall_s", heading="s", form="{:.1f}"),
    Column(key="audio_s_per_s", heading="s of audio a second", form="{:.0f}"),
    Column(key="again_s", heading="s again", form="{:.2f}"),
)
COMMANDS = (
    Column(key="what", heading="command"),
    Column(key="wall_s", heading="s", form="{:.2f}"),
)


def extraction(corpus: Corpus, folder: Path) -> list[dict[str, Any]]:
    """Every kind of frames and vectors, each into an empty store, and again from its cache."""
    tools = Pretrained.load(None)
    audio_s = sum(soundfile.info(u.audio).duration for u in corpus.utterances)
    figures = []
    for what, frames in FRAMES.items():
        store, spec = Store(folder / what.partition(",")[0]), FeatureSpec(frames=frames)

        def frames_of(store: Store = store, spec: FeatureSpec = spec) -> None:
            extract(corpus, spec, store, tools.vectors, tools.phonemizer_of(spec.language))

        figures.append(timed_twice(what, frames_of, audio_s))
    for what in EXTRAS:
        store = Store(folder / what)

        def extra_of(what: str = what, store: Store = store) -> None:
            extract_extra(corpus, ExtraInput(what), store, FeatureSpec(), lambda *_: None)

        figures.append(timed_twice(what, extra_of, audio_s))
    return figures


def timed_twice(what: str, call: Any, audio_s: float) -> dict[str, Any]:
    """Wall seconds of a call that computes, and of the same call with everything in the cache."""
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return {
        "what": what,
        "wall_s": seconds[0],
        "audio_s": audio_s,
        "audio_s_per_s": audio_s / seconds[0],
        "again_s": seconds[1],
    }


def commands(corpus: Path, folder: Path) -> list[dict[str, Any]]:
    """Wall seconds of commands that have nothing to compute, as a user types them."""
    study, store = folder / "one.yaml", folder / "store"
    study.write_text(ONE_RUN)
    asked = ["run", str(study), "--corpus", str(corpus), "--store", str(store), "--folds", "1"]
    call_mlt_ray(asked)
    texts = {
        "mlt-ray --help": ["--help"],
        "mlt-ray studies": ["studies"],
        "mlt-ray report": ["report", "one", "--store", str(store)],
        "mlt-ray run --dry-run": [*asked, "--dry-run"],
        "mlt-ray run, all in the store": asked,
    }
    return [{"what": what, "wall_s": call_mlt_ray(given)} for what, given in texts.items()]


ONE_RUN = """
title: "One small run"
seeds: [1]
base:
  features: {frames_per_step: 16}
  model: {system: multilevel, width: 16, num_heads: 2, feed_forward: 32}
  training: {batch_size: 32, max_epochs: 1}
rows:
  - name: audio only
    model: {inputs: audio}
"""


def call_mlt_ray(given: Sequence[str]) -> float:
    """Wall seconds of one command in a fresh process."""
    began = time.perf_counter()
    subprocess.run([*MLT_RAY, *given], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main(given: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", type=Path, help="default: the demo's, spoken anew")
    parser.add_argument("--utterances", type=int, help="take so many of the corpus, at random")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options, console = parser.parse_args(given), Console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = sampled(given_or_demo(options.corpus, folder), options.utterances, folder)
        corpus = counted(root)
        console.print(f"{machine()}\n{len(corpus)} utterances")
        figures = {
            "utterances": len(corpus),
            "extraction": extraction(corpus, folder),
            "commands": commands(root, folder),
        }
    print_table("Into an empty store", EXTRACTION, figures["extraction"], console)
    print_table("Start-up", COMMANDS, figures["commands"], console)
    write_figures(options.json, "extraction", figures)
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
