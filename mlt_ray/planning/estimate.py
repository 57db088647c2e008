"""Estimates how long a run of a row takes."""

import math
import statistics
import time
from dataclasses import dataclass

import torch

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.machine import torch_threads
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.faults import explained
from mlt_ray.models.registry import build_model, is_network
from mlt_ray.planning.plan import PlannedRow
from mlt_ray.spec import RunSpec
from mlt_ray.storage.store import Store
from mlt_ray.training.adam import Adam

WARM_UP_STEPS = 2
TIMED_STEPS = 3
WORDS_PER_S = 2.5
"""Words a second of speech (IEMOCAP: 11.5 words in 4.55 s)."""

VECTOR_DIM, VOCABULARY = 300, 100


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds that a run takes on one thread; measured on finished runs, or at most that."""

    seconds: float
    is_measured: bool


def estimate(row: PlannedRow, corpus: Corpus, store: Store) -> Estimate | None:
    """How long a run of a row takes on a corpus, as it was read.

    Mean time of the row's finished runs, or the time of all steps of `max_epochs` epochs.

    Without a finished run, a few steps are timed on this machine's CPU, on made-up utterances of
    the corpus's mean length; evaluating dev adds a few per cent, and starting workers some
    seconds. None if that cannot be done: the system is no network, or reads extra inputs or an
    encoder's states.
    """
    times = [report.computed_s for report in store.reports(run.digest for run in row.runs)]
    if times:
        return Estimate(seconds=statistics.fmean(times), is_measured=True)
    spec = row.spec
    hears = spec.features.frames.encoder is not None
    if spec.model.extras or hears or not is_network(spec.model):
        return None
    training = spec.training
    selected = select(corpus, row.labels)
    trained = statistics.fmean(len(f.train) for f in make_folds(selected, spec.folds))
    size = min(training.batch_size, math.ceil(trained))
    steps = trained / size * training.max_epochs
    duration_s = statistics.fmean(u.duration_s for u in selected.utterances)
    return Estimate(seconds=steps * step_seconds(spec, duration_s, size), is_measured=False)


def step_seconds(spec: RunSpec, duration_s: float, size: int) -> float:
    """Median seconds of a training step, for `size` utterances that last `duration_s`."""
    sizes = InputSizes(
        frame_dim=spec.features.frames.num_bins,
        num_phonemes=VOCABULARY,
        num_learned_words=VOCABULARY,
        word_vectors=torch.zeros(VOCABULARY, VECTOR_DIM),
        num_classes=len(spec.classes),
    )
    model = build_model(spec.model, sizes)
    optimiser = Adam((p for p in model.parameters() if p.requires_grad), spec.training)
    batch = made_up_batch(spec, duration_s, size)
    times = []
    with torch_threads(1), explained(spec.model.source):
        for number in range(WARM_UP_STEPS + TIMED_STEPS):
            started = time.perf_counter()
            set_dropout_keys(model, batch.utterances, number)
            optimiser.zero_grad()
            model.loss(batch).backward()
            optimiser.step()
            times.append(time.perf_counter() - started)
    return statistics.median(times[WARM_UP_STEPS:])


def made_up_batch(spec: RunSpec, duration_s: float, size: int) -> Batch:
    """A batch of so many utterances, which all last `duration_s`."""
    frames = spec.features.frames
    longest = spec.features.max_steps or math.inf
    steps = round(1000 * duration_s / frames.hop_ms / spec.features.frames_per_step)
    steps = int(min(max(1, steps), longest))
    words = int(min(max(1, round(WORDS_PER_S * duration_s)), spec.features.max_words or math.inf))
    return Batch(
        utterances=torch.arange(size),
        labels=torch.zeros(size, dtype=torch.int64),
        frames=torch.zeros(size, steps, frames.num_bins),
        num_frames=torch.full((size,), steps),
        words=torch.ones(size, words, dtype=torch.int64),
        num_words=torch.full((size,), words),
        phonemes=torch.ones(size, words, 8, dtype=torch.int64),
    )
