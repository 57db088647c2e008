"""Small corpora for tests: a folder in IEMOCAP's layout, and corpora in memory."""

import hashlib
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.labels import FOUR

RATE_HZ = 16_000

Writer = Callable[..., Path]
InMemory = Callable[[Iterable[tuple[str, ...]]], Corpus]


def write_noise(path: Path, seed: int, num_samples: int = 1600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, num_samples)
    sf.write(path, noise, RATE_HZ, subtype="PCM_16" if path.suffix == ".wav" else None)


class Iemocap:
    """A folder in IEMOCAP's layout; tests add utterances one by one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written = 0

    def session(self, number: int) -> Path:
        folder = self.root / f"Session{number}"
        (folder / "dialog" / "EmoEvaluation").mkdir(parents=True, exist_ok=True)
        (folder / "dialog" / "transcriptions").mkdir(parents=True, exist_ok=True)
        return folder

    def audio(self, name: str) -> Path:
        dialog = name.rpartition("_")[0]
        return self.session(int(name[4])) / "sentences" / "wav" / dialog / f"{name}.wav"

    def label_file(self, name: str) -> Path:
        dialog = name.rpartition("_")[0]
        return self.session(int(name[4])) / "dialog" / "EmoEvaluation" / f"{dialog}.txt"

    def transcript_file(self, name: str) -> Path:
        return self.label_file(name).parents[1] / "transcriptions" / self.label_file(name).name

    def label(self, name: str, code: str) -> None:
        with self.label_file(name).open("a") as file:
            if file.tell() == 0:
                file.write("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n")
            file.write(f"[6.2901 - 8.2357]\t{name}\t{code}\t[2.5000, 2.5000, 2.5000]\n")
            file.write("C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom 2;\t()\n\n")

    def transcribe(self, name: str, text: str) -> None:
        with self.transcript_file(name).open("a") as file:
            file.write(f"{name} [006.2901-008.2357]: {text}\n")

    def add(self, name: str, code: str, text: str = "Well, hello.") -> None:
        self.label(name, code)
        self.transcribe(name, text)
        self.written += 1
        write_noise(self.audio(name), seed=self.written)


@pytest.fixture
def iemocap(tmp_path: Path) -> Iemocap:
    return Iemocap(tmp_path / "IEMOCAP_full_release")


@pytest.fixture
def whole_iemocap(iemocap: Iemocap) -> Iemocap:
    """Five sessions, two speakers and every class in each, written in a shuffled order."""
    codes = ("ang", "hap", "exc", "neu", "sad", "fru")
    wanted = [
        (f"Ses0{session}F_{dialog}_{speaker}{i:03d}", code, f"Words {session} {i} {speaker}.")
        for session in range(1, 6)
        for dialog, speaker in (("impro01", "F"), ("script01_1", "M"))
        for i, code in enumerate(codes)
    ]
    random.Random(7).shuffle(wanted)
    for name, code, text in wanted:
        iemocap.add(name, code, text)
    return iemocap


@pytest.fixture
def noise() -> Callable[..., None]:
    return write_noise


@pytest.fixture
def in_memory() -> InMemory:
    """Builds a corpus without files from rows (id, emotion, speaker, session, text, audio)."""

    def build(rows: Iterable[tuple[str, ...]]) -> Corpus:
        utterances = [
            Utterance(
                id=name,
                audio=Path(f"{name}.wav"),
                text=text,
                emotion=emotion,
                speaker=speaker,
                session=session or None,
                duration_s=1.0,
                audio_sha256=hashlib.sha256(audio.encode()).hexdigest(),
            )
            for name, emotion, speaker, session, text, audio in rows
        ]
        return Corpus(
            name="rows", classes=FOUR, utterances=tuple(sorted(utterances, key=lambda u: u.id))
        )

    return build
