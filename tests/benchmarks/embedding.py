"""Seconds of audio that a frozen speech encoder embeds in a second, in several ways.

    python -m tests.benchmarks.embedding
    python -m tests.benchmarks.embedding --encoder FOLDER --corpus FOLDER

Reading the recordings is part of it; opening the encoder and starting Ray are not. By default both
are made up: Whisper base with random weights, and noises as long as IEMOCAP's utterances.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from rich.console import Console

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ
from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.encoders.catalogue import SPEECH
from mlt_ray.encoders.embedding import Embedding, batches, blocks, embed
from mlt_ray.encoders.folder import encoder_folder, find_encoder
from mlt_ray.encoders.opening import open_encoder
from mlt_ray.encoders.speech import SpeechEncoder, layer_states
from mlt_ray.planning.resources import Resources
from mlt_ray.storage.store import Store
from tests.base_speech_encoder import BASES, write_base
from tests.benchmarks.figures import Column, ended, machine, print_table, write_figures

IEMOCAP, MEAN_S, MEDIAN_S = 5531, 4.55, 3.5
"""Utterances of the paper's four classes; their mean and about their median duration."""

COLUMNS = (
    Column(key="what", heading="a recording's layers are computed"),
    Column(key="wall_s", heading="s", form="{:.1f}"),
    Column(key="audio_s_per_s", heading="s of audio a second", form="{:.1f}"),
    Column(key="ratio", heading="ratio", form="{:.2f}"),
    Column(key="iemocap_min", heading="IEMOCAP, min", form="{:.1f}"),
)

ONE, EACH, TOGETHER, CLUSTER = (
    "alone, by one thread",
    "one a thread",
    "in batches by length, by all threads",
    "by Ray's workers, one a CPU",
)

WARM_UP: Final = 16
"""Recordings; each is a block of its own, so that every worker gets some."""

Way = Callable[[Sequence[Path]], Iterator[NDArray[Any]]]


def in_batches(
    encoder: SpeechEncoder, paths: Sequence[Path], embedding: Embedding
) -> Iterator[NDArray[Any]]:
    """As a GPU does it: blocks of the encoder compute recordings of similar length together."""
    for block in blocks(paths):
        found: dict[int, NDArray[Any]] = {}
        for batch in batches(block, embedding.pad_to_30s):
            states = layer_states(encoder, [block[n] for n in batch], embedding.pad_to_30s)
            found |= zip(batch, map(embedding.of, states), strict=True)
        yield from (found[n] for n in range(len(block)))


def by_threads(
    encoder: SpeechEncoder, paths: Sequence[Path], embedding: Embedding, num_threads: int | None
) -> Iterator[NDArray[Any]]:
    """One recording a thread, as `mlt-ray run` does it on a CPU."""
    for block in blocks(paths):
        yield from embed(encoder, block, embedding, num_threads)


def measure(
    folder: Path,
    paths: Sequence[Path],
    embedding: Embedding,
    audio_s: float,
    repeats: int,
    room: Path,
) -> list[dict[str, Any]]:
    """Figures of every way, by the encoder in `folder`; `ratio` compares them with the first."""
    from mlt_ray.scheduling.connection import connection
    from mlt_ray.scheduling.embedding import cluster_embedder

    encoder = open_encoder(folder, torch.device("cpu"))
    ways: dict[str, Way] = {
        ONE: lambda chosen: by_threads(encoder, chosen, embedding, 1),
        EACH: lambda chosen: by_threads(encoder, chosen, embedding, None),
        TOGETHER: lambda chosen: in_batches(encoder, chosen, embedding),
    }
    seconds = {what: timed(way, paths, repeats) for what, way in ways.items()}
    store, found = Store(room), find_encoder(str(folder), SPEECH)
    stored = encoder_folder(store, found.identity)
    found.copy_to(stored)
    with connection("local", Resources()) as resources:
        by_workers = cluster_embedder(store, resources)
        seconds[CLUSTER] = timed(
            lambda chosen: by_workers(stored, chosen, embedding), paths, repeats
        )
    return [figures_of(what, wall_s, audio_s, seconds[ONE]) for what, wall_s in seconds.items()]


def timed(way: Way, paths: Sequence[Path], repeats: int) -> float:
    """Median wall seconds, after a warm-up in which workers start and open the encoder."""
    with patch("mlt_ray.encoders.embedding.BLOCK", 1):
        deque(way(paths[:WARM_UP]), maxlen=0)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        deque(way(paths), maxlen=0)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def figures_of(what: str, wall_s: float, audio_s: float, one_s: float) -> dict[str, Any]:
    """Figures of one way; minutes for the utterances of IEMOCAP follow from its rate."""
    rate = audio_s / wall_s
    return {
        "what": what,
        "wall_s": wall_s,
        "audio_s": audio_s,
        "audio_s_per_s": rate,
        "ratio": one_s / wall_s,
        "iemocap_min": IEMOCAP * MEAN_S / rate / 60,
    }


def write_noises(folder: Path, count: int) -> list[Path]:
    """Recordings of noise whose durations are distributed about like IEMOCAP's."""
    rng = np.random.default_rng(0)
    durations = MEDIAN_S * np.exp(np.sqrt(2 * np.log(MEAN_S / MEDIAN_S)) * rng.normal(size=count))
    paths = [folder / f"{n}.wav" for n in range(count)]
    for path, duration_s in zip(paths, durations.clip(0.6, 20), strict=True):
        noise = 0.1 * rng.normal(size=round(duration_s * SAMPLE_RATE_HZ))
        soundfile.write(path, noise, SAMPLE_RATE_HZ)
    return paths


def main(given: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--encoder", type=Path, help="default: Whisper base of random weights")
    parser.add_argument("--corpus", type=Path, help="default: noises")
    parser.add_argument("--utterances", type=int, default=256, help="at most so many")
    parser.add_argument("--pad-to-30s", action="store_true", help="as Whisper was trained")
    parser.add_argument("--repeats", type=int, default=1, help="of each way; the median counts")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options, console = parser.parse_args(given), Console()
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        encoder = options.encoder or write_base(room / "encoder", next(iter(BASES)))
        if options.corpus is None:
            paths = write_noises(room, options.utterances)
        else:
            paths = [u.audio for u in read_corpus(options.corpus).utterances][: options.utterances]
        audio_s = sum(soundfile.info(path).duration for path in paths)
        console.print(f"{machine()}\n{len(paths)} recordings, {audio_s:.0f} s", highlight=False)
        embedding = Embedding(pad_to_30s=options.pad_to_30s)
        found = measure(encoder, paths, embedding, audio_s, options.repeats, room / "store")
    print_table("All layers of a speech encoder", COLUMNS, found, console)
    write_figures(options.json, "embedding", {"recordings": len(paths), "ways": found})
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
