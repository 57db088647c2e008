"""A corpus of five sessions in memory, a cache that a test fills by hand, and trained rows."""

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.features.extract import FeatureCache, text_sha256
from mlt_ray.labels import FOUR
from mlt_ray.spec import FeatureSpec
from mlt_ray.storage.store import Store

pytest_plugins = ["tests.side_by_side"]

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: tests side by side, and their commands, would fight for the CPUs.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As where a script starts the tests in the background: their commands would heed no Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

NUM_BINS = 5
VECTOR_DIM = 3
SPEC = FeatureSpec()
VECTORS = {
    word: np.random.default_rng(n).normal(size=VECTOR_DIM).astype(np.float32)
    for n, word in enumerate(("furious", "joyful", "plain", "gloomy", "so", "very"))
}

Words = Sequence[tuple[str, Sequence[str]]]


def write_features(
    store: Store,
    utterances: Iterable[Utterance],
    frames: Mapping[str, np.ndarray],
    words: Mapping[str, Words],
    vectors: Mapping[str, np.ndarray] = VECTORS,
    spec: FeatureSpec = SPEC,
) -> FeatureCache:
    """Fills a cache from arrays by utterance id and words by text, and opens it."""
    utterances = list(utterances)
    cache = FeatureCache.open(store, spec)
    arrays = {u.audio_sha256: frames[u.id].astype(np.float16) for u in utterances}
    wide = {k: a.astype(np.float64) for k, a in arrays.items()}
    cache.frames.add(arrays)
    cache.moments.add({k: np.stack([a.sum(0), (a * a).sum(0)]) for k, a in wide.items()})
    texts = {u.text for u in utterances}
    tokens = {text_sha256(t): json.dumps(words[t]).encode() for t in texts}
    cache.tokens.add({k: np.frombuffer(t, np.uint8) for k, t in tokens.items()})
    none = np.empty((0, len(next(iter(vectors.values())))), np.float32)
    seen = {word for t in texts for word, _ in words[t]}
    cache.vectors.add({w: vectors[w][None] if w in vectors else none for w in sorted(seen)})
    return cache


def _name(session: int, number: int) -> str:
    """A word that no other utterance has."""
    return f"name{'-abcde'[session]}{'abcdefgh'[number]}"


@dataclass
class Raw:
    """What a corpus's features are made of, for a test to change before they are written."""

    utterances: list[Utterance] = field(default_factory=list)
    frames: dict[str, np.ndarray] = field(default_factory=dict)
    words: dict[str, Words] = field(default_factory=dict)

    @property
    def corpus(self) -> Corpus:
        return Corpus(name="five sessions", classes=FOUR, utterances=tuple(self.utterances))

    def add(self, name: str, emotion: str, words: Words, frames: np.ndarray) -> None:
        session = name.partition("_")[0]
        text = " ".join(word for word, _ in words)
        self.utterances.append(
            Utterance(
                id=name,
                audio=Path(f"{name}.wav"),
                text=text,
                emotion=emotion,
                speaker=f"speaker of {session}",
                session=session,
                duration_s=0.012 * len(frames),
                audio_sha256=hashlib.sha256(name.encode()).hexdigest(),
            )
        )
        self.frames[name] = frames
        self.words[text] = words

    def write(self, root: Path) -> FeatureCache:
        return write_features(Store(root), self.utterances, self.frames, self.words)


@pytest.fixture
def raw() -> Raw:
    """Five sessions of eight utterances, two a class; frames and words tell the class."""
    rng = np.random.default_rng(11)
    made = Raw()
    cues = {"angry": "furious", "happy": "joyful", "neutral": "plain", "sad": "gloomy"}
    fillers = ("so", "very", "unheard")
    for session in range(1, 6):
        for number in range(8):
            emotion = FOUR[number % 4]
            chosen = rng.choice(fillers, size=rng.integers(0, 4)).tolist()
            words = [(w, list(w.upper()[: rng.integers(1, 6)])) for w in [*chosen, cues[emotion]]]
            frames = rng.normal(size=(rng.integers(2, 14), NUM_BINS)) * 3 - 7
            frames[:, number % 4] += 6
            # The session makes each text its own, as a fold without shared texts needs it.
            made.add(
                f"s{session}_{number}", emotion, [*words, (_name(session, number), ["N"])], frames
            )
    return made


@pytest.fixture
def features() -> Callable[..., FeatureCache]:
    """`write_features`, for tests with a corpus of their own."""
    return write_features


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `tests.trained_rows.fill`; it is filled once, if a test asks for it."""
    # Not at the top: most tests do without torch.
    import torch

    from tests.trained_rows import fill

    before, folder = torch.get_num_threads(), tmp_path_factory.mktemp("trained")
    torch.set_num_threads(1)
    try:
        fill(folder)
    finally:
        torch.set_num_threads(before)
    return folder
