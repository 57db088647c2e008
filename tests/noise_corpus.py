"""A corpus of noise for tests of all that trains, and what a store holds of it for a row."""

import functools
from collections.abc import Sequence
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


def noise_corpus(
    folder: Path,
    *,
    num_speakers: int = 5,
    of_each: int = 5,
    texts: Sequence[str] = ("so",),
    loudness: Sequence[float] = (0.1,),
    shortest: int = 900,
    step: int = 211,
) -> Corpus:
    """Recordings of noise of many lengths; every speaker has every class.

    Classes, `texts` and `loudness` (the deviation of the samples) take turns. The first recording
    has `shortest` samples, each of the others `step` more than the one before.
    """
    utterances = []
    for n in range(num_speakers * of_each):
        path = folder / f"{n}.wav"
        noise = np.random.default_rng(n).normal(size=shortest + step * n)
        soundfile.write(path, noise * loudness[n % len(loudness)], 16_000)
        utterances.append(
            Utterance(
                id=f"u{n}",
                audio=path,
                text=texts[n % len(texts)],
                emotion=FOUR[n % len(FOUR)],
                speaker=f"speaker{n // of_each}",
                duration_s=len(noise) / 16_000,
                audio_sha256=sha256(path.read_bytes()).hexdigest(),
            )
        )
    return Corpus(name="noise", utterances=tuple(utterances))


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
