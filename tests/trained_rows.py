"""A store with small rows that were trained on noise, one of each kind that is exported."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlt_ray.planning.contents import Pretrained
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Study, parse_study
from tests.noise_corpus import noise_corpus
from tests.tiny_encoder import write_encoder
from tests.trained_store import train_rows

OWN_FILE = Path(__file__).parents[1] / "docs" / "own_model" / "mean_frames.py"
"""The file of a model of a user's own."""

TEXTS = ("stop it, now", "so glad", "it is Monday", "alone")
"""The text of each class."""

LOUDNESS = (0.02, 0.06, 0.1, 0.14)
"""Deviation of the samples of each class."""

SMALL = {
    "system": "multilevel",
    "width": 8,
    "num_heads": 2,
    "feed_forward": 9,
    "phoneme_dim": 3,
    "phoneme_channels": 5,
    "phoneme_kernel": 3,
    "mel_prenet_width": 7,
}
ROWS = ("both", "audio", "w/o audio", "eGeMAPS", "words", "encoder", "own", "by speaker")


def study_of(name: str, rows: Sequence[dict[str, object]]) -> Study:
    """A study of three folds of one seed each."""
    values = {
        "seeds": [1],
        "base": {
            "folds": {"by": "speaker", "number": 3},
            "features": {"frames_per_step": 4},
            "training": {"learning_rate": 3e-3, "max_epochs": 2, "batch_size": 4},
        },
        "models": [str(OWN_FILE)],
        "rows": list(rows),
    }
    return parse_study(name, values)


def fill(folder: Path) -> None:
    """Write a store with the study ``noise`` of `ROWS`, and ``mine`` with vectors of its own."""
    store = Store(folder / "store")
    corpus = noise_corpus(
        folder,
        num_speakers=3,
        of_each=8,
        texts=TEXTS,
        loudness=LOUDNESS,
        shortest=5000,
        step=311,
    )
    encoder = write_encoder(folder / "tiny")
    models: Sequence[dict[str, object]] = (
        SMALL,
        {**SMALL, "inputs": "audio"},
        {**SMALL, "inputs": "text"},
        {"system": "classical", "audio": "egemaps"},
        {"system": "classical", "text": "tfidf"},
        {"system": "bert", "encoder": str(encoder), "fine_tune": "last_n", "last_n": 1},
        {"system": "mean_frames", "width": 5},
    )
    rows: list[dict[str, object]]
    rows = [{"name": n, "model": m} for n, m in zip(ROWS, (*models, SMALL), strict=True)]
    rows[-1]["features"] = {"standardise": "speaker"}
    runs = [(fold, 1) for fold in (1, 2, 3)]
    train_rows(store, corpus, study_of("noise", rows), runs)
    table = folder / "mine.txt"
    words = {word for text in TEXTS for word in text.split()} - {"alone"}
    drawn = np.random.default_rng(5).normal(size=(len(words) + 2, 3))
    lines = zip([*sorted(words), "at home", "never"], drawn, strict=True)
    table.write_text("".join(f"{w} {' '.join(f'{v:.5f}' for v in r)}\n" for w, r in lines))
    files = Pretrained.load(table)
    train_rows(store, corpus, study_of("mine", [{"name": "both", "model": SMALL}]), runs, files)
