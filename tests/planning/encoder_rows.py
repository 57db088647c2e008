"""Studies whose rows have encoders, and pre-trained files, for tests of planning."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlt_ray.encoders.catalogue import SPEECH
from mlt_ray.encoders.folder import Encoders
from mlt_ray.planning.contents import Pretrained
from mlt_ray.studies.study import Study, parse_study


def pretrained_of(
    encoder: Path | str | None = None, speech_encoder: Path | None = None
) -> Pretrained:
    vectors: Any = SimpleNamespace(name="mine", sha256="0123456789abcdef" * 4)
    phonemizer: Any = SimpleNamespace(engine="spelt by hand")
    text = Encoders(str(encoder) if encoder else None)
    speech = Encoders(str(speech_encoder) if speech_encoder else None, SPEECH)
    return Pretrained(vectors, lambda language: phonemizer, text, speech)


def text_rows(encoder: Path | str) -> Study:
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
