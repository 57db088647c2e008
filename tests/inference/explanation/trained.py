"""Small rows that were trained on noise, in a store, and a recording that they have not heard."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import soundfile

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import RunFailed
from mlt_ray.inference.explanation.parts import Altered
from mlt_ray.labels import FOUR
from mlt_ray.planning.contents import Pretrained, name_contents
from mlt_ray.planning.plan import make_plan
from mlt_ray.planning.prepare import fill_cache
from mlt_ray.storage.record import write_record
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import parse_study
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.from_store import train_from_store

STUDY = "noise"
TEXTS = {"angry": "stop it, now", "happy": "so glad", "neutral": "it is Monday", "sad": "alone"}
SPOKEN = "I am so glad, now."
SECONDS = 1.7
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
ROWS = {
    "both": {"model": SMALL},
    "audio": {"model": {**SMALL, "inputs": "audio"}},
    "text": {"model": {**SMALL, "inputs": "text"}},
    "three words": {"model": SMALL, "features": {"max_words": 3}},
    "classical": {"model": {"system": "classical", "audio": None, "text": "tfidf"}},
}


def corpus(folder: Path) -> Corpus:
    """Recordings of noise, as loud as their class says; every speaker has every class."""
    utterances = []
    for n in range(NUM_SPEAKERS * OF_EACH):
        path, label = folder / f"{n}.wav", FOUR[n % len(FOUR)]
        loudness = 0.02 * (1 + 2 * FOUR.index(label))
        noise = np.random.default_rng(n).normal(size=5000 + 311 * n) * loudness
        soundfile.write(path, noise, 16_000)
        utterances.append(
            Utterance(
                id=f"u{n}",
                audio=path,
                text=TEXTS[label],
                emotion=label,
                speaker=f"speaker{n // OF_EACH}",
                duration_s=len(noise) / 16_000,
                audio_sha256=sha256(path.read_bytes()).hexdigest(),
            )
        )
    return Corpus(name="noise", classes=(), utterances=tuple(utterances))


def fill(folder: Path) -> Store:
    """A store with the runs of `ROWS`, three folds of one seed each."""
    store, noise = Store(folder / "store"), corpus(folder)
    study = parse_study(
        STUDY,
        {
            "seeds": [1],
            "base": {
                "folds": {"by": "speaker", "number": 3},
                "features": {"frames_per_step": 4},
                "training": {"learning_rate": 3e-3, "max_epochs": 2, "batch_size": 4},
            },
            "rows": [{"name": name, **row} for name, row in ROWS.items()],
        },
    )
    pretrained = Pretrained.load(None)
    named = name_contents(study, noise, pretrained)
    fill_cache(noise, named.rows, store, pretrained, lambda *_: None)
    plan = make_plan(named, noise)
    write_record(store, store.study(STUDY), plan.as_record())
    for row in plan.rows:
        done = train_from_store(
            row.runs,
            store,
            on_epoch=lambda *_: None,
            tell=lambda *_: None,
            stop=lambda _: False,
        )
        failed = [one for one in done if not isinstance(one, FinishedRun)]
        assert not failed, [str(one) for one in failed if isinstance(one, RunFailed)]
    return store


def utterance(text: str = SPOKEN, seconds: float = SECONDS) -> Altered:
    """Noise that grows louder and a text; no run has heard it."""
    size = round(16_000 * seconds)
    noise = np.random.default_rng(101).normal(size=size) * np.linspace(0.01, 0.2, size)
    return Altered(
        id="clip",
        audio=noise.astype(np.float32),
        text=text,
        speaker="",
        duration_s=size / 16_000,
        alignment=None,
    )
