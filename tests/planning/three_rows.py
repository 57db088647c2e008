"""A corpus of one utterance, and a study of three rows, for tests of plans."""

import hashlib
from pathlib import Path
from typing import Any

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.labels import FOUR
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
    return Corpus(name="spoken", classes=FOUR, utterances=(utterance,))


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
