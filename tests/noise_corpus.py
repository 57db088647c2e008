"""A corpus of noise for tests of speech encoders, and what a store holds of it for a row."""

import functools
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.labels import FOUR
from mlt_ray.planning.contents import Pretrained, name_contents
from mlt_ray.planning.plan import make_plan
from mlt_ray.planning.prepare import fill_cache
from mlt_ray.spec import Run
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Study, parse_study

NUM_SPEAKERS, OF_EACH = 5, 5


def noise_corpus(folder: Path) -> Corpus:
    """Recordings of noise of many lengths; every speaker has every class."""
    utterances = []
    for n in range(NUM_SPEAKERS * OF_EACH):
        path = folder / f"{n}.wav"
        noise = np.random.default_rng(n).normal(size=900 + 211 * n) * 0.1
        soundfile.write(path, noise, 16_000)
        utterances.append(
            Utterance(
                id=f"u{n}",
                audio=path,
                text="so",
                emotion=FOUR[n % len(FOUR)],
                speaker=f"speaker{n // OF_EACH}",
                duration_s=len(noise) / 16_000,
                audio_sha256=sha256(path.read_bytes()).hexdigest(),
            )
        )
    return Corpus(name="noise", classes=(), utterances=tuple(utterances))


@functools.cache
def pretrained_of(heard: Path) -> Pretrained:
    return Pretrained.load(None, speech_encoder=str(heard))


def study(**row: Any) -> Study:
    values = {"base": {"folds": {"by": "speaker"}}, "rows": [{"name": "row", **row}]}
    return parse_study("study", values)


def filled(study: Study, corpus: Corpus, store: Store, heard: Path) -> Run:
    """The first run of the study's row, whose features the store then has."""
    pretrained = pretrained_of(heard)
    named = name_contents(study, corpus, pretrained)
    fill_cache(corpus, named.rows, store, pretrained, lambda *_: None)
    return make_plan(named, corpus).rows[0].runs[0]
