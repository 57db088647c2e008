"""A store with small rows that were trained on noise, one of each kind that is exported."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.labels import FOUR
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Study, parse_study
from tests.inference.trained_store import train_rows
from tests.tiny_encoder import write_encoder

OWN_FILE = Path(__file__).parents[1] / "docs" / "own_model" / "mean_frames.py"
"""The file of a model of a user's own."""

TEXTS = {"angry": "stop it, now", "happy": "so glad", "neutral": "it is Monday", "sad": "alone"}
NUM_SPEAKERS, OF_EACH = 3, 8
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
_MADE: dict[str, Path] = {}


def noise_corpus(folder: Path) -> Corpus:
    """Recordings of noise, as loud as their class says; every speaker has every class."""
    utterances = []
    for n in range(NUM_SPEAKERS * OF_EACH):
        path, label = folder / f"{n}.wav", FOUR[n % len(FOUR)]
        loudness = 0.02 * (1 + 2 * FOUR.index(label))
        soundfile.write(
            path, np.random.default_rng(n).normal(size=5000 + 311 * n) * loudness, 16_000
        )
        utterances.append(
            Utterance(
                id=f"u{n}",
                audio=path,
                text=TEXTS[label],
                emotion=label,
                speaker=f"speaker{n // OF_EACH}",
                duration_s=(5000 + 311 * n) / 16_000,
                audio_sha256=sha256(path.read_bytes()).hexdigest(),
            )
        )
    return Corpus(name="noise", utterances=tuple(utterances))


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
    store, corpus = Store(folder / "store"), noise_corpus(folder)
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
    words = {word for text in TEXTS.values() for word in text.split()} - {"alone"}
    drawn = np.random.default_rng(5).normal(size=(len(words) + 2, 3))
    lines = zip([*sorted(words), "at home", "never"], drawn, strict=True)
    table.write_text("".join(f"{w} {' '.join(f'{v:.5f}' for v in r)}\n" for w, r in lines))
    train_rows(store, corpus, study_of("mine", [{"name": "both", "model": SMALL}]), runs, table)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `fill`, with ``store`` and ``mine.txt``; it is filled once for all tests."""
    if "folder" not in _MADE:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        folder = tmp_path_factory.mktemp("trained")
        try:
            fill(folder)
        finally:
            torch.set_num_threads(before)
        _MADE["folder"] = folder
    return _MADE["folder"]
