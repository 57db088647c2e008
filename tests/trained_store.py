"""A store of small trained rows on a corpus of noise with words, for tests of what uses them."""

import csv
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlt_ray.corpus.labelling import select
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.planning.backlog import note_plans
from mlt_ray.planning.contents import Pretrained, name_contents
from mlt_ray.planning.plan import make_plan
from mlt_ray.planning.prepare import fill_cache
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Study, parse_study
from mlt_ray.training.from_store import train_from_store
from tests.kept_folder import kept_folder
from tests.noise_corpus import noise_corpus

TEXTS = (
    "I am furious, so furious",
    "what a joyful day",
    "the bus leaves at noon",
    "zzyzx is gloomy",
    "[LAUGHTER] qwrtz...",
)
"""Words with and without a vector, punctuation and a tag."""

SMALL = {
    "multilevel": {
        "system": "multilevel",
        "width": 12,
        "num_heads": 2,
        "feed_forward": 17,
        "phoneme_dim": 5,
        "phoneme_channels": 7,
        "prenet_layers": 1,
        "mel_prenet_width": 11,
    },
    "audio only": {"system": "multilevel", "inputs": "audio", "width": 12, "num_heads": 2},
    "text only": {"system": "multilevel", "inputs": "text", "width": 12, "num_heads": 2},
    "xu": {"system": "xu"},
    "li": {"system": "li", "width": 10, "recurrent_width": 7},
    "yoon": {"system": "yoon", "width": 11},
    "tfidf": {"system": "classical", "text": "tfidf"},
    "late fusion": {"system": "classical", "audio": "egemaps", "text": "embedding"},
}
"""Models of every kind that need no further files."""


def corpus_with_words(folder: Path, texts: Sequence[str] = TEXTS) -> Corpus:
    """`noise_corpus` with texts, each of which many classes have."""
    return noise_corpus(folder, texts=[texts[n * 3 % len(texts)] for n in range(len(texts))])


@functools.cache
def pretrained() -> Pretrained:
    return Pretrained.load(None)


def study_of(rows: Mapping[str, Mapping[str, Any]], seeds: Sequence[int], **base: Any) -> Study:
    """A study of these rows, each two epochs long."""
    training = {"max_epochs": 2, "learning_rate": 3e-3}
    values = {
        "seeds": list(seeds),
        "base": {"folds": {"by": "speaker"}, "training": training, **base},
        "rows": [{"name": name, "model": dict(model)} for name, model in rows.items()],
    }
    return parse_study("study", values)


def train_rows(
    store: Store,
    corpus: Corpus,
    study: Study,
    fold_seeds: Sequence[tuple[int, int]],
    files: Pretrained | None = None,
) -> None:
    """Train those runs of each row, in this process, and note the study in the store.

    `files` hold the word vectors and encoders (None: the packaged ones).
    """
    files = files or pretrained()
    named = name_contents(study, corpus, files)
    fill_cache(corpus, named.rows, store, files, lambda *_: None)
    plan = make_plan(named, corpus)
    note_plans([plan], store)
    for row in plan.rows:
        runs = [run for run in row.runs if (run.fold, run.seed) in fold_seeds]
        for run in runs:
            train_from_store(
                [run],
                store,
                on_epoch=lambda *_: None,
                tell=lambda *_: None,
                stop=lambda _: False,
            )


@functools.cache
def trained_store() -> tuple[Store, Corpus]:
    """A store with two folds of every row of `SMALL`, made once, and the corpus of its runs."""
    folder = kept_folder("trained-rows")
    corpus = corpus_with_words(folder)
    store, study = Store(folder / "store"), study_of(SMALL, (1,))
    train_rows(store, corpus, study, [(1, 1), (3, 1)])
    return store, select(corpus, study.rows[0].labels)


def scores_of(store: Store, digest: str) -> dict[str, list[float]]:
    """The probabilities of a run's test predictions, by utterance."""
    with store.run_file(digest, "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "test"]
    fixed = ("part", "utterance", "emotion", "predicted")
    return {r["utterance"]: [float(v) for k, v in r.items() if k not in fixed] for r in rows}
