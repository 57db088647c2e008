"""A corpus of one utterance, small studies and pre-trained files, for tests of planning."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.encoders.catalogue import SPEECH
from mlt_ray.encoders.folder import Encoders
from mlt_ray.planning.contents import Pretrained
from mlt_ray.studies.study import Study, parse_study


def corpus_of(text: str) -> Corpus:
    utterance = Utterance(
        id="u",
        audio=Path("u.wav"),
        text=text,
        emotion="sad",
        speaker="a",
        duration_s=1.0,
        audio_sha256=hashlib.sha256(b"u").hexdigest(),
    )
    return Corpus(name="spoken", utterances=(utterance,))


CORPUS, OTHER_CORPUS = corpus_of("hello"), corpus_of("goodbye")


def study_of(**base: Any) -> Study:
    """Three rows; the first and the last are the same model under two names."""
    return parse_study(
        "mine",
        {
            "title": "Mine",
            "seeds": [3, 5],
            "base": {"model": {"system": "multilevel"}, **base},
            "rows": [
                {"name": "whole", "published": {"wa": [0.73, 0.003], "ua": [0.741, None]}},
                {"name": "words", "model": {"text": "word"}},
                {"name": "same again", "model": {"text": "highway"}},
            ],
        },
    )


def pretrained(encoder: Path | str | None = None, speech_encoder: Path | None = None) -> Pretrained:
    vectors: Any = SimpleNamespace(name="mine", sha256="0123456789abcdef" * 4)
    phonemizer: Any = SimpleNamespace(engine="spelt by hand")
    text = Encoders(str(encoder) if encoder else None)
    speech = Encoders(str(speech_encoder) if speech_encoder else None, SPEECH)
    return Pretrained(vectors, phonemizer, text, speech)


def three_rows(encoder: Path | str) -> Study:
    rows = [
        {"name": "trained", "model": {"system": "bert", "encoder": str(encoder)}},
        {"name": "frozen", "model": {"system": "multigranularity", "fine_tune": False}},
        {"name": "without", "model": {"system": "multilevel"}},
    ]
    return parse_study("mine", {"rows": rows})


def speech_rows(speech_encoder: Path | str) -> Study:
    model = {"system": "multigranularity", "speech_encoder": str(speech_encoder)}
    rows = [
        {"name": "both", "model": {**model, "fine_tune": False}},
        {"name": "speech", "model": {**model, "encoder": None}},
        {"name": "text", "model": {"system": "bert"}},
    ]
    return parse_study("mine", {"rows": rows})


def fold_seeds(runs: Any) -> set[tuple[int, int]]:
    return {(run.fold, run.seed) for run in runs}
